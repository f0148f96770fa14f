"""Flip single bits of all files of a signed release: none of them may be accepted."""

import random
from contextlib import suppress

import torch
from helpers import SIG, solver_state
from signing.signers import write_keys

from audiocraft_export import ExportError, ExportOptions, export_checkpoint
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.check import signature_problems
from audiocraft_export.signing.keys import read_public_key

from .trials import Row, amount

FLIPS = 2000


def signed_release(folder, share=1.0):
    row = Row.of("a bit of a signed release flipped in any file, the signature among them", "accepted")
    private, public = write_keys(folder / "keys")
    torch.save(solver_state(SIG), folder / "checkpoint.th")
    release = export_checkpoint(folder / "checkpoint.th", folder / "release",
                                ExportOptions(sign=private, attest=True)).folder
    key, chance = read_public_key(public), random.Random(0)
    files = {path: path.read_bytes() for path in sorted(release.iterdir())}
    assert not any(signature_problems(release, Manifest.load(release), key, {}))
    for _ in range(amount(FLIPS, share)):
        row.attempts += 1
        path = chance.choice([*files])
        at, bit = chance.randrange(len(files[path])), 1 << chance.randrange(8)
        path.write_bytes(files[path][:at] + bytes([files[path][at] ^ bit]) + files[path][at + 1:])
        problems = True
        with suppress(ExportError):  # of the manifest
            problems = any(signature_problems(release, Manifest.load(release), key, {}))
        row.count("refused" if problems else "accepted", f"bit {bit} of byte {at} of {path.name}")
        path.write_bytes(files[path])
    return row


TRIALS = [signed_release]
