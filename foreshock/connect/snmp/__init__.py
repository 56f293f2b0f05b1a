"""SNMP notifications: names and looks of what they hold, what they mean, and the engines that receive them."""
