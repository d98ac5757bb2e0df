"""Tests of every formula and image, for every distribution; a package, so that tiers may use the same file names."""
