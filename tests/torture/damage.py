"""No silent damage: bit flips, truncated, extended and overwritten files, in checkpoints and releases."""

import json
import shutil
from pathlib import Path
from random import Random

import torch
from helpers import SIG, solver_state, with_cfg

import audiocraft_export
from audiocraft_export import ExportError, ExportOptions, export_checkpoint

from .scene import release_checksums
from .trials import Row, one_sentence

CODEC, MANIFEST = "c0dec000", "export.json"
OPTIONS = ExportOptions(version="1.3.0", verify="bytes")
FLIPS, CUTS, GROWN, BLOCKS = 2000, 500, 100, 500
MENDED = 20, 4  # one of this many damaged releases (or releases with a damaged manifest) is exported again
SECTOR = 512
MEANING = ("sig", "solver", "epoch", "weights", "why", "tensors", "parameters", "dtypes", "files", "config",
           "config_sha256", "best", "options", "warnings", "versions", "bands", "format")


def flip(data, random):
    """Flip one bit."""
    where = random.randrange(len(data))
    return data[:where] + bytes([data[where] ^ 1 << random.randrange(8)]) + data[where + 1:]


def cut(data, random):
    """Truncate by any length, or by a few bytes."""
    return data[:random.choice((random.randrange(len(data)), max(0, len(data) - random.randint(1, 200))))]


def grow(data, random):
    """Append noise, zeros, the end of the file, or the whole file."""
    size = random.randint(1, 4096)
    return data + random.choice((random.randbytes(size), bytes(size), data[-size:], data))


def overwrite(data, random):
    """Replace a block of 1 to 4096 bytes by zeros, noise, or another block of the file."""
    size = min(len(data), random.choice((SECTOR, 4096, int(2 ** random.uniform(0, 12)))))
    step = random.choice((1, SECTOR))
    here, there = (random.randrange(0, len(data) - size + 1, step) for _ in range(2))
    block = random.choice((bytes(size), random.randbytes(size), data[there:there + size], None))
    return swap(data, here, there, size) if block is None else data[:here] + block + data[here + size:]


def swap(data, here, there, size):
    found = bytearray(data)
    found[here:here + size], found[there:there + size] = data[there:there + size], data[here:here + size]
    return bytes(found[:len(data)])


def state(seed, sig, **cfg):
    """Return a checkpoint in which tensors, pickle, headers and directory are all of significant size."""
    generator = torch.Generator().manual_seed(seed)
    sets = [{f"layers.{index}.weight": torch.randn(8, 12, generator=generator) for index in range(60)}
            for _ in range(2)]
    history = [{"train": {"ce": 9 / epoch}, "valid": {"ce": 8 / epoch, "ppl": 7.0}} for epoch in range(1, 101)]
    return solver_state(sig, history=history, model=sets[0], best_state={"model": sets[1]}, ema=None,
                        optimizer={"state": {"exp_avg": torch.zeros(3000)}}, **{"xp.cfg": with_cfg(**cfg)})


def make_xps(folder):
    """Write a language model and its codec; return both checkpoints."""
    made = []
    for seed, sig, cfg in ((1, SIG, {"solver": "musicgen", "compression_model_checkpoint": f"//sig/{CODEC}"}),
                           (2, CODEC, {"solver": "compression", "compression_model": "encodec"})):
        made.append(folder / "xps" / sig / "checkpoint.th")
        made[-1].parent.mkdir(parents=True)
        torch.save(state(seed, sig, **cfg), made[-1])
    return made


def meaning(folder):
    """Return the content of a release without times; None if it does not match its manifest."""
    if release_checksums(folder) is None:
        return None
    manifest = json.loads((folder / MANIFEST).read_text())
    return {name: manifest.get(name) for name in MEANING}


def damage_one(paths, harm, random, least=None):
    """Damage one of several files, chosen by size; return its path, and its bytes before and after.

    Args:
        least: a file that is chosen at least every fourth time.
    """
    sizes = [path.stat().st_size for path in paths]
    victim = least if least and random.random() < 0.25 else random.choices(paths, sizes)[0]
    before = victim.read_bytes()
    after = harm(before, random)
    victim.write_bytes(after)
    return victim, before, after


def difference(before, after):
    """Describe the position of a change, for an example."""
    where = next((index for index, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), len(after))
    return f"from byte {where} of {len(before)}, then {len(after)}"


def attempt(job, *args):
    """Return the result of a call and its error message; the outcome is its name if the error is not clear."""
    try:
        return job(*args), None, None
    except ExportError as exc:
        return None, str(exc), None if one_sentence(str(exc)) else "tracebacks"
    except Exception as exc:
        return None, repr(exc), "tracebacks"


def checkpoints(folder, share, what, harm, times):
    """Damage a checkpoint or its codec, and export to an empty folder."""
    row, random = Row.of(f"checkpoints: {what}", "silent", "tracebacks"), Random(what)
    paths, out = make_xps(folder), folder / "out"
    export_checkpoint(paths[0], out, OPTIONS)
    right = release_checksums(out), meaning(out)
    for _ in range(round(times * share)):
        row.attempts += 1
        shutil.rmtree(out, ignore_errors=True)
        victim, before, after = damage_one(paths, harm, random)
        _, said, wrong = attempt(export_checkpoint, paths[0], out, OPTIONS)
        victim.write_bytes(before)
        if wrong or said:
            row.count(wrong or ("silent" if out.exists() else "refused"), said)
        else:
            row.count("equal" if (release_checksums(out), meaning(out)) == right else "silent",
                      f"{victim.parent.name} {difference(before, after)}")
    return row


def releases(folder, share, what, harm, times):
    """Damage a file of a release and verify it; sometimes export over it."""
    row, random = Row.of(f"releases: {what}", "silent", "misplaced", "tracebacks"), Random(what)
    checkpoint, out = make_xps(folder)[0], folder / "out"
    export_checkpoint(checkpoint, out, OPTIONS)
    pristine = {path: path.read_bytes() for path in out.iterdir()}
    right = release_checksums(out), meaning(out)
    for _ in range(round(times * share)):
        row.attempts += 1
        victim, before, after = damage_one(list(pristine), harm, random, out / MANIFEST)
        example = f"{victim.name} {difference(before, after)}"
        row.count(*verify_outcome(out, victim, example) if before != after else ["equal"])
        if row.attempts % MENDED[victim.name == MANIFEST] == 0:
            row.count(*export_outcome(checkpoint, out, right, f"export over {example}"))
        for path, data in pristine.items():
            path.write_bytes(data)
    return row


def verify_outcome(folder, victim, example):
    """Return whether verify names the damaged file, or the manifest that lists it."""
    found, said, wrong = attempt(lambda: audiocraft_export.verify(folder))
    if wrong or said:
        return wrong or "reported", f"{example}: {said}"
    if found.ok or not found.problems:
        return "silent", example
    texts = [str(problem) for problem in found.problems]
    if not all(map(one_sentence, texts)):
        return "tracebacks", f"{example}: {texts}"
    names = {Path(str(problem.file)).name for problem in found.problems}
    return "reported" if names & {victim.name, MANIFEST} else "misplaced", f"{example}: {texts}"


def export_outcome(checkpoint, folder, right, example):
    """Return whether an export of the same checkpoint repairs a damaged release."""
    _, said, wrong = attempt(export_checkpoint, checkpoint, folder, OPTIONS)
    if wrong or said:
        return wrong or "silent", f"{example}: {said}"
    return "mended" if (release_checksums(folder), meaning(folder)) == right else "silent", example


def flipped_checkpoints(folder, share=1.0):
    return checkpoints(folder, share, "a flipped bit", flip, FLIPS)


def cut_checkpoints(folder, share=1.0):
    return checkpoints(folder, share, "cut", cut, CUTS)


def grown_checkpoints(folder, share=1.0):
    return checkpoints(folder, share, "junk at the end", grow, GROWN)


def overwritten_checkpoints(folder, share=1.0):
    return checkpoints(folder, share, "an overwritten block", overwrite, BLOCKS)


def flipped_releases(folder, share=1.0):
    return releases(folder, share, "a flipped bit", flip, FLIPS)


def cut_releases(folder, share=1.0):
    return releases(folder, share, "cut", cut, CUTS)


def grown_releases(folder, share=1.0):
    return releases(folder, share, "junk at the end", grow, GROWN)


def overwritten_releases(folder, share=1.0):
    return releases(folder, share, "an overwritten block", overwrite, BLOCKS)


TRIALS = (flipped_checkpoints, cut_checkpoints, grown_checkpoints, overwritten_checkpoints,
          flipped_releases, cut_releases, grown_releases, overwritten_releases)
