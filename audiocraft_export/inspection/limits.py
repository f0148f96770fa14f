"""Limits for the summary of a file, each with its reason."""

MAX_SEARCH_DEPTH = 100  # levels of nested data that are searched for tensors: data may contain itself
MAX_KEY = 200  # characters of a key in a checkpoint: a hostile one may have millions
