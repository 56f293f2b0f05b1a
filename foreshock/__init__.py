"""Foreshock: monitoring noise in; few, explained, correctly prioritised incidents out."""

__version__ = "0.1.0"
