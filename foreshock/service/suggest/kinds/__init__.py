"""One kind of suggestion in each file: what it looks for, and how it would change rules, settings or topology."""
