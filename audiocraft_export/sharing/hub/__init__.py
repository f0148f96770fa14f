"""Pushing a release to the Hugging Face Hub."""
