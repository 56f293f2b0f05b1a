"""Collectors: one file per product whose events Foreshock takes in; the file name is the kind."""
