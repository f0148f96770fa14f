"""Safetensors files: equal to those of the library; corrupted and forged files are rejected."""

import time

import pytest
import safetensors.torch
import torch
from helpers import SIG, command

from audiocraft_export import ExportError, export_xp
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.safetensors.file import read_safetensors
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.verification.release import verify

from .releases import exported, forged


def test_the_file_is_that_of_the_library_byte_for_byte(tmp_path):
    from audiocraft_export.checkpoint.torch_tensors import SolverState
    from audiocraft_export.formats.encoders import dump
    from audiocraft_export.release.content import Tensors
    dtypes = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.bfloat16, torch.int32,
              torch.float32, torch.complex64, torch.float64, torch.int64]
    state = {f"{index}é": torch.arange(3).to(dtype) for index, dtype in enumerate(dtypes)}
    state |= {"scalar": torch.tensor(0.5), "empty": torch.zeros(0, 4)}

    class Source:
        state_dict = staticmethod(lambda: state)
    tensors = SolverState({"model": Source})["model"]
    dump(tmp_path, {"ours": Tensors(tensors, {"format": "pt"})})
    assert (tmp_path / "ours").read_bytes() == safetensors.torch.save(state, {"format": "pt"})


def test_an_unsupported_dtype_is_refused_with_a_hint(make_xp, dora_dir):
    with pytest.raises(ExportError, match=r"dtype complex128 of 'w'\. Use format=audiocraft\.$"):
        exported(make_xp, dora_dir, best_state={"model": {"w": torch.ones(2, dtype=torch.complex128)}})
    assert not (dora_dir / "xps" / SIG / "export").exists()


@pytest.mark.parametrize("at", [3, 60, -1])
def test_a_flipped_bit_anywhere_is_found_and_not_converted(make_xp, dora_dir, at):
    folder = exported(make_xp, dora_dir)
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[at] ^= 16
    path.write_bytes(data)
    assert not verify(folder).ok
    with pytest.raises(ExportError, match=r"model\.safetensors"):
        convert(folder, "audiocraft")
    assert path.read_bytes() == bytes(data) and not (folder / "state_dict.bin").exists()


@pytest.mark.parametrize(("change", "says"), [
    ("cut", "is truncated"), ("more", "is corrupted: unexpected bytes at its end"),
    ("gap", "is corrupted: invalid header ('steps' has 0 bytes, expected 8 for I64 [])"),
    ("twice", "is corrupted: invalid header (duplicate name)"), ("no-json", "is corrupted: invalid header ("),
    ("huge", "is truncated, or not a safetensors file")])
def test_an_invalid_safetensors_file_is_reported_with_its_problem(make_xp, dora_dir, change, says):
    folder = exported(make_xp, dora_dir)
    path = folder / "model.safetensors"
    data = path.read_bytes()
    changed = {
        "cut": data[:-1], "more": data + b"\0", "gap": data.replace(b'"data_offsets":[0,8]', b'"data_offsets":[8,8]'),
        "twice": data.replace(b'"linears.0.weight"', b'"emb.0.weight"    '), "no-json": data.replace(b"{", b"(", 1),
        "huge": b"\xff" * 8 + data[8:]}[change]
    assert changed != data
    path.write_bytes(changed)
    problem, = [problem for problem in verify(folder).problems if problem.file == path.name]
    assert says in problem.what
    with pytest.raises(CheckpointError) as caught:
        read_safetensors(path)
    assert (caught.value.code, caught.value.hint) == ("corrupted-file", "restore it from a backup")
    assert says in caught.value.message
    assert command("verify", path, cwd=folder).returncode == 1


def test_data_bytes_without_a_tensor_are_reported(make_xp, dora_dir):
    def shift(header):
        for name in header.keys() - {"__metadata__"}:
            header[name]["data_offsets"] = [8 + offset for offset in header[name]["data_offsets"]]
    folder = exported(make_xp, dora_dir)
    forged(folder, "model.safetensors", shift)
    with pytest.raises(CheckpointError, match="is corrupted: data bytes 0 to 8 belong to no tensor"):
        read_safetensors(folder / "model.safetensors")


def in_tree(old, new):
    def change(header):
        assert old in header["__metadata__"]["content"]
        header["__metadata__"]["content"] = header["__metadata__"]["content"].replace(old, new)
    return change


MANY = ",".join(["4611686018427387904"] * 300_000)


FORGERIES = {
    "negative sizes": in_tree('["a",[2,8]]', '["a",[-2,-8]]'),
    "broken sizes": in_tree('["a",[2,8]]', '["a",[2.0,8]]'),
    "truth as a size": in_tree('["a",[2,8]]', '["a",[true,16]]'),
    "sizes that take an hour to multiply": in_tree('["a",[2,8]]', f'["a",[{MANY}]]'),
    "a tensor of such sizes": lambda header: header["d"].update(shape=[1 << 62] * 300_000),
    "a tensor of too many dimensions": lambda header: header["d"].update(shape=[1] * 65 + [3]),
    "a mark beside a name": in_tree('{"$tensor":"d"}', '{"$tensor":"d","e":1}'),
    "a path": lambda header: header["__metadata__"].update(file="/tmp/state_dict.bin"),
    "a way out": lambda header: header["__metadata__"].update(file="../state_dict.bin"),
    "no archive": lambda header: header["__metadata__"].update(file="model.safetensors"),
    "a tree of 300 floors": in_tree('{"$tensor":"d"}', '{"k":[' * 150 + '{"$tensor":"d"}' + "]}" * 150),
    "a configuration of its own": in_tree('{"$file":"config.yaml"}', '"solver: mine\\n"'),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_header_is_refused_at_once_and_nothing_is_written(make_xp, dora_dir, tmp_path, kind):
    weight = torch.randn(4, 4)
    folder = exported(make_xp, dora_dir, best_state={"model": {"a": weight, "b": weight.view(2, 8),
                                                               "d": torch.ones(3)}})
    forged(folder, "model.safetensors", FORGERIES[kind])
    began = time.process_time()
    assert not verify(folder).ok
    with pytest.raises(ExportError):
        convert(folder, "audiocraft", tmp_path / "out")
    assert time.process_time() - began < 5 and not (tmp_path / "out").exists()


def test_a_header_that_could_not_be_read_again_is_refused_before_anything_is_written(make_xp, dora_dir, monkeypatch):
    make_xp(best_state={"model": {"w": torch.ones(2), "state": b"x" * 2000}})
    monkeypatch.setattr("audiocraft_export.formats.safetensors.file.MAX_HEADER", 2000)
    with pytest.raises(ExportError, match="safetensors supports 2 kB of names and plain values") as error:
        export_xp(SIG, dora_dir, format="safetensors")
    assert error.value.code == "unsupported-by-safetensors" and not (dora_dir / "xps" / SIG / "export").exists()
