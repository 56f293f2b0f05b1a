"""The CMDB side of a running Foreshock: reading sources, versions, trust, and the work they plan."""
