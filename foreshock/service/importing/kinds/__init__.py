"""Tools whose configuration can be imported: a file is a tool, and declares an ``IMPORTER``."""
