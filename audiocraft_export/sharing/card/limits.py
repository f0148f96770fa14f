"""Limits of what a card shows: a checkpoint may hold any number of values of any size."""

MAX_CARD_BYTES = 1 << 22  # of a README.md, which is read and written as a whole
MAX_CODE = 300  # characters of a value in code: hashes and names are shorter
MAX_PROSE = 1000  # characters of a value in running text: a warning of an export is shorter
MAX_STAGES = 8  # of a history: AudioCraft has train, valid, evaluate and generate
MAX_EPOCHS = 100_000  # of a history: a plot has fewer pixels
MAX_TABLE_METRICS = 8  # of a stage in the table: the checkpoint has them all
MAX_RESULTS = 12  # metrics in the front matter: the Hub lists them beside the card
MAX_CONDITIONS = 12  # in one cell of a table
MAX_WARNINGS = 30  # of the manifest, one a line
MAX_COUNT = 1 << 31  # of a count in a configuration: no model has more of anything
MAX_RATIOS, MAX_RATIO = 32, 1 << 16  # strides of a codec: their product stays small enough for a float
MAX_DECODING_STEPS = 64  # entries of a list in one line of code
MAX_CURVES = 3  # stages in the plot: it has three line styles
MAX_LABEL = 30  # characters of a name beside the plot
MAX_MARKED_EPOCHS = 40  # with more, dots would hide the line
MAX_VALUE, MIN_LOG_VALUE = 1e12, 1e-12  # in the plot: matplotlib cannot place ticks far beyond
