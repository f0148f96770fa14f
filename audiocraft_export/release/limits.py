"""Limits of what a release is made from: a crafted file must not fill the memory or the disk."""

# Weights: shared references in a small pickle can stand for exponentially many values.
MAX_VALUES = 1 << 19  # tensors and plain values in the weights of a release
MAX_TEXT = 1 << 25  # characters of the names and strings in them
MAX_TENSOR_NAME = 1 << 12  # characters of a dotted name
MAX_SHOWN_NAME = 200  # characters of a name that a checkpoint chose, in a note
MAX_OFFERS = 8  # sections that an error names
MAX_OFFERED_DEPTH = 3  # dots in the name of one
MAX_REPEATED_BYTES = 1 << 26  # a few stored bytes can be expanded to any size: this much beyond twice what is stored

MAX_MANIFEST_BYTES = 1 << 24  # a manifest is read as a whole
MAX_MODEL_NAME = 200  # characters of the name of a public model; a longer one is no name, and would fill the message

# Metrics of an epoch: what is beyond is left out of manifests and cards, and stays in the checkpoint.
MAX_METRICS = 1000
MAX_METRIC_NAME = 200  # characters
