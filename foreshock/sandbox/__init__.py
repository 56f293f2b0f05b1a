"""Local stand-ins of the ITSM systems, to try Foreshock without one and to test against."""
