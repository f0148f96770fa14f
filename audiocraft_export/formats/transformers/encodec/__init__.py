"""AudioCraft's compression models as transformers' EncodecModel."""
