"""Benchmarks of exports and commands, each against a baseline in the same run: `make bench`."""
