"""The sections of a model card, one a module."""
