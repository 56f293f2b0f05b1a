"""For tests, ours and those of connectors elsewhere; nothing in the product imports it."""
