"""After a release: its model card, the Hugging Face Hub, warnings of private values."""
