"""The safetensors format, and the way back from it."""
