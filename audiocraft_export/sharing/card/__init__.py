"""The model card of a release."""
