"""A minimal Flashy, Dora and Hydra project that trains and exports a small model."""
