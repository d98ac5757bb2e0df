"""Tests of a real master and minions; a package, so that tiers may use the same file names."""
