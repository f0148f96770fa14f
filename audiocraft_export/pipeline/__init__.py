"""Make releases: export checkpoints, convert releases, and drop-ins for AudioCraft's export functions."""
