"""Convert AudioCraft's compression models to the EncodecModel of transformers, and back."""
