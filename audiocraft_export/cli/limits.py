"""Limits of what the command looks at, and of what it prints, each with its reason."""

MAX_SEARCH_DEPTH = 100  # levels of nested data in which tensors are looked for: what contains itself has no end
MAX_KEY = 200  # characters of a key in a checkpoint: a hostile one may have millions
MAX_TENSORS = 10  # tensors that `inspect` shows, the largest ones, unless all are asked for
MAX_SIG = 16  # characters of a folder name in `list`: a signature has 8, and the other columns need the room
MAX_PROBLEMS = 4  # problems of a file in its line of `verify`: one cause often has as many as there are tensors
MAX_CELL = 80  # characters of a shrinking cell in a log, which has no width
MIN_CELL = 8  # characters below which no cell is cut: less says nothing
MAX_ERROR_LENGTH = 70  # characters of an error in the table of a batch: its line has it in full
