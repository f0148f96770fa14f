"""AudioCraft's own format: files of torch.save."""
