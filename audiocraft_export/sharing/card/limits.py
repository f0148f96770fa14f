"""Limits for the content of a card, since a checkpoint can have any number of values of any size."""

MAX_CARD_BYTES = 1 << 22  # size of a README.md, which is read into memory
MAX_CODE = 300  # characters of a value shown as code; hashes and names are shorter
MAX_PROSE = 1000  # characters of a value in running text; warnings are shorter
MAX_STAGES = 8  # stages in a history; AudioCraft has train, valid, evaluate and generate
MAX_EPOCHS = 100_000  # epochs in a history; a plot has fewer pixels
MAX_TABLE_METRICS = 8  # metrics per stage in the table; the checkpoint has all metrics
MAX_RESULTS = 12  # metrics in the front matter; the Hub lists them next to the card
MAX_CONDITIONS = 12  # conditions in one cell of a table
MAX_WARNINGS = 30  # warnings of the manifest, one per line
MAX_COUNT = 1 << 31  # upper bound of a count in a configuration
MAX_RATIOS, MAX_RATIO = 32, 1 << 16  # number and size of a codec's strides, whose product must fit into a float
MAX_DECODING_STEPS = 64  # entries of a list in one line of code
MAX_CURVES = 3  # stages in the plot, which has three line styles
MAX_LABEL = 30  # characters of a name in the plot
MAX_MARKED_EPOCHS = 40  # with more epochs, the dots would hide the line
MAX_VALUE, MIN_LOG_VALUE = 1e12, 1e-12  # range of plotted values; matplotlib cannot place ticks for larger ranges
