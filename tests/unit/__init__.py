"""Tests of the pure library; a package, so that tiers may use the same file names."""
