"""Find experiments, and summarize experiments, checkpoints and releases; load a release."""
