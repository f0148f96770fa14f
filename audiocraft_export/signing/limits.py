"""Limits of the files that signing reads."""

MAX_KEY_BYTES = 1 << 16
MAX_BUNDLE_BYTES = 16 << 20  # a release has at most a few thousand files
