"""`docs/troubleshooting.md` explains every message of the package, and none that it no longer has.

A message is any text of the source in which a word stands beside another one or beside a placeholder, wherever it is
used: an error, a `Problem`, a warning, a note, a reason or a remedy that becomes part of another message. So nobody has
to keep a list of the calls that say something. A text inside a placeholder is a message of its own. No messages are
docstrings, the help of the commands, what the model card writes into a README.md, and NOT_SAID. Not seen are texts of
one word (`sound`), what a placeholder holds when others say it (the system, torch, Hydra, argparse, AudioCraft), and
the demo.
"""

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import audiocraft_export

PACKAGE = Path(audiocraft_export.__file__).parent
CARD = PACKAGE / "hf" / "card"
PAGE = Path(__file__).parents[1] / "docs" / "troubleshooting.md"
WORDS = re.compile(r"[A-Za-z]{2,} ([a-z]|\.\.\.)|\.\.\. [a-z]{2,}")
HELP = {"help", "description", "epilog", "HELP", "DESCRIPTION", "EXAMPLES"}  # keywords and constants
ENTRY = re.compile(r"\*\*(`+) ?(.+?) ?\1\*\*")
NOT_SAID = {
    "Config search path",  # where a message of Hydra's is cut
    "_codecs encode", "torch ...",  # names in a pickle
    "a manifest of other types", "exported before",  # never shown
    "module ... has no attribute ...",  # Python's own words
    "happy rock",  # what a proof has a model sing
    r"HTTP status \w+ error \((\d{3})", "Invalid metadata in README.md",  # by which answers of the Hub are known
}


def template(text):
    """A message with one `...` for what differs each time."""
    return re.sub(r"(\.\.\.)+", "...", " ".join(text.replace("%s", "...").split()))


def texts(node):
    """All texts below a node of the source."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
        return
    if HELP & {getattr(node, "arg", None), *(getattr(each, "id", None) for each in getattr(node, "targets", ()))}:
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    below = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.JoinedStr):
        yield "".join(each.value if isinstance(each, ast.Constant) else "..." for each in node.values)
        below = [each.value for each in node.values if isinstance(each, ast.FormattedValue)]
    for each in below:
        yield from texts(each)


def of_errors(tree):
    """What a module raises, and its functions and constants that a `raise` names."""
    raised = [node for node in ast.walk(tree) if isinstance(node, ast.Raise)]
    named = {each.id for node in raised for each in ast.walk(node) if isinstance(each, ast.Name)}
    helpers = [node for node in tree.body if named & {getattr(each, "name", getattr(each, "id", None))
                                                      for each in (node, *getattr(node, "targets", ()))}]
    return ast.Module([*raised, *helpers], [])


def messages_in(source, errors_only=False):
    """The messages in a source; `errors_only` of one whose other texts are those of a document that it writes."""
    tree = ast.parse(source)
    found = map(template, texts(of_errors(tree) if errors_only else tree))
    return {message for message in found if WORDS.search(message)} - NOT_SAID


def messages():
    """The messages of the package; of the model card, only its errors: its texts are those of a README.md."""
    paths = [path for path in PACKAGE.rglob("*.py") if "demo" not in path.relative_to(PACKAGE).parts]
    return set().union(*(messages_in(path.read_text("utf-8"), CARD in path.parents) for path in paths))


def blocks():
    """The page as paragraphs, headings, and messages, each between empty lines."""
    return [block.strip() for block in re.split(r"\n\s*\n", PAGE.read_text("utf-8"))]


def entries():
    """The messages that the page explains, in its order."""
    return [entry[2] for entry in map(ENTRY.fullmatch, blocks()) if entry]


def test_every_message_is_explained():
    missing = messages() - {*entries()}
    assert not missing


def test_no_explanation_is_left_over():
    left_over = {*entries()} - messages()
    assert not left_over


def test_every_message_stands_on_the_page_once_and_before_its_explanation():
    twice = [entry for entry, count in Counter(entries()).items() if count > 1]
    assert not twice and len(entries()) == PAGE.read_text("utf-8").count("**`")
    for block, following in zip(blocks(), [*blocks()[1:], "#"]):
        assert not (ENTRY.fullmatch(block) and following.startswith("#")), block


@pytest.mark.parametrize(("source", "found"), [
    ("raise ExportError(f'{path} is gone: {remedy}.')", {"... is gone: ...."}),
    ("say('It is ' f'{2 + 2:.3g} {unit}')", {"It is ... ..."}),
    ("remedy = f'take {a or \"the other one\"}' if a else 'take none'", {"take ...", "the other one", "take none"}),
    ("logger.warning('%s: it\\n is odd', name)", {"...: it is odd"}),
    ("def notes():\n    'What is odd.'\n    yield 'it is odd'", {"it is odd"}),
    ("parser.add_argument('--all', help='all of them'); EXAMPLES = 'like this one'; x = 'best'", set()),
])
def test_a_message_is_found_wherever_it_is_used(source, found):
    assert messages_in(source) == found


def test_of_a_document_only_the_errors_are_messages():
    source = """
REMEDY = 'mend the text'
TEXT = 'text of the page'
def page(name):
    if not name:
        raise PageError(f'{why(name)} is none: {REMEDY}.')
    return f'{TEXT} by {name}'
def why(name):
    return 'no name' if name is None else 'an empty name'
"""
    assert messages_in(source, errors_only=True) == {"... is none: ....", "mend the text", "no name", "an empty name"}
