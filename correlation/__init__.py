"""Decides what belongs together, what caused it and what to do next. Pure: values in, values out; the engine holds the
state."""
