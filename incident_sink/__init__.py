"""Sinks: one file per ITSM product that keeps our tickets; the file name is the kind."""
