"""Find an experiment (XP) by its Dora signature, and read its configuration."""
