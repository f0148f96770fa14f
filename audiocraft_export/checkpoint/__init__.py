"""Reading a file of torch.save without running anything in it."""
