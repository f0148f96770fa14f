"""Limits for the input of a release: a crafted file must not exhaust the memory or the disk."""

MAX_SHOWN_NAME = 200  # characters of a name of the checkpoint in a warning
MAX_OFFERS = 8  # sections in a hint
MAX_OFFERED_DEPTH = 3  # dots in the name of an offered section

MAX_MANIFEST_BYTES = 1 << 24  # a manifest is read into memory as a whole
MAX_MODEL_NAME = 200  # characters of the name of a public model

# Limits for the metrics of an epoch; manifests and cards omit further metrics.
MAX_METRICS = 1000
MAX_METRIC_NAME = 200  # characters of the name of a metric
