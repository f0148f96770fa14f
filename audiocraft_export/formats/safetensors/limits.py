"""Limits of what is read from files of safetensors, and of what is written to them."""

MAX_HEADER = 1 << 25  # bytes; the library refuses more than 10**8
MAX_TEXT_FILE = 1 << 25  # bytes of a file that holds no tensors
MAX_DEPTH = 64  # levels of nested content; a tuple takes two levels of the JSON
