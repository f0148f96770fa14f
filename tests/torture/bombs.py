"""Denial of service: small files that are expensive to read, each exported in a separate process.

CPU time, peak memory and the message of the process are checked.
"""

import json
import pickle
import random
import shutil
import struct
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from helpers import load, model_state, same

from .checkpoints import BESIDE, RELEASED, checkpoint, good_state, placed, plain_cfg
from .containers import END, PKL, both, records_of, with_extra, zipped
from .payloads import DICT, EMPTY, NONE, ONE, ZERO, Payload, arguments, called, items, named, persistent, text
from .scene import release_checksums
from .trials import Row, environment, one_sentence

SECONDS, MEGABYTES, LONGEST = 10, 500, 3000
REPLACED = "emb.0.weight"  # positions of a bomb that is one of the weights
HISTORY, OPTIMIZER, UNKNOWN = "in history", "in optimizer", "in an unknown key"
WEIGHTS, STATE, CFG = "as one of the weights", "as best_state", "as a value in xp.cfg"
# A small launcher, so that the peak is that of the export alone: a child starts with the peak of its parent.
MEASURE = """
import json, os, resource, signal, subprocess, sys
def limit():
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
with open(sys.argv[1], "wb") as errors:
    child = subprocess.Popen(sys.argv[2:], stdout=errors, stderr=errors, preexec_fn=limit)
    signal.signal(signal.SIGALRM, lambda *args: child.kill())
    signal.alarm(600)
    _, status, usage = os.wait4(child.pid, 0)
code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
print(json.dumps({"code": code, "seconds": usage.ru_utime + usage.ru_stime, "megabytes": usage.ru_maxrss / 1000}))
"""


@dataclass(frozen=True)
class Bomb:
    """A file, or a folder with a file.

    Args:
        what: its description.
        make: writes it to a folder as `checkpoint.th`.
        harmless: whether it may be exported, because its weights are those of a good checkpoint.
    """

    what: str
    make: Callable[[Path], object]
    harmless: bool = False


# Pickles ----------------------------------------------------------------------------------------------------------
BIG, DEEP, MANY = 50_000_000, 100_000, 1_000_000
PUT, GET = b"r\x60\xea\0\0", b"j\x60\xea\0\0"
PUT_TOO, GET_TOO = b"r\x61\xea\0\0", b"j\x61\xea\0\0"
LISTS = b"]" + (PUT + b"0](" + GET * 2 + b"e") * 60
TUPLES = EMPTY + b"2\x86" * 60
DICTS = DICT + (PUT + b"0}(" + text("a") + GET + text("b") + GET + b"u") * 60
TUPLES_DEEP = EMPTY + b"\x85" * MANY
LISTS_DEEP = b"]" * DEEP + b"a" * (DEEP - 1)
DICTS_DEEP = (DICT + text("a")) * DEEP + NONE + b"s" * DEEP
HUGE = b"\x8b" + struct.pack("<i", 2 * BIG) + b"\1" * (2 * BIG)


def number(value):
    data = pickle.encode_long(value)
    return (b"\x8a" + bytes([len(data)]) if len(data) < 256 else b"\x8b" + struct.pack("<i", len(data))) + data


def key_of(opcodes):
    return DICT + opcodes + ONE + b"s"


def tensor(shape=ONE, stride=ONE, offset=ZERO, numel=b"K\x14", key="0"):
    """Return a tensor of one dimension, or with the given shape and stride, over a storage of 20 numbers."""
    storage = persistent(text("storage"), named("torch.FloatStorage"), text(key), text("cpu"), numel)
    shape, stride = (each if each.endswith(b"t") else arguments(each) for each in (shape, stride))
    return called("torch._utils._rebuild_tensor_v2", storage, offset, shape, stride, b"\x89", DICT)


def mapping(keys, value):
    return b"}(" + b"".join(text(key) + value for key in keys) + b"u"


def names(prefix, count=MANY):
    return (f"{prefix}{index}" for index in range(count))


def zeros():
    """Return a million tensors without elements."""
    function, whole = named("torch._utils._rebuild_tensor_v2"), tensor(ZERO)
    remembered = function + PUT + b"0" + whole[len(function):-1] + PUT_TOO + b"0"
    return remembered + mapping(names("t"), GET + GET_TOO + b"R")


def repeated():
    """Return a long string that is referenced a hundred thousand times."""
    return text("x" * BIG) + PUT + b"0](" + GET * DEEP + b"e"


OPCODES = {  # the object in the pickle, and its position
    "lists of twice the same list, 60 deep": (LISTS, (HISTORY, OPTIMIZER, WEIGHTS, STATE, CFG, "as xp.cfg",
                                                      "as xp.sig")),
    "tuples of twice the same tuple, 60 deep": (TUPLES, (HISTORY, WEIGHTS, CFG, "as a key in xp.cfg",
                                                         "as a name in the weights", "as an unknown key")),
    "dicts of twice the same dict, 60 deep": (DICTS, (HISTORY, WEIGHTS, STATE, CFG, "as xp.cfg",
                                                      "as the whole pickle")),
    "a key of twice the same tuple, 60 deep": (key_of(TUPLES), (HISTORY, OPTIMIZER, WEIGHTS, CFG)),
    "tuples, 1,000,000 deep": (TUPLES_DEEP, (HISTORY, WEIGHTS, CFG, "as xp.sig", "as the whole pickle")),
    "a key of tuples, 1,000,000 deep": (key_of(TUPLES_DEEP), (HISTORY, WEIGHTS, CFG)),
    "lists, 100,000 deep": (LISTS_DEEP, (HISTORY, WEIGHTS, STATE, CFG)),
    "dicts, 100,000 deep": (DICTS_DEEP, (HISTORY, WEIGHTS, STATE, CFG, "as xp.cfg")),
    "calls, 100,000 deep": (named("evil.call") * DEEP + (b"\x85R" * (DEEP - 1)), (HISTORY, WEIGHTS)),
    "memo index 2**31": (b"]r\0\0\0\x80", (HISTORY, WEIGHTS)), "memo index 2**28": (b"]r\0\0\0\x10", (HISTORY, CFG)),
    "memo index 2**32 - 1": (b"]r\xff\xff\xff\xff", (HISTORY,)), "memo index 2**26": (b"]r\0\0\0\4", (HISTORY,)),
    "memo index of 19 digits": (b"]p9223372036854775807\n", (HISTORY,)), "memo index -1": (b"]p-1\n", (HISTORY,)),
    "memo index of 30 digits": (b"]p" + b"9" * 30 + b"\n", (HISTORY,)), "memo index 2**29 as text": (
        b"]p536870912\n", (HISTORY, WEIGHTS)),
    "memo index of a million digits": (b"]p" + b"9" * MANY + b"\n", (HISTORY,)), "a GET of 2**31": (
        b"j\0\0\0\x80", (HISTORY,)),
    "LONG4 of 2 GB that is not there": (b"\x8b\xff\xff\xff\x7f", (HISTORY, WEIGHTS)),
    "LONG4 of a negative size": (b"\x8b\xff\xff\xff\xff", (HISTORY,)),
    "LONG1 that is not there": (b"\x8a\xff", ("as the whole pickle",)),
    "LONG4 of 100 MB": (HUGE, (HISTORY, WEIGHTS, CFG, "as xp.sig", "as a key in xp.cfg", "as a name in the weights")),
    "a number of 5,000 digits": (number(10**5000), (HISTORY, WEIGHTS, CFG, "as a key in xp.cfg", "as an unknown key")),
    "LONG of 10 million digits": (b"L" + b"9" * 10 * MANY + b"L\n", (HISTORY, WEIGHTS, CFG)),
    "INT of 10 million digits": (b"I" + b"9" * 10 * MANY + b"\n", (HISTORY, WEIGHTS)),
    "FLOAT of 10 million digits": (b"F" + b"9" * 10 * MANY + b"\n", (HISTORY,)),
    **{f"{name} of 2**40 bytes": (opcode + struct.pack("<Q", 1 << 40), (HISTORY, WEIGHTS)) for name, opcode in {
        "BINBYTES8": b"\x8e", "BINUNICODE8": b"\x8d", "BYTEARRAY8": b"\x96", "FRAME": b"\x95"}.items()},
    **{f"{name} of 2**64 - 1 bytes": (opcode + b"\xff" * 8, (HISTORY,)) for name, opcode in {
        "BINBYTES8": b"\x8e", "BINUNICODE8": b"\x8d", "BYTEARRAY8": b"\x96", "FRAME": b"\x95"}.items()},
    **{f"{name} of 2**32 - 1 bytes": (opcode + b"\xff" * 4, (HISTORY,)) for name, opcode in {
        "BINBYTES": b"B", "BINUNICODE": b"X", "BINSTRING": b"T"}.items()},
    "BYTEARRAY8 of 4 GB": (b"\x96" + struct.pack("<Q", 4 << 30), (HISTORY,)),
    "a FRAME that ends within an opcode": (b"\x95" + struct.pack("<Q", 3) + text("abcdef"), (HISTORY,)),
    "a million empty FRAMEs": ((b"\x95" + bytes(8)) * MANY + NONE, (HISTORY,)),
    "FRAMEs in FRAMEs": (b"".join(b"\x95" + struct.pack("<Q", 9 * left) for left in range(DEEP, -1, -1)) + NONE,
                         (HISTORY,)),
    "30 million EMPTY_DICT": (b"(" + b"}" * 30 * MANY + b"l", (HISTORY, WEIGHTS, CFG)),
    "30 million EMPTY_DICT, each dropped": (b"}0" * 30 * MANY + NONE, (HISTORY,)),
    "30 million EMPTY_LIST, never used": (b"(" + b"]" * 30 * MANY + b"1N", (HISTORY,)),
    "30 million MARK": (b"(" * 30 * MANY + b"1" * 30 * MANY + NONE, (HISTORY,)),
    "30 million NONE": (b"(" + NONE * 30 * MANY + b"l", (HISTORY, WEIGHTS, CFG)),
    "10 million DUP of a tuple": (b"(" + EMPTY + b"2\x85" * 10 * MANY + b"t", (HISTORY,)),
    "10 million objects": (named("collections.OrderedDict") + PUT + b"0(" + (GET + EMPTY + b"R") * 10 * MANY + b"l",
                           (HISTORY,)),
    "a million other names": (b"".join(named(f"evil.n{index}") + b"0" for index in range(MANY)) + NONE, (HISTORY,)),
    "a million calls of one name": (named("evil.call") + PUT + b"0(" + (GET + EMPTY + b"R") * MANY + b"l", (HISTORY,)),
    "a name of 50 MB": (named("evil." + "x" * BIG), (HISTORY, WEIGHTS)),
    "a million texts remembered": (b"".join(b"X\0\0\0\0r" + struct.pack("<I", index) + b"0" for index in range(
        100_000, 100_000 + MANY)) + NONE, (HISTORY,)),
    "a text of 50 MB": (text("x" * BIG), (HISTORY, "as xp.sig", CFG, "as an unknown key", "as a name in the weights")),
    "a list that holds itself": (b"]" + PUT + GET + b"a", (HISTORY, WEIGHTS, STATE, CFG, "as xp.cfg", "as xp.sig")),
    "a dict that holds itself": (b"}" + PUT + text("a") + GET + b"s", (HISTORY, WEIGHTS, STATE, CFG, "as xp.cfg")),
    "a million keys": (mapping(names("k"), ONE), (HISTORY, WEIGHTS, CFG, "as xp.cfg", "as the whole pickle")),
    "bytes of 50 MB": (b"B" + struct.pack("<I", BIG) + bytes(BIG), (HISTORY, WEIGHTS, CFG)),
    **{f"storage of {name} numbers": (tensor(numel=number(value)), (OPTIMIZER, WEIGHTS)) for name, value in {
        "2**50": 1 << 50, "2**63 - 1": (1 << 63) - 1, "2**64": 1 << 64, "-1": -1, "2**100,000": 1 << 100_000}.items()},
    "storage of True numbers": (tensor(numel=b"\x88"), (WEIGHTS,)), "storage of 20.0 numbers": (
        tensor(numel=b"G" + struct.pack(">d", 20)), (WEIGHTS,)),
    "strides 0 over 2**40 numbers": (tensor(number(1 << 40), ZERO), (WEIGHTS, OPTIMIZER)),
    "strides 0 over 2**29 numbers": (tensor(number(1 << 29), ZERO), (WEIGHTS,)),
    "strides 0 over 2**20 times 2**20 numbers": (
        tensor(arguments(*[number(1 << 20)] * 2), arguments(ZERO, ZERO)), (WEIGHTS,)),
    "strides 0 over 2**63 numbers": (tensor(number(1 << 63), ZERO), (WEIGHTS,)),
    "a hundred times strides 0 over 2**22 numbers": (
        items(*(tensor(number((1 << 22) + index), ZERO) for index in range(100))), (WEIGHTS,)),
    **{f"{name} {value}": (tensor(**{name: number(value)}), (WEIGHTS, OPTIMIZER)) for name in (
        "stride", "offset", "shape") for value in (-1, -(1 << 62), 1 << 62, 1 << 64)},
    **{f"{name} that is {kind}": (tensor(**{name: opcode}), (WEIGHTS,)) for name in ("stride", "offset", "shape")
       for kind, opcode in {"a bool": b"\x88", "a float": b"G" + struct.pack(">d", 1), "a text": text("1"),
                            "None": NONE, "of 100 kB": number(1 << 800_000)}.items()},
    "a shape of 100,000 dimensions": (tensor(arguments(*[ONE] * DEEP), arguments(*[ONE] * DEEP)), (WEIGHTS, OPTIMIZER)),
    "a shape of 100,000 dimensions of 2": (tensor(arguments(*[b"K\2"] * DEEP), arguments(*[ZERO] * DEEP)), (WEIGHTS,)),
    "a shape of 100,000 large dimensions": (
        tensor(arguments(*[number(1 << 62)] * DEEP), arguments(*[ZERO] * DEEP)), (WEIGHTS, OPTIMIZER)),
    "a shape of dimensions 2**62 and 0": (tensor(arguments(number(1 << 62), ZERO), arguments(ONE, ONE)), (WEIGHTS,)),
    "a million tensors of no element": (zeros(), (WEIGHTS, OPTIMIZER, STATE)),
}


def again(function, *arguments_of, times=1_000):
    """Return a pickle that repeats a call with the same arguments from the memo."""
    calls = (GET + GET_TOO + b"R") * times
    return named(function) + PUT + b"0" + arguments(*arguments_of) + PUT_TOO + b"0(" + calls + b"l"


SEVERAL = {  # small input that expands
    "torch.Size of a million, 1,000 times": lambda: again("torch.Size", items(*[NONE] * MANY)),
    "10 MB of text encoded, 1,000 times": lambda: again("_codecs.encode", text("a" * 10 * MANY), text("latin1")),
    "a dict of 60,000 pairs, 1,000 times": lambda: again("builtins.dict", items(*(
        arguments(number(index), NONE) for index in range(60_000)))),
    "a path of a hundred parts, 690,000 times": lambda: again("pathlib.PosixPath", *[text("a" * 100)] * 100,
                                                              times=690_000),
    "numbers with one hash as 300,000 keys": lambda: b"}(" + b"".join(
        number(((1 << 61) - 1) * index) + NONE for index in range(1, 300_000)) + b"u",
    "2 million texts of 40 characters": lambda: b"(" + text("x" * 40) * 2 * MANY + b"l",
    "120 MB of text with one wide character": lambda: text("\U0001f600" + "x" * 120 * MANY),
    "200 names of 4,096 characters in each other": lambda: text("k" * 4096) + PUT + b"0" + (b"}" + GET) * 200 + (
        b"}(" + b"".join(number(index) + NONE for index in range(60_000)) + b"u") + b"s" * 200,
    "a wide key in 200,000 dicts": lambda: text("\U0001f600" * 4096) + PUT + b"0](" + (
        b"}" + GET + b"Ns") * 200_000 + b"e",
    "a metric's name of 40 MB": lambda: b"}" + text("\1" * 40 * MANY) + b"G" + struct.pack(">d", 1.0) + b"s",
}
SOUND = {  # unusual, but may be released unchanged if that is cheap
    "stride 4611686018427387904", "stride 18446744073709551616", "stride that is of 100 kB", "bytes of 50 MB",
    "a shape of dimensions 2**62 and 0", "a shape of 100,000 dimensions", "a text of 50 MB",
    "a million tensors of no element", "a million keys", "memo index 2**31", "memo index 2**29 as text",
}
GENERATED = {  # too large to keep
    "a text of 50 MB, 100,000 times": (repeated, (WEIGHTS, CFG, HISTORY, STATE)),
}


def bombs_of(table):
    for what, (opcodes, places) in table.items():
        for where in places:
            yield Bomb(f"{what}, {where}", lambda folder, opcodes=opcodes, where=where: checkpoint(
                folder / "checkpoint.th", placed({**RELEASED, **BESIDE}[where], Payload(
                    opcodes() if callable(opcodes) else opcodes))), may_be_exported(what, where))


def may_be_exported(what, where):
    return where not in RELEASED or where == CFG or what in SOUND and where in (WEIGHTS, "as a name in the weights")


def views(folder):
    """Return a hundred thousand views of one large storage, each with another offset."""
    numel = BIG // 4
    seen = (tensor(number(numel - index), ONE, number(index), number(numel)) for index in range(1, DEEP))
    best = {"model": {"big": torch.zeros(numel), **model_state(3), "views": Payload(items(*seen))}}
    checkpoint(folder / "checkpoint.th", {"best_state": best, **good_state(best_state=best)})


def metric(folder):
    checkpoint(folder / "checkpoint.th", good_state(history=[{"valid": {"ce": 10**5000}}]))


def metrics(folder):
    valid = Payload(mapping(names("m"), ONE))
    checkpoint(folder / "checkpoint.th", good_state(history=[{"valid": valid}]))


def epochs(folder):
    history = Payload(b"}" + PUT + b"0](" + GET * 10 * MANY + b"e")
    checkpoint(folder / "checkpoint.th", good_state(history=history))


# Containers -------------------------------------------------------------------------------------------------------

def file_of(data):
    return lambda folder: (folder / "checkpoint.th").write_bytes(data())


def deflated_zip(method=zipfile.ZIP_DEFLATED, record=PKL):
    """Write a record that decompresses to 2 GB."""
    def make(folder):
        with zipfile.ZipFile(folder / "checkpoint.th", "w", method, compresslevel=1) as archive:
            for name, data in records_of(good_state()):
                if name != record:
                    archive.writestr(zipfile.ZipInfo(name), data)
                    continue
                with archive.open(name, "w", force_zip64=True) as stream:
                    stream.write(b"\x80\2")
                    for _ in range(2000):
                        stream.write(b"}0" * (MANY // 2))
                    stream.write(b"N.")
    return make


def nested_zip():
    data = zipped([(PKL, b"}0" * 30 * MANY + b"N.")], zipfile.ZIP_DEFLATED)
    for _ in range(10):
        data = zipped([(PKL, data)] * 10, zipfile.ZIP_DEFLATED)
    return zipped([(PKL, data)])


def directory(count, name, same_place=False):
    """Write a central directory with many entries."""
    def make(folder):
        data = zipped(records_of(good_state()))
        offset = END.unpack(data[-END.size:])[6]
        head = struct.pack("<4s6H3I", b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0)
        with open(folder / "checkpoint.th", "wb") as stream:
            stream.write(data[:-END.size])
            for index in range(count):
                full = name(index).encode()
                place = 0 if same_place else offset
                stream.write(head + struct.pack("<5H2I", len(full), 0, 0, 0, 0, 0, place) + full)
            size = stream.tell() - offset
            stream.write(END.pack(b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), size, offset, 0))
    return make


def lying_zip(record, **values):
    def data():
        return both(zipped(records_of(good_state())), record, **values)
    return data


def lying_zip_64(size):
    data = both(zipped(sorted(records_of(good_state()), key=lambda pair: pair[0] != PKL)),
                size=0xFFFFFFFF, packed=0xFFFFFFFF)
    return with_extra(data, struct.pack("<2H2Q", 1, 16, size, size))


def sparse(folder):
    """Write a sparse file of 1 TB, with a hole between the records and the central directory."""
    data = zipped(records_of(good_state()))
    with open(folder / "checkpoint.th", "wb") as stream:
        stream.write(data)
        stream.truncate(1 << 40)


def hole(folder):
    with open(folder / "checkpoint.th", "wb") as stream:
        stream.truncate(1 << 40)


CONTAINERS = {
    "a deflated data.pkl of 2 GB": deflated_zip(), "a deflated storage of 2 GB": deflated_zip(record="archive/data/0"),
    "zip in zip, 10 deep": file_of(nested_zip),
    "a central directory of a million entries": directory(MANY, lambda index: f"archive/data/{index + 100}"),
    "a million entries of one place": directory(MANY, lambda index: f"archive/data/{index + 100}", same_place=True),
    "a million entries of one name": directory(MANY, lambda index: PKL),
    "3,000 entries with names of 60 kB": directory(3000, lambda index: f"archive/{index:060000}"),
    "data.pkl of 4 GB that is not there": file_of(lying_zip(PKL, size=0xFFFFFFF0, packed=0xFFFFFFF0)),
    "a storage of 4 GB that is not there": file_of(lying_zip("archive/data/0", size=0xFFFFFFF0, packed=0xFFFFFFF0)),
    "a storage of 2 GB that is not there, when unpacked": file_of(lying_zip("archive/data/0", size=0x7FFFFFFF)),
    "data.pkl of 2**50 bytes": file_of(lambda: lying_zip_64(1 << 50)),
    "data.pkl of 2**64 - 1 bytes": file_of(lambda: lying_zip_64((1 << 64) - 1)),
    "a hole of 1 TB at the end": sparse,
    "a file of 1 TB without a byte": hole,
}


# Configurations ---------------------------------------------------------------------------------------------------

def laughs(levels, opening="[", closing="]"):
    lines = [f"l0: &l0 {opening}x{closing}"]
    lines += [f"l{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


def merges(levels):
    lines = ["m0: &m0 {a: 1}"]
    lines += [f"m{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * 9)}]}}" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


YAML = {
    "brackets, 39,000 deep, with a mark of an alias": "# & *\na: " + "[" * 39_000,
    "a billion laughs": laughs(10), "729 laughs": laughs(4), "10**30 laughs": laughs(30),
    "a billion merges": merges(10), "lists, 100,000 deep": f"a: {'[' * DEEP}{']' * DEEP}\n",
    "dicts, 100,000 deep": f"a: {'{a: ' * DEEP}1{'}' * DEEP}\n",
    "lists, 100,000 deep, never closed": f"a: {'[' * DEEP}\n", "lists of dashes, 3,000 deep": f"a:\n {'- ' * 3000}1\n",
    "5 MB of keys": "".join(f"key{index}: value\n" for index in range(300_000)),
    "5 MB of a list": f"a: [{'1, ' * 1_600_000}1]\n", "5 MB of text": f"a: {'x' * 5 * MANY}\n",
    "5 MB of digits": f"a: {'9' * 5 * MANY}\n", "5 MB of digits with colons": f"a: 1{':59' * 1_700_000}\n",
    "a hexadecimal number of 5 MB": f"a: 0x{'f' * 5 * MANY}\n", "5 MB of anchors": "".join(
        f"k{index}: &a{index} 1\n" for index in range(250_000)),
    "50 MB of blanks": f"a: 1\n{' ' * BIG}\n", "a key of 5 MB": f"? {'x' * 5 * MANY}\n: 1\n",
    "an alias of itself": "a: &a [*a]\n", "a tag that would call": "a: !!python/object/apply:os.system [sleep 30]\n",
    "a dict that holds itself": "a: &a {b: *a}\n", "50 MB of keys": "".join(
        f"key{index}: value\n" for index in range(3 * MANY)),
}


def hydra(content):
    def make(folder):
        (folder / ".hydra").mkdir()
        (folder / ".hydra" / "config.yaml").write_text(content)
        state = good_state()
        del state["xp.cfg"]
        checkpoint(folder / "checkpoint.th", state)
    return make


def codec(content):
    """Write a language model and the exported codec that it names."""
    def make(folder):
        torch.save({"best_state": model_state(6), "xp.cfg": f"compression_model: encodec\n{content}", "exported": True,
                    "version": "1"}, folder / "codec.bin")
        model_of(folder, compression_model_checkpoint=f"//pretrained/{folder / 'codec.bin'}")
    return make


def model_of(folder, **cfg):
    checkpoint(folder / "checkpoint.th", good_state(**{"xp.cfg": plain_cfg(**{"solver": "musicgen", **cfg})}))


def doubling(first, levels=40, times=2):
    others = {f"x{level}": f"${{x{level + 1}}}" * times for level in range(levels)}
    return {**first, **others, f"x{levels}": "y" * 100}


def chain(first, length):
    return {**first, **{f"x{index}": f"${{x{index + 1}}}" for index in range(length)}, f"x{length}": "musicgen"}


USES = {
    "solver": lambda text: {"solver": text}, "fsdp": lambda text: {"solver": "mine", "fsdp": text},
    "fsdp.use": lambda text: {"solver": "mine", "fsdp": {"use": text}},
    "compression_model_checkpoint": lambda text: {"compression_model_checkpoint": text},
}
INTERPOLATIONS = {
    "names with a slash, doubled": lambda use: {**use("${x/0}"), **{
        f"x/{index}": f"${{x/{index + 1}}}${{x/{index + 1}}}" for index in range(40)}},
    "a loop": lambda use: {**use("${a}"), "a": "${b}", "b": "${a}"}, "a loop of itself": lambda use: use("${solver}"),
    "doubling, 40 levels": lambda use: doubling(use("${x0}")), "doubling, 25 levels": lambda use: doubling(
        use("${x0}"), 25),
    "tenfold, 7 levels": lambda use: doubling(use("${x0}"), 7, 10), "a chain of 100,000": lambda use: chain(
        use("${x0}"), DEEP), "a chain of 900": lambda use: chain(use("${x0}"), 900),
    "nested 10,000 deep": lambda use: use("${" * 10_000 + "a" + "}" * 10_000),
    "nested 100,000 deep": lambda use: use("${" * DEEP + "a" + "}" * DEEP),
    "opened 100,000 times": lambda use: use("${" * DEEP), "100,000 in one text": lambda use: {
        **use("${a}" * DEEP), "a": "1"},
    "lists, 5,000 deep, in a resolver": lambda use: use(f"${{oc.decode:'{'[' * 5000}{']' * 5000}'}}"),
    "a resolver that doubles": lambda use: doubling(use("${oc.decode:${x0}}"), 30),
    "a way of 100,000 keys": lambda use: use("${" + ".".join(["a"] * DEEP) + "}"),
    "50 MB of text": lambda use: {**use("${a}${a}${a}${a}"), "a": "x" * BIG},
}


def all_bombs():
    """Return all bombs by kind."""
    return [
        list(bombs_of({**OPCODES, **GENERATED})),
        list(bombs_of({what: (make, (HISTORY, WEIGHTS)) for what, make in SEVERAL.items()})),
        [Bomb(what, make) for what, make in CONTAINERS.items()],
        [Bomb(f"YAML: {what}, {where}", make(content), True) for what, content in YAML.items()
         for where, make in (("in .hydra/config.yaml", hydra), ("in an exported codec", codec))],
        [Bomb(f"interpolation: {what} in {key}", lambda folder, make=make, use=use: model_of(folder, **make(use)), True)
         for what, make in INTERPOLATIONS.items() for key, use in USES.items()],
        [Bomb("100,000 views of one storage", views), Bomb("a metric of 5,000 digits", metric, True),
         Bomb("a million metrics", metrics, True), Bomb("10 million epochs", epochs, True)],
    ]


def some_bombs(share):
    """Return a share of the bombs of each kind, the most different ones first."""
    kinds = all_bombs()
    if share >= 1:
        return [bomb for kind in kinds for bomb in kind]
    return [bomb for kind in kinds for bomb in random.Random(0).sample(kind, max(1, round(len(kind) * share)))]


# Checks -----------------------------------------------------------------------------------------------------------

def measure(bomb, folder):
    """Return the exit code, CPU seconds, megabytes and output of an export of a bomb.

    CPU seconds do not depend on other load. A process that only waits is killed.
    """
    bomb.make(folder)
    said = folder / "said.txt"
    result = subprocess.run(
        [sys.executable, "-S", "-c", MEASURE, said, sys.executable, "-m", "audiocraft_export", "run",
         folder / "checkpoint.th", "--folder", folder / "out"], env=environment(), text=True, stdout=subprocess.PIPE,
        timeout=60, check=True)
    return {**json.loads(result.stdout), "said": said.read_bytes()[:100_000].decode(errors="replace")}


def right(folder):
    """Return whether a release is complete, loads, and has the weights of the good checkpoint."""
    if not release_checksums(folder):
        return False
    try:
        state = load(folder / "state_dict.bin")["best_state"]
    except Exception:  # cannot be loaded
        return False
    good = {name: tensor for name, tensor in model_state(3).items() if name != REPLACED or bomb_is_beside(state)}
    return all(name in state for name in good) and same({name: state[name] for name in good}, good)


def bomb_is_beside(state):
    """Return whether the bomb has replaced no weight."""
    return isinstance(state.get(REPLACED), torch.Tensor) and state[REPLACED].shape == (5, 4)


def problems(bomb, cost, folder):
    if cost["seconds"] > SECONDS:
        yield f"over {SECONDS} s"
    if cost["megabytes"] > MEGABYTES:
        yield f"over {MEGABYTES} MB"
    said = cost["said"]
    is_clean = said.strip().replace("\n", "").isprintable() and len(said) <= LONGEST
    refused = cost["code"] == 1 and one_sentence(said) and is_clean
    if not refused and not (cost["code"] == 0 and bomb.harmless and right(folder / "out")):
        yield "unclear"


def bombs(folder, share=1.0):
    row = Row.of("No denial of service: bombs", f"over {SECONDS} s", f"over {MEGABYTES} MB", "unclear")
    for number, bomb in enumerate(some_bombs(share)):
        home = folder / str(number)
        home.mkdir()
        cost = measure(bomb, home)
        row.attempts += 1
        wrong = list(problems(bomb, cost, home))
        for name in wrong:
            row.count(name, f"{bomb.what}: {cost['seconds']:.1f} s, {cost['megabytes']:.0f} MB, exit code "
                            f"{cost['code']}, {cost['said'][-300:]!r}")
        if not wrong:
            row.count("exported right" if cost["code"] == 0 else "refused in one sentence")
        shutil.rmtree(home)
    return row


TRIALS = (bombs,)
