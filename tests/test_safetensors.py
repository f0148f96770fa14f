"""The format safetensors: what is in a release, and that it is lossless both ways."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256

import pytest
import safetensors.torch
import torch
from helpers import SIG, command, load, model_state, same, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_xp
from audiocraft_export.errors import ReleaseError
from audiocraft_export.formats.requirements import require_packages
from audiocraft_export.pipeline.convert import convert
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.storage.durable_file import WrittenFile
from audiocraft_export.verification.release import verify

OPTIONS = ExportOptions(format="safetensors", card=False)
STRANGE = {
    "float": [1.5, float("nan"), float("-inf"), -0.0], "bytes": b"\0\xff", "big": 1 << 200, "tuple": (1, ("a",)),
    "none": None, "yes": True, "text": "\ud800 ${oc.env:USER} \n", "$tensor": {"$x": 1}, 7: {True: 2, -1: 3},
}


def exported(make_xp, dora_dir, options=OPTIONS, **sections):
    make_xp(**sections)
    return export_xp(SIG, dora_dir, options).folder


def opened(path):
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def digests(folder):
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_a_release_is_the_tensors_the_configuration_and_the_manifest(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir, ExportOptions(format="safetensors", card=False, version="1.3.0"))
    assert {*digests(folder)} == {"model.safetensors", "config.yaml", "export.json"}
    tensors, about = opened(folder / "model.safetensors")
    assert same(dict(sorted(tensors.items())), dict(sorted(model_state(3).items())))
    assert {key: about[key] for key in ("format", "sig", "version", "weights")} == {
        "format": "pt", "sig": SIG, "version": "1.3.0", "weights": "best_state"}
    assert (folder / "config.yaml").read_text() == OmegaConf.to_yaml(with_cfg())
    assert json.loads((folder / "export.json").read_text())["options"]["format"] == "safetensors"


def test_the_file_is_that_of_the_library_byte_for_byte(tmp_path):
    from audiocraft_export.checkpoint.solver_state import SolverState
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


def test_the_same_checkpoint_gives_the_same_bytes(make_xp, dora_dir, tmp_path):
    first = digests(exported(make_xp, dora_dir, ExportOptions(format="safetensors", folder=tmp_path / "a")))
    script = ("import sys; from audiocraft_export import *; export_xp(sys.argv[1], sys.argv[2], "
              "ExportOptions(format='safetensors', folder=sys.argv[3]))")
    subprocess.run([sys.executable, "-c", script, SIG, dora_dir, tmp_path / "b"], check=True)
    second = digests(tmp_path / "b")
    assert all(first[name] == second[name] for name in ("model.safetensors", "config.yaml"))


def test_tied_weights_are_stored_once_and_come_back_tied(make_xp, dora_dir):
    weight = torch.randn(4, 4)
    state = {"a": weight, "b": weight, "c": weight.view(2, 8), "d": weight.clone()}
    folder = exported(make_xp, dora_dir, best_state={"model": state})
    assert {*opened(folder / "model.safetensors")[0]} == {"a", "d"} and verify(folder).ok
    convert(folder, "audiocraft")
    back = load(folder / "state_dict.bin")["best_state"]
    assert same(back, state) and len({back[name].data_ptr() for name in "abc"}) == 1


@pytest.mark.parametrize("most, files", [("20KB", 3), ("20000", 3), (1 << 13, 5), ("1GB", 1)])
def test_a_model_that_is_too_large_for_one_file_has_several_and_an_index(make_xp, dora_dir, most, files):
    state = {f"{index}.weight": torch.randn(64, 32) for index in range(5)}
    folder = exported(make_xp, dora_dir, ExportOptions(format="safetensors", max_shard_size=most),
                      best_state={"model": state})
    shards = sorted(folder.glob("*.safetensors"))
    assert len(shards) == files and verify(folder).ok
    found = {name: tensor for shard in shards for name, tensor in opened(shard)[0].items()}
    assert same(dict(sorted(found.items())), state)
    if files > 1:
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert {*index["weight_map"]} == {*state} and index["metadata"]["total_size"] == 5 * 64 * 32 * 4
        assert all((folder / name).is_file() for name in index["weight_map"].values())


@pytest.mark.parametrize("size", [1, "2KB", "5GB"])
@pytest.mark.parametrize("state", [
    {"b.weight": torch.ones(3), "a.weight": torch.zeros(600), "n": torch.tensor(3), "flag": torch.tensor([True])},
    {"model": {"x": torch.ones(2)}, "layers": [{"y": torch.ones(3)}, (torch.zeros(0, 3), 5)]},
    {"weights": torch.ones(2), "extra_state": STRANGE},
], ids=["flat", "nested", "strange"])
def test_the_file_for_audiocraft_comes_back_byte_for_byte(make_xp, dora_dir, tmp_path, state, size):
    folder = exported(make_xp, dora_dir, ExportOptions(), best_state={"model": {"only": state}})
    before = digests(folder)
    convert(folder, "safetensors", max_shard_size=size)
    assert not (folder / "state_dict.bin").exists() and verify(folder).ok
    direct = exported(make_xp, dora_dir, OPTIONS.replace(folder=tmp_path / "direct", max_shard_size=size),
                      best_state={"model": {"only": state}})
    assert digests(direct).items() - digests(folder).items() <= {("export.json", digests(direct)["export.json"])}
    convert(folder, "audiocraft")
    assert digests(folder) == before


def test_a_dtype_that_safetensors_does_not_have_is_refused_with_what_works(make_xp, dora_dir):
    with pytest.raises(ExportError, match=r"'w' is complex128.*format=audiocraft"):
        exported(make_xp, dora_dir, best_state={"model": {"w": torch.ones(2, dtype=torch.complex128)}})
    assert not (dora_dir / "xps" / SIG / "export").exists()


def test_two_tensors_of_one_name_are_refused_and_none_is_dropped(make_xp, dora_dir):
    with pytest.raises(ExportError, match=r"would be called 'a.b'"):
        exported(make_xp, dora_dir, best_state={"model": {"a": {"b": torch.ones(2)}, "a.b": torch.zeros(2)}})


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


@pytest.mark.parametrize("change", ["cut", "more", "gap", "twice", "no-json", "huge"])
def test_a_file_that_is_none_of_safetensors_is_said_to_be_none(make_xp, dora_dir, change):
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
    assert "restore it from a copy" in problem.what
    assert command("verify", path, cwd=folder).returncode == 1


def test_exporting_again_writes_nothing_and_another_format_takes_its_place(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    (folder / "notes.txt").write_text("mine")
    assert not export_xp(SIG, dora_dir, OPTIONS).written
    assert export_xp(SIG, dora_dir).written
    assert {*digests(folder)} == {"state_dict.bin", "export.json", "notes.txt"}


def test_a_release_is_compared_with_its_checkpoint(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    compared = ["verify", folder, "--against", SIG, "--dora-dir", dora_dir]
    assert command(*compared, cwd=folder).returncode == 0
    make_xp(best_state={"model": model_state(9)})
    assert "has other numbers than the checkpoint" in command(*compared, cwd=folder).stdout


def test_a_release_with_its_codec_is_compared_with_its_checkpoint(make_xp, dora_dir, tmp_path):
    make_xp("aaaaaaaa", **{"xp.cfg": OmegaConf.create({"solver": "compression", "compression_model": "encodec"})})
    cfg = {"solver": "musicgen", "compression_model_checkpoint": "//sig/aaaaaaaa"}
    folder = exported(make_xp, dora_dir, **{"xp.cfg": OmegaConf.create(cfg)})
    assert (folder / "compression_model.safetensors").exists()
    result = command("verify", folder, "--against", SIG, "--dora-dir", dora_dir, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_command_converts_and_says_what_cannot_be(make_xp, dora_dir, tmp_path):
    folder = exported(make_xp, dora_dir, ExportOptions())
    before = digests(folder)
    result = command("convert", folder, "--to", "safetensors", "--folder", "shared", "--json", cwd=tmp_path)
    assert result.returncode == 0 and json.loads(result.stdout)["written"], result.stderr
    assert digests(folder) == before
    assert command("convert", tmp_path / "shared", "--to", "audiocraft", cwd=tmp_path).returncode == 0
    assert digests(tmp_path / "shared") == before
    assert "already" in command("convert", folder, "--to", "audiocraft", cwd=tmp_path).stdout
    assert command("convert", folder, "--to", "safetensors", "--max-shard-size", "40", "--folder", "small",
                   cwd=tmp_path).returncode == 0 and (tmp_path / "small" / "model.safetensors.index.json").exists()
    for wrong, says in ((["nowhere", "--to", "safetensors"], "nowhere"), ([folder, "--to", "gguf"], "invalid choice"),
                        ([folder, folder, "--to", "safetensors", "--folder", "x"], "--folder")):
        result = command("convert", *wrong, cwd=tmp_path)
        assert result.returncode in (1, 2) and says in result.stderr and "Traceback" not in result.stderr


def test_inspect_shows_what_is_in_it(make_xp, dora_dir, tmp_path):
    folder = exported(make_xp, dora_dir)
    for target in (folder, folder / "model.safetensors"):
        shown = command("inspect", target, "--json", cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr
        found = json.loads(shown.stdout)
        assert found["sig"] == SIG and len(found["tensors"]) == 3 and found["solver"] == "mine"
        assert sum(found["sections"].values()) == (folder / "model.safetensors").stat().st_size


@pytest.mark.parametrize("format", ["safetensors", "transformers"])
def test_without_the_extra_one_sentence_says_how_to_install_it(make_xp, dora_dir, monkeypatch, format):
    monkeypatch.setattr("audiocraft_export.formats.requirements.find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"safetensors and .*pip install 'audiocraft-export\[hf\]'"):
        exported(make_xp, dora_dir, ExportOptions(format=format))
    assert not (dora_dir / "xps" / SIG / "export").exists()


def test_a_transformers_that_is_too_old_is_said_before_it_is_imported(make_xp, dora_dir, monkeypatch):
    monkeypatch.setattr("audiocraft_export.formats.requirements.version", {"transformers": "4.39.3", "torch": "2.13.0+cpu"}.get)
    with pytest.raises(ExportError, match=r"needs transformers 4.57, and 4.39.3 is installed here: export in an env"):
        exported(make_xp, dora_dir, ExportOptions(format="transformers"))


def test_a_folder_with_the_name_of_a_package_is_none(tmp_path, monkeypatch):
    (tmp_path / "transformers_of_mine").mkdir()  # as a clone of it has, without __init__.py
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ReleaseError, match="format=x needs transformers_of_mine, not installed"):
        require_packages("format=x", "torch", "transformers_of_mine")


def test_the_default_format_imports_nothing_of_the_extra(make_xp, dora_dir):
    make_xp()
    code = (f"import sys; import audiocraft_export as a; a.export_xp({SIG!r}, {str(dora_dir)!r}); "
            "print([name for name in ('safetensors', 'transformers', 'huggingface_hub', 'matplotlib', "
            "'audiocraft_export.formats.transformers') if name in sys.modules])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_persons_file_of_the_same_name_is_never_replaced(make_xp, dora_dir, tmp_path, name, nested):
    folder = exported(make_xp, dora_dir, ExportOptions())
    (folder / name).write_text("mine")
    if nested:  # files then take their places one by one
        (folder / "notes").mkdir()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    for make in (lambda: export_xp(SIG, dora_dir, OPTIONS), lambda: convert(folder, "safetensors")):
        with pytest.raises(ReleaseError, match=f"{name} is there already, and no file of a release by its manifest"):
            make()
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "nowhere")
    with pytest.raises(ReleaseError, match="is there already"):
        export_xp(SIG, dora_dir, OPTIONS)


def test_what_a_killed_export_has_put_there_without_a_manifest_is_no_persons(make_xp, dora_dir):
    folder = exported(make_xp, dora_dir)
    (folder / "export.json").unlink()
    assert export_xp(SIG, dora_dir, OPTIONS).written and verify(folder).ok


def header_of(path):
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def forged(folder, name, change):
    """A release whose file has another header, and whose manifest fits: whoever makes one can make both."""
    path = folder / name
    header, data = header_of(path)
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    fitting(folder)


def fitting(folder):
    manifest = Manifest.load(folder)
    files = [WrittenFile(file.name, (folder / file.name).stat().st_size, digests(folder)[file.name])
             for file in manifest.files]
    (folder / "export.json").write_text(replace(manifest, files=files).text)


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
    began = time.monotonic()
    assert not verify(folder).ok
    with pytest.raises(ExportError):
        convert(folder, "audiocraft", tmp_path / "out")
    assert time.monotonic() - began < 5 and not (tmp_path / "out").exists()


def test_a_forged_name_of_a_file_leads_nowhere_when_it_is_put_together(make_xp, dora_dir, tmp_path):
    from audiocraft_export.formats.safetensors.layout import from_safetensors
    folder = exported(make_xp, dora_dir)
    forged(folder, "model.safetensors",
           lambda header: header["__metadata__"].update(file=str(tmp_path / "evil.bin")))
    with pytest.raises(ExportError, match="evil.bin"):
        from_safetensors(folder, ["model.safetensors", "config.yaml"])


@pytest.mark.parametrize("change", [
    lambda places: places.update(dict.fromkeys(places, min(places.values()))),
    lambda places: places.pop(min(places)), lambda places: places.update(more=min(places.values()))],
    ids=["elsewhere", "left out", "more"])
def test_an_index_that_does_not_say_where_the_tensors_are_is_refused(make_xp, dora_dir, change):
    state = {f"{index}.weight": torch.randn(64, 32) for index in range(5)}
    folder = exported(make_xp, dora_dir, OPTIONS.replace(max_shard_size="20KB"), best_state={"model": state})
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    change(index["weight_map"])
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    fitting(folder)
    assert not verify(folder).ok


@pytest.mark.parametrize("text", ["3", "2026-01-01", "- a", ""])
def test_a_configuration_that_is_no_mapping_is_said_to_be_none(make_xp, dora_dir, tmp_path, text):
    folder = exported(make_xp, dora_dir)
    (folder / "config.yaml").write_text(text)
    fitting(folder)
    assert not verify(folder).ok and command("verify", folder, cwd=tmp_path).stderr == ""


@pytest.mark.parametrize("counts", [[1], {"w": "many"}, 3])
def test_a_manifest_that_counts_something_else_is_refused(make_xp, dora_dir, tmp_path, counts):
    folder = exported(make_xp, dora_dir)
    manifest = replace(Manifest.load(folder), nonfinite={"model.safetensors": counts})
    (folder / "export.json").write_text(manifest.text)
    with pytest.raises(ExportError, match="no manifest of this tool"):
        convert(folder, "audiocraft", tmp_path / "out")


def test_what_is_nested_comes_back_and_what_is_nested_too_deeply_is_refused(make_xp, dora_dir, tmp_path):
    def nested(floors):
        value = torch.ones(2)
        for floor in range(floors):
            value = (value,) if floor % 2 else {"k": value}
        return {"model": {"w": torch.zeros(3), "x": value}}
    folder = exported(make_xp, dora_dir, ExportOptions(), best_state=nested(60))
    before = digests(folder)
    convert(folder, "safetensors", tmp_path / "there")
    convert(tmp_path / "there", "audiocraft")
    assert digests(tmp_path / "there") == before
    with pytest.raises(ExportError, match="nested more than 64 deep"):
        exported(make_xp, dora_dir, best_state=nested(70))


@pytest.mark.parametrize("more", [{"version": "\ud800"}, {"xp.cfg": "a: '\ud800'\n"}, {"big": 1 << 20_000}],
                         ids=["version", "configuration", "number"])
def test_texts_and_numbers_that_safetensors_cannot_hold_are_refused_in_a_sentence(make_xp, dora_dir, tmp_path, more):
    folder = exported(make_xp, dora_dir, ExportOptions())
    torch.save({**load(folder / "state_dict.bin"), **more}, folder / "state_dict.bin")
    fitting(folder)
    with pytest.raises(ExportError, match="UTF-8|written as JSON"):
        convert(folder, "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()
