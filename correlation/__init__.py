"""Correlation: which Alerts are one problem, why, and what should happen next; pure functions."""
