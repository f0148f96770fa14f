"""The model card: the README.md of a release."""
