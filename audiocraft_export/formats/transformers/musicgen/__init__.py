"""AudioCraft's language models as transformers' MusicGen and MusicGen Melody."""
