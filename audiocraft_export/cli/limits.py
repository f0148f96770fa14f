"""Limits for the input and output of the command, each with its reason."""

MAX_TENSORS = 10  # number of tensors, the largest first, that `inspect` shows by default
MAX_SIG = 16  # characters of a folder name in `list`: a signature has 8
MAX_PROBLEMS = 4  # problems of a file in its line of `verify`: one cause often affects all tensors
MAX_CELL = 80  # characters of a shrinking cell in a log file
MIN_CELL = 8  # minimum width of a shortened cell, in characters
MAX_METRICS_COMPARED = 10  # number of metrics that `compare` shows
MAX_COMPLETION_SECONDS = 0.15  # reading experiments at the press of a key, which must feel immediate
