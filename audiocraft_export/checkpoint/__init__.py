"""Read files of torch.save without running any code in them."""
