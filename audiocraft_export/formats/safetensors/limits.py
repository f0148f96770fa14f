"""Limits for reading and writing safetensors files."""

MAX_HEADER = 1 << 25  # bytes; the library refuses more than 10**8
MAX_DEPTH = 64  # levels of nesting; a tuple takes two levels of the JSON
