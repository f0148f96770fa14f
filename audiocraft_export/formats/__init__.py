"""The formats of a release: encode and decode its files, identify its weights, verify that it loads."""
