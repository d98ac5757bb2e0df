"""What runs on the master across hosts."""
