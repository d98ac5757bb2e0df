"""A run of the master across hosts: what it decides, asks, tells and remembers."""
