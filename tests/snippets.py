"""The code of a model card: what the card says that a person can run, taken out of it."""

import re

USAGE = re.compile(r"<!-- audiocraft-export: usage -->\n(.*?)<!-- /audiocraft-export: usage -->", re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks_of(readme):
    """Language and text of each block of code that says how to use the model, in their order."""
    return BLOCK.findall(USAGE.search(readme.replace("\r\n", "\n"))[1])


def snippet_of(readme):
    """The first Python of a card: it loads the release from the folder that one stands in, and uses it."""
    return next(text for language, text in blocks_of(readme) if language == "python")
