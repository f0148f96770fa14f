"""The model families of AudioCraft: how each is recognized, released and loaded."""
