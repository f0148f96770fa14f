"""Extract the code blocks of a model card."""

import re

USAGE = re.compile(r"<!-- audiocraft-export: usage -->\n(.*?)<!-- /audiocraft-export: usage -->", re.DOTALL)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks_of(readme):
    """Return language and text of each code block in the section `usage`, in order."""
    return BLOCK.findall(USAGE.search(readme.replace("\r\n", "\n"))[1])


def snippet_of(readme):
    """Return the first Python block of a card, which loads the release from the current folder."""
    return next(text for language, text in blocks_of(readme) if language == "python")
