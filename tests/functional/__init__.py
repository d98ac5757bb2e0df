"""Tests of single parts on real Docker and Salt; a package, so that tiers may use the same file names."""
