"""Rule kinds: a file is a kind."""
