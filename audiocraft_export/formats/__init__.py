"""A prepared release as files, in each format."""
