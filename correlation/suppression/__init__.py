"""What is real but must not disturb anyone now, always with the reason. A file is a suppressor.

Suppression may hold back a creation, a reopening or an escalation, never a resolution: it is asked only once a ticket
write of those kinds is due (``next_step.hold_back``).
"""
