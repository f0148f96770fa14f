"""Flip single bits of a container: torch must load each accepted file with unchanged content."""

import io
import warnings

import torch

from audiocraft_export import verify

from .trials import Row, some

STATE = {"best_state": {"w": torch.arange(6.).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)},
         "xp.cfg": "a: 1\n", "version": "1", "exported": True}


def ours():
    from audiocraft_export.checkpoint.torch_tensors import from_torch
    from audiocraft_export.formats.encoders import encode
    stream = io.BytesIO()
    encode({**STATE, "best_state": from_torch(STATE["best_state"])}).write(stream, checked=True)
    return stream.getvalue()


def of_torch():
    stream = io.BytesIO()
    torch.save(STATE, stream)
    return stream.getvalue()


def is_sound(path):
    """Return whether a file has no problems, except those that torch reports."""
    return all("with weights_only=True cannot load" in problem.what for problem in verify(path).problems)


def judgement(path):
    """Return the content of a file as loaded by torch."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(path, weights_only=True)
    except Exception as exc:
        return f"refused by torch ({type(exc).__name__})"
    tensors = found.pop("best_state", {})
    expected = {key: value for key, value in STATE.items() if key != "best_state"}
    same = found == expected and list(tensors) == list(STATE["best_state"]) and all(
        torch.equal(tensor, STATE["best_state"][name]) for name, tensor in tensors.items())
    return "equal" if same else "another content in torch"


def flips(name, make):
    def trial(folder, share=1.0):
        row = Row.of(f"a bit of a container of {name} flipped, what is sound for us loaded by torch",
                     "another content in torch", "refused by torch")
        data, path = make(), folder / "flipped.bin"
        for bit in some(range(8 * len(data)), share):
            row.attempts += 1
            path.write_bytes(data[:bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1:])
            outcome = judgement(path) if is_sound(path) else "found"
            row.count(outcome.partition(" (")[0], f"bit {bit} of {len(data)} bytes: {outcome}")
        return row
    trial.__name__ = f"flips_of_{make.__name__}"
    return trial


TRIALS = [flips("ours", ours), flips("torch.save", of_torch)]
