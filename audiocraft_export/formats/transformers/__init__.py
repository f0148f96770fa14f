"""The transformers format: convert AudioCraft's models to classes of transformers, and back."""
