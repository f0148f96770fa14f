"""Limits for reading checkpoints, so that a hostile file can exhaust neither memory nor time."""

MAX_SIGNATURE = 100  # characters of a signature; those of Dora have 8
MAX_PICKLE = 50_000_000  # bytes of all non-tensor data
MAX_STEPS = 5_200_000  # operations of a pickle; a checkpoint of 3.3 billion parameters takes about 300,000
CHARACTERS_PER_STEP = 16  # string characters that count as one operation; a container item counts as one
MAX_SHOWN_NAME = 100  # characters of the name of a global in a message
MAX_HASHED_NUMBER = 1 << 61  # absolute value of a number used as a dict key: larger numbers may share their hash
MAX_HASHED_ITEMS = 16  # items of a tuple used as a dict key
MAX_DIMENSIONS = 64  # dimensions of a tensor, as in torch
MAX_DIRECTORY = 1 << 24  # bytes of the central directory of a zip file: about 200,000 records
MAX_CONFIG_VALUES = 10_000  # values in a configuration; those of AudioCraft have about 500
MAX_CONFIG_BITS = 1024  # bits of an integer, because converting it to decimal takes quadratic time
MAX_REFERENCE_CHARACTERS = 10_000  # characters of a string with `${`: OmegaConf parses it with a slow grammar

# State dicts: shared references in a small pickle can expand to exponentially many values.
MAX_VALUES = 1 << 19  # tensors and plain values
MAX_TEXT = 1 << 25  # characters of names and strings
MAX_TENSOR_NAME = 1 << 12  # characters of a dotted name
MAX_INTEGER_BITS = 2039  # bits of a plain integer; torch.load rejects longer ones
MAX_REPEATED_BYTES = 1 << 26  # expanded views may exceed twice the stored size by this many bytes
