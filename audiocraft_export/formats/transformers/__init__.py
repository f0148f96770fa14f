"""The transformers format: AudioCraft's models as classes of transformers."""
