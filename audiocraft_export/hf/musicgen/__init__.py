"""AudioCraft's language models as a MusicGen of transformers, and back."""
