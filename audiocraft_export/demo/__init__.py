"""The smallest Flashy, Dora and Hydra project."""
