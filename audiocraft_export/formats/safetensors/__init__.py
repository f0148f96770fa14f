"""The safetensors format: convert releases to it, and back."""
