"""The Hugging Face Hub: a release is pushed there."""
