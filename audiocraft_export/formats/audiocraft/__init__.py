"""AudioCraft's own format: files as torch.save writes them."""
