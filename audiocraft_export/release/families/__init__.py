"""The model families of AudioCraft: how to recognize, release and load each of them."""
