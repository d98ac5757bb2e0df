"""The report: one page with what the status tells, and pictures of it."""
