"""Limits of what is read of an experiment; more is damage or an attack, and may take longer than anybody waits."""

MAX_FILE_BYTES = 1 << 26  # of a file of Dora or Hydra, which is read as a whole
MAX_YAML_CHARS = 1 << 20  # of a configuration, which is parsed in pure Python
MAX_YAML_MARKS = 40_000  # characters that separate values; AudioCraft's configurations have some 600
MAX_YAML_BRACKETS = 500  # open at once, those of interpolations included: parsers recurse
MAX_INTERPOLATIONS = 4000  # in a configuration
MAX_RESOLVE_STEPS = 10_000  # interpolations that are resolved for one key
MAX_RESOLVE_GOALS = 500  # keys that are looked at to count these
