"""Encode a prepared release as files of each format."""
