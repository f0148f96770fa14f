"""Limits for reading and writing safetensors files."""

MAX_HEADER = 1 << 25  # bytes; the library refuses more than 10**8
MAX_TEXT_FILE = 1 << 25  # bytes of a file without tensors
MAX_DEPTH = 64  # levels of nesting; a tuple takes two levels of the JSON
