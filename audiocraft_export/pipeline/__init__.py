"""From a checkpoint to a release: export, convert, AudioCraft's drop-ins."""
