"""One thin client per product, shared by its sink, its CMDB source and its collector."""
