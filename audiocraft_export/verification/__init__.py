"""Verify a release: file integrity, signature, loading, and equality with its checkpoint or another release."""
