"""Detector kinds: a file is a kind."""
