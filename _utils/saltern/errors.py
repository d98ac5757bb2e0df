"""Errors that are meant to be read by people."""


class SalternError(Exception):
    """Something is wrong; the message names what was found and the remedy."""
