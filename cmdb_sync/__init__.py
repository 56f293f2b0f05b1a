"""CMDB sources: one file per product that knows CIs and Relationships; the file name is the kind."""
