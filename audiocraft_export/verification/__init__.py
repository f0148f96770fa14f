"""Verify a release: file integrity, loading, and equality with its checkpoint."""
