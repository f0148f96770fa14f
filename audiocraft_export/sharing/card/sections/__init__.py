"""The sections of a model card, one per module."""
