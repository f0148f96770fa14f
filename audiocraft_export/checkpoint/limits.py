"""Limits of what is read from a checkpoint: a hostile file must cost neither much memory nor much time."""

MAX_SIGNATURE = 100  # characters; Dora's have 8
MAX_PICKLE = 50_000_000  # bytes of all that is no tensor
MAX_STEPS = 5_200_000  # of unpickling; a training of 3.3 billion parameters takes some 300,000
CHARACTERS_PER_STEP = 16  # of a string that a call is given; each item of a container costs a step
MAX_SHOWN_NAME = 100  # characters of a global that are worth showing
MAX_HASHED_NUMBER = 1 << 61  # beyond it, Python gives many numbers the same hash
MAX_HASHED_ITEMS = 16  # of a tuple that is a key
MAX_DIMENSIONS = 64  # of a tensor, as in torch
MAX_DIRECTORY = 1 << 24  # bytes of a zip directory: some 200,000 records
MAX_CONFIG_VALUES = 10_000  # AudioCraft's configurations have some 500
MAX_CONFIG_BITS = 1024  # of a number: converting longer ones to decimal takes quadratic time
MAX_INTERPOLATION = 10_000  # characters of a string with `${`: OmegaConf parses it with a slow grammar
