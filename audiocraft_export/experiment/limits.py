"""Limits for the files of an experiment, far above those of any training: they bound the time and memory of parsing."""

MAX_FILE_BYTES = 1 << 26  # size of a file written by Dora or Hydra, which is read into memory as a whole
MAX_YAML_CHARS = 1 << 20  # characters of a configuration, which PyYAML parses in pure Python
MAX_YAML_MARKS = 40_000  # separators in a configuration; those of AudioCraft have about 600
MAX_YAML_BRACKETS = 500  # nested brackets, including those of interpolations, because the parsers recurse
MAX_INTERPOLATIONS = 4000  # interpolations in a configuration
MAX_RESOLVE_STEPS = 10_000  # interpolations resolved for one key
MAX_RESOLVE_GOALS = 500  # keys examined to count the interpolations
