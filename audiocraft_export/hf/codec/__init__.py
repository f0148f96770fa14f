"""AudioCraft's EnCodec as an EncodecModel of transformers, and back."""
