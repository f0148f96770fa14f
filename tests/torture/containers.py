"""Zip archives and other containers that hide a pickle, or have inconsistent headers."""

import bz2
import gzip
import io
import lzma
import marshal
import struct
import tarfile
import warnings
import zipfile
import zlib

from .checkpoints import checkpoint, good_state
from .payloads import FUNCTION, NESTED, SHELL, Payload, alone, called

LOCAL, CENTRAL = ({"flags": (6, "H"), "method": (8, "H"), "crc": (14, "I"), "packed": (18, "I"), "size": (22, "I")},
                  {"flags": (8, "H"), "method": (10, "H"), "crc": (16, "I"), "packed": (20, "I"), "size": (24, "I"),
                   "disk": (34, "H"), "offset": (42, "I")})
END = struct.Struct("<4s4H2IH")
PKL = "archive/data.pkl"


def records_of(state):
    stream = io.BytesIO()
    checkpoint(stream, state)
    with zipfile.ZipFile(stream) as archive:
        return [(name, archive.read(name)) for name in archive.namelist()]


def zipped(records, method=zipfile.ZIP_STORED, only=None, comment=b""):
    """Build a zip archive of records; the compression method applies only to the record `only`."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # about a duplicate name, which is intended
        archive.comment = comment
        for name, data in records:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = method if only in (None, name) else zipfile.ZIP_STORED
            archive.writestr(info, data)
    return stream.getvalue()


def edited(data, where, record=PKL, **values):
    """Build a zip archive with changed fields in the `local` or `central` header of a record."""
    data = bytearray(data)
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        begin, fields = archive.getinfo(record).header_offset, LOCAL
        if where == "central":
            begin, fields = data.index(record.encode(), archive.start_dir) - 46, CENTRAL
    for field, value in values.items():
        offset, kind = fields[field]
        struct.pack_into(f"<{kind}", data, begin + offset, value)
    return bytes(data)


def both(data, record=PKL, **values):
    return edited(edited(data, "local", record, **values), "central", record, **values)


def ended(data, gap=b"", **values):
    """Build a zip archive with changed fields in its end record, and bytes before its central directory."""
    fields = dict(zip(("signature", "disk", "start_disk", "here", "entries", "size", "offset", "comment"),
                      END.unpack(data[-END.size:])))
    directory = data[fields["offset"]:-END.size]
    fields.update({"offset": fields["offset"] + len(gap), **values})
    return data[:-len(directory) - END.size] + gap + directory + END.pack(*fields.values())


def shifted(data, junk):
    """Build a zip archive after leading bytes, with correct offsets."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [(info.filename, info.header_offset) for info in archive.infolist()]
    for name, offset in names:
        data = edited(data, "central", name, offset=offset + len(junk))
    return junk + ended(data, offset=END.unpack(data[-END.size:])[6] + len(junk))


def renamed(data, old, new, where):
    """Rename a record in only one of its headers, to a name of the same length."""
    place = data.index(old) if where == "local" else data.rindex(old)
    return data[:place] + new + data[place + len(old):]


def with_extra(data, extra):
    """Add an extra field to the central header of the first record."""
    start, (size, offset) = END.unpack(data[-END.size:])[6], END.unpack(data[-END.size:])[5:7]
    name = struct.unpack_from("<H", data, start + 28)[0]
    head = bytearray(data[start:start + 46])
    struct.pack_into("<H", head, 30, len(extra))
    rest = data[start + 46 + name:-END.size]
    body = data[:start] + bytes(head) + data[start + 46:start + 46 + name] + extra + rest
    return body + END.pack(*END.unpack(data[-END.size:])[:5], size + len(extra), offset, 0)


def tarred(**files):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def legacy(state):
    stream = io.BytesIO()
    checkpoint(stream, state, _use_new_zipfile_serialization=False)
    return stream.getvalue()


def hidden(data):
    """Add a local record that the central directory does not list."""
    return data[:data.index(b"PK\1\2")]


def npy(data):
    return b"\x93NUMPY\1\0" + struct.pack("<H", 70) + b"{'descr': '|O', 'fortran_order': False, 'shape': ()}".ljust(
        69) + b"\n" + data


def containers():
    """Return the files by description: their bytes, and the names that a message must have."""
    good = records_of(good_state())
    evil = records_of(good_state(history=[Payload(called("os.system", SHELL))]))
    beside = zipped([*good, ("hidden1/data.pkl", NESTED)])
    others, bad = [pair for pair in good if pair[0] != PKL], zipped(evil)
    pkl, sound = [(PKL, NESTED)], zipped(good)
    root, second = dict(good)[PKL], zipped(pkl)
    methods = {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}
    yield from {f"raw pickle of protocol {protocol}": alone(called("os.system", SHELL), protocol)
                for protocol in range(6)}.items()
    yield from {
        "checkpoint with os.system in history": bad, "nothing but a pickle in the zip": zipped(pkl),
        "legacy file of torch": legacy(good_state(history=[Payload(called("os.system", SHELL))])),
        "legacy file of torch behind a pickle": NESTED + legacy(good_state()),
        "legacy tar of torch": tarred(sys_info=NESTED, pickle=NESTED, storages=NESTED, tensors=NESTED),
        "tar around a checkpoint": tarred(**{"checkpoint.th": bad}), "tar around a pickle": tarred(pickle=NESTED),
        "gzip": gzip.compress(bad), "bzip2": bz2.compress(bad), "xz": lzma.compress(bad), "zlib": zlib.compress(NESTED),
        "joblib": b"\x80\4\x95" + struct.pack("<Q", len(NESTED) - 2) + NESTED[2:],
        "joblib, compressed": zlib.compress(NESTED), "joblib of old": b"ZF" + b"0x13".ljust(19) + zlib.compress(NESTED),
        "7z": b"7z\xbc\xaf\x27\x1c\0\4" + struct.pack("<IQQI", 0, len(NESTED), 0, 0) + NESTED,
        "rar": b"Rar!\x1a\7\1\0" + NESTED, "HDF5": b"\x89HDF\r\n\x1a\n" + NESTED, "GGUF": b"GGUF\3\0\0\0" + NESTED,
        "safetensors": struct.pack("<Q", 2) + b"{}" + NESTED, "npy": npy(NESTED),
        "npz": zipped([("a.npy", npy(NESTED))]), "npz in the root": zipped([*good, ("archive/a.npy", npy(NESTED))]),
        "pyc": b"\xa7\r\r\n" + bytes(12) + marshal.dumps(FUNCTION), "empty": b"", "wrong magic": b"PK\3\5" + bad[4:],
        "empty magic": bytes(4) + bad[4:], "magic of an empty zip": b"PK\5\6" + bad[4:], "half a magic": b"PK",
        "magic of a spanned zip": b"PK\7\10" + bad[4:], "empty zip": zipped([]),
    }.items()
    yield from {
        **{f"password zip by flags in {where}": edited(bad, where, flags=1) for where in ("local", "central")},
        "password zip": both(bad, flags=1), "password zip, strong": both(bad, flags=0x41),
        **{f"flag bit {bit} in {where}": edited(bad, where, flags=1 << bit)
           for bit in range(16) for where in ("local", "central")},
        **{f"flag bit {bit} in both": both(bad, flags=1 << bit) for bit in range(16)},
        **{f"{field} differs in {where}": edited(bad, where, **{field: value}) for where in ("local", "central")
           for field, value in {"method": 8, "crc": 1, "packed": 7, "size": 7}.items()},
        "offset of another record": edited(bad, "central", offset=7), "another disk": edited(bad, "central", disk=1),
        "offset behind the file": edited(bad, "central", offset=0xFFFFFF00),
        "offset of a hidden record": edited(beside, "central", offset=beside.index(b"hidden1") - 30),
        "another name in the local header": renamed(bad, PKL.encode(), b"archive/evil.pkl", "local"),
        "another name in the central directory": renamed(zipped([*others, ("archive/evil.pkl", root), *pkl]),
                                                         b"archive/evil.pkl", PKL.encode(), "central"),
        "two names changed against each other": renamed(renamed(
            zipped([(PKL, root), ("archive/evil.pkl", NESTED), *others]), PKL.encode(), b"archive/xxxx.pkl", "local"),
            b"archive/evil.pkl", PKL.encode(), "local"),
        "all fields zero in the local header": edited(bad, "local", crc=0, packed=0, size=0),
    }.items()
    yield from {
        "duplicate data.pkl, the evil one first": zipped(pkl + good), "duplicate data.pkl, the evil one last": zipped(
            good + pkl),
        "duplicate storage": zipped([*good, ("archive/data/0", NESTED)]),
        "data.pkl beside another root, first": zipped([("other/data.pkl", NESTED), *good]),
        "data.pkl beside another root, last": zipped([*good, ("other/data.pkl", NESTED)]),
        "data.pkl without a root": zipped([("data.pkl", NESTED), *good]),
        "data.pkl without any root": zipped([(name[len("archive/"):], data) for name, data in evil]),
        "data.pkl above the root": zipped([*good, ("../data.pkl", NESTED)]),
        "data.pkl at the root of the disk": zipped([*good, ("/data.pkl", NESTED)]),
        "data.pkl with a zero byte": zipped([*good, ("archive/data.pkl\0x", NESTED)]),
        "data.pkl with a backslash": zipped([*good, ("archive\\data.pkl", NESTED)]),
        "DATA.PKL": zipped([*good, ("archive/DATA.PKL", NESTED)]),
        "data.pkl by way of the root": zipped([*good, ("archive/../archive/data.pkl", NESTED)]),
        "data.pkl with two slashes": zipped([*good, ("archive//data.pkl", NESTED)]),
        "data.pkl in a folder": zipped([*good, ("archive/more/data.pkl", NESTED)]),
        "a pickle that nobody asked for": zipped([*good, ("archive/evil.pkl", NESTED)]),
        "TorchScript": zipped([*good, ("archive/constants.pkl", NESTED)]),
        "code of TorchScript": zipped([*good, ("archive/code/__torch__.py", b"import os")]),
        "another byteorder": zipped([(name, NESTED if name.endswith("byteorder") else data) for name, data in good]),
        "another version": zipped([(name, NESTED if name.endswith("version") else data) for name, data in evil]),
        "storage that is a pickle": zipped([(name, NESTED if name.endswith("/0") else data) for name, data in good]),
        **{f"data.pkl {how}": zipped(evil, method, PKL) for how, method in methods.items()},
        **{f"storage {how}": zipped(evil, method, "archive/data/0") for how, method in methods.items()},
        "all deflated": zipped(evil, zipfile.ZIP_DEFLATED),
        "unicode path": with_extra(bad, struct.pack("<2HBI", 0x7075, 5 + len(PKL), 1, 0) + PKL.encode()),
        "sizes of 64 bits": with_extra(edited(bad, "central", evil[0][0], size=0xFFFFFFFF), struct.pack(
            "<2HQ", 1, 8, len(NESTED))),
        "a broken extra field": with_extra(bad, b"\1\0\xff\xff"),
    }.items()
    yield from {
        "leading junk": b"junk" + bad, "leading junk with right offsets": shifted(bad, b"junk"),
        "leading pickle": NESTED + bad, "leading pickle with right offsets": shifted(sound, NESTED),
        "leading zip": second + bad, "leading zip with right offsets": shifted(sound, second),
        "shell script": b"#!/bin/sh\ntouch marker\nexit\n" + bad, "ELF": b"\x7fELF" + bytes(60) + bad,
        "PDF": b"%PDF-1.4\n" + bad, "HTML": b"<script>0</script>" + bad, "Python zipapp": b"#!/usr/bin/python\n" + bad,
        "PNG": b"\x89PNG\r\n\x1a\n" + bad, "trailing junk": bad + b"junk", "trailing zeros": bad + bytes(1000),
        "trailing pickle": sound + NESTED, "trailing zip": sound + second,
        "trailing zip with right offsets": sound + shifted(second, sound)[len(sound):],
        "comment": zipped(evil, comment=b"touch marker"),
        "comment that is a pickle": zipped(good, comment=NESTED),
        "comment that is a zip": zipped(good, comment=second), "second end record": sound + sound[-END.size:],
        "second pickle after the first": zipped([(PKL, root + NESTED), *others]),
        "pickle before the first": zipped([(PKL, NESTED + root), *others]),
        "junk after the pickle": (zipped([(PKL, root + b"junk"), *others]), None),
        "hidden record before the directory": ended(sound, gap=hidden(second)),
        "pickle before the directory": ended(sound, gap=NESTED), "entries that lie": ended(bad, entries=1, here=1),
        "entries that differ": ended(bad, here=1), "another first disk": ended(bad, start_disk=1),
        "another disk of the end": ended(bad, disk=1), "size of the directory lies": ended(bad, size=46),
        "offset of the directory lies": ended(bad, offset=1), "offset behind the end": ended(bad, offset=1 << 31),
        "markers of 64 bits": ended(bad, offset=0xFFFFFFFF, size=0xFFFFFFFF, entries=0xFFFF),
        "a locator of 64 bits": bad[:-END.size] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + bad[-END.size:],
        "cut in the middle": bad[:len(bad) // 2], "cut at the end": bad[:-1], "cut before the end record":
            bad[:-END.size], "twice": bad + bad, "zip in a zip": zipped([(PKL, bad), *others]),
    }.items()
