"""Releases to share, and repositories for them."""

REPO = "org/model"
CARD = "README.md"
SHARED = ["--format", "safetensors", "--push-to-hub", REPO]


def pushed(hub, revision="main"):
    return {name: file.data for name, file in hub.repos[REPO].files(revision).items() if name != ".gitattributes"}


def released(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}
