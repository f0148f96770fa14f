"""Ways to damage a release, and helpers to check the problems that are found."""

from audiocraft_export import verify
from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.formats.audiocraft.pickler import TorchPickle


def rewrite(path, **changes):
    """Rewrite a file of a release with other values by key; `...` removes a key."""
    state = {**TorchFile.read(path).state, **changes}
    pickled = TorchPickle({key: value for key, value in state.items() if value is not ...})
    with open(path.with_suffix(".new"), "wb") as stream:
        pickled.write(stream)
    path.with_suffix(".new").replace(path)


def flip(path, data):
    """Flip one bit at the position of some bytes."""
    content = path.read_bytes()
    assert content.count(data) == 1
    path.write_bytes(content.replace(data, bytes([data[0] ^ 1]) + data[1:]))


def found(path):
    return [(problem.file, problem.key, problem.what) for problem in verify(path).problems]
