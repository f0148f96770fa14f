"""Share a release: model card, upload to the Hugging Face Hub, warnings about private values."""
