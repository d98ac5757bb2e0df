"""Tests of the deployed all-in-one; a package, so that tiers may use the same file names."""
