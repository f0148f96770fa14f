"""Checking a release: intact, loadable, and equal to its checkpoint."""
