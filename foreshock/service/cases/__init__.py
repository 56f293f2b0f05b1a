"""``foreshock rules test``: cases in YAML, played on a virtual clock."""
