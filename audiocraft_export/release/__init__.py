"""What is released of a checkpoint: weights, compression model, manifest, owned files."""
