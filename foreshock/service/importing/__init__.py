"""Configurations of other tools become rules, suppressions and topology, with a report of what could not be translated.

One file of ``kinds`` for each tool: it reads what the tool has (the edge) and translates it (a pure function). What
comes out is the same for all (``translation``), and written in one way (``folder``).
"""
