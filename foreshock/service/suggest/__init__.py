"""What history and feedback suggest to change: mined on the earlier part of history, tried on the later one."""
