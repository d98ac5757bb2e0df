"""Certificates: what is in them, what is wrong with them, how they are made and where the master keeps them."""
