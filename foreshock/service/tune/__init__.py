"""``foreshock tune``: which numbers would have fitted what is known of history better, and whether that would last."""
