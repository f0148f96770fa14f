"""Checkpoints that are odd or hostile: what is not needed does not matter, what is released is right or refused."""

import enum
import io
import os
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from helpers import NEW_DTYPES, SIG, load, model_state, same, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportError, ExportOptions, export_checkpoint, export_xp
from audiocraft_export.checkpoint.zip_reader import TorchZipReader
from audiocraft_export.cli import main as cli
from audiocraft_export.formats.audiocraft import zip_writer
from audiocraft_export.formats.audiocraft.zip_writer import write_torch_zip
from audiocraft_export.storage.lazy_bytes import LazyBytes


class Kind(enum.Enum):
    A = 1


def rewritten(source, target, change):
    """The checkpoint with other bytes as its pickle, and everything else right."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            new.writestr(zipfile.ZipInfo(info.filename), change(data) if info.filename.endswith("data.pkl") else data)


STATE = b"(N}(X\x0c\x00\x00\x00__defaults__(NN}(X\x03\x00\x00\x00neg\x88utX\x05\x00\x00\x00dtypeX\x04\x00\x00\x00boolut"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" \
         b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x14tQK\x00K\x01\x85K\x01\x85\x89}tR"


@pytest.mark.parametrize("victim", [
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n", b"ctorch\nFloatStorage\n",
    b"ctyping\nAny\n", b"ctorch\nTensor\n", b"ccollections\nOrderedDict\n", b"comegaconf.nodes\nAnyNode\n",
    b"cargparse\nNamespace\n", b"cbuiltins\ndict\n", b"ctorch\nSize\n", b"c_codecs\nencode\n", TENSOR, b"cx\ny\n"])
def test_a_checkpoint_cannot_change_how_others_are_read(make_xp, dora_dir, tmp_path, victim):
    folder = make_xp()
    begin = b"\x80\x02" + victim + STATE + b"b0"
    rewritten(folder / "checkpoint.th", tmp_path / "bad.th", lambda data: begin + data[2:])
    try:
        export_checkpoint(tmp_path / "bad.th", tmp_path / "bad")
    except ExportError as exc:
        assert "\n" not in str(exc)
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


@pytest.mark.parametrize("attribute", ["shape", "offset", "dtype", "blob"])
def test_a_pickle_cannot_change_a_tensor_after_it_was_checked(make_xp, tmp_path, attribute):
    name = attribute.encode()
    state = b"}(X" + len(name).to_bytes(4, "little") + name + b"K\x7fub0"
    rewritten(make_xp() / "checkpoint.th", tmp_path / "bad.th", lambda data: b"\x80\x02" + TENSOR + state + data[2:])
    with pytest.raises(ExportError, match="changes a tensor"):
        export_checkpoint(tmp_path / "bad.th", tmp_path / "bad")


@pytest.mark.parametrize("use", [1, "true", "yes", "${oc.env:NOT_SET,true}"])
@pytest.mark.parametrize("weights", ["best", "last", "ema"])
def test_whatever_switches_fsdp_on_is_seen(make_xp, dora_dir, use, weights):
    make_xp(**{"xp.cfg": with_cfg(fsdp={"use": use})})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir, ExportOptions(weights=weights))


@pytest.mark.parametrize("cfg", [{"fsdp": {}}, {"fsdp": None}, {"fsdp": {"use": None}}, {"fsdp": {"use": 0}}])
def test_whatever_leaves_fsdp_off_is_seen(make_xp, dora_dir, cfg):
    make_xp(**{"xp.cfg": OmegaConf.create(cfg)})
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


LONG = "x" * 300


@pytest.mark.parametrize("args", [[LONG], [SIG, "--checkpoint", LONG], [SIG, "--folder", LONG], [f"a/{LONG}"],
                                  [SIG, "--dora-dir", LONG], [""]])
def test_a_path_that_cannot_exist_is_one_sentence_and_the_others_are_exported(make_xp, dora_dir, capsys, args):
    folder = make_xp()
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", *args, *([] if "--dora-dir" in args else ["--dora-dir", str(dora_dir)])])
    assert stop.value.code == 1 and capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit):
        cli.main(["run", args[0], SIG, "--dora-dir", str(dora_dir)])
    assert (folder / "export" / "export.json").exists()


def test_a_file_in_another_xp_s_folder_needs_a_folder_of_its_own(make_xp, dora_dir, tmp_path, capsys):
    path = make_xp("9357e12e", **{"xp.sig": SIG}) / "checkpoint.th"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path)])
    assert stop.value.code == 1 and f"written by the experiment {SIG}" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(path), "--folder", str(tmp_path / "out")])
    assert stop.value.code == 0 and (tmp_path / "out" / "state_dict.bin").exists()


def test_names_of_files_may_hold_any_byte(make_xp, dora_dir, tmp_path, capsys):
    folder = tmp_path / os.fsdecode(b"\xff line\nbreak ' \"quoted\" -- \xc3\xa9")
    folder.mkdir()
    (folder / "checkpoint.th").write_bytes((make_xp() / "checkpoint.th").read_bytes())
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(folder)])
    assert stop.value.code == 0
    assert (folder / "export" / "export.json").exists()


@pytest.mark.parametrize("make", [
    lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), lambda: torch.ones(3).to_sparse(),
    lambda: torch.device("cpu"), lambda: torch.float32, lambda: torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 1),
    lambda: [torch.zeros(2).view(getattr(torch, name)) for name in NEW_DTYPES], lambda: {1, 2}, lambda: Kind.A,
    lambda: Path("/a"), lambda: b"bytes", lambda: torch.Size([2])])
def test_nothing_beside_the_weights_stands_in_the_way(make_xp, dora_dir, make):
    make_xp(optimizer={"state": make()}, unknown=[make()])
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], model_state(3))


def test_a_quantized_weight_is_refused_by_name(make_xp, dora_dir):
    make_xp(best_state={"model": {"q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}})
    with pytest.raises(ExportError, match="'q'"):
        export_xp(SIG, dora_dir)


def test_small_dtypes_are_released_when_they_are_not_contiguous(make_xp, dora_dir):
    dtype = torch.float8_e4m3fn if "float8_e4m3fn" in NEW_DTYPES else torch.bfloat16
    best = {"t": torch.arange(6.0).view(2, 3).to(dtype).t()}
    make_xp(best_state={"model": best})
    assert same(load(export_xp(SIG, dora_dir).files[0])["best_state"], best)


@dataclass
class Sub:
    path: Path = Path("/data/x")
    here: Path = Path(".")
    raw: bytes = b"\0\xff"
    numbers: list = field(default_factory=lambda: [1, [2.5, None], {"a": "???"}])


@dataclass
class Structured:
    sub: Sub = field(default_factory=Sub)
    lr: float = 1e-4
    name: str = "é\nü: 'x'"
    other: str = "${lr}"
    missing: int = "???"  # type: ignore[assignment]


def test_a_structured_configuration_is_released_as_omegaconf_writes_it(make_xp, dora_dir):
    cfg = OmegaConf.structured(Structured())
    make_xp(**{"xp.cfg": cfg})
    plain = OmegaConf.to_container(cfg, resolve=False)
    plain["sub"].update(path="/data/x", here=".")  # as text: YAML of paths differs with every Python
    assert load(export_xp(SIG, dora_dir).files[0])["xp.cfg"] == OmegaConf.to_yaml(OmegaConf.create(plain))


def test_a_configuration_with_keys_that_yaml_does_not_have_is_refused(make_xp, dora_dir):
    make_xp(**{"xp.cfg": {("a", "b"): 1}})
    with pytest.raises(ExportError, match="a key that is a tuple"):
        export_xp(SIG, dora_dir)


def test_a_moving_average_that_lacks_a_weight_is_refused(make_xp, dora_dir):
    make_xp(ema={"state": {"model": {"module.emb.0.weight": torch.ones(5, 4)}}, "count": 1})
    with pytest.raises(ExportError, match="lacks 'emb.0.weight'"):
        export_xp(SIG, dora_dir, ExportOptions(weights="ema"))


def test_plain_data_among_the_weights_comes_back_as_it_was(make_xp, dora_dir):
    data = {"int": 1 << 2000, "neg": -5, "float": 0.1, "none": None, "tuple": (1, (2,)),
            "list": [True, "é"], "bytes": b"\0\xff", 3: "three", "w": torch.ones(2)}
    make_xp(best_state={"model": data})
    state = torch.load(export_xp(SIG, dora_dir).files[0])["best_state"]  # with what this torch allows by default
    assert state.pop("w").equal(data.pop("w")) and state == data


def test_a_best_state_that_contains_itself_is_refused(make_xp, dora_dir):
    loop = {}
    loop["again"] = loop
    make_xp(best_state={"model": loop})
    with pytest.raises(ExportError, match="contains itself"):
        export_xp(SIG, dora_dir)


def test_the_codec_of_an_earlier_release_does_not_stay_behind(make_xp, dora_dir):
    cfg = with_cfg(solver="musicgen", compression_model_checkpoint="//pretrained/x")
    folder = make_xp(**{"xp.cfg": cfg}) / "export"
    export_xp(SIG, dora_dir)
    (folder / "mine.txt").touch()
    export_xp(SIG, dora_dir, ExportOptions(codec="none"))
    assert sorted(path.name for path in folder.iterdir()) == ["export.json", "mine.txt", "state_dict.bin"]


def test_a_codec_of_another_experiment_is_refused_and_odd_names_in_one_are_said(make_xp, dora_dir):
    codec = {"xp.cfg": with_cfg(solver="compression"), "scheduler": torch.float32}
    make_xp("c0dec000", **codec, **{"xp.sig": "11111111"})
    make_xp(**{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    with pytest.raises(ExportError, match="written by the experiment 11111111"):
        export_xp(SIG, dora_dir)
    make_xp("c0dec000", **codec)
    assert "torch.float32" in str(export_xp(SIG, dora_dir).manifest.warnings)


def test_another_text_of_the_configuration_makes_another_release(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": ...})
    (folder / ".hydra").mkdir()
    for text in ("a: 1\n", "a: 2\n"):
        (folder / ".hydra" / "config.yaml").write_text(text)
        report = export_xp(SIG, dora_dir)
        assert report.written and load(report.files[0])["xp.cfg"] == text


def test_null_is_a_value_on_the_command_line(make_xp, dora_dir):
    make_xp()
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", SIG, "--dora-dir", str(dora_dir), "--dtype", "null", "--folder", "null"])
    assert stop.value.code == 0


def test_an_export_reads_back_what_it_wrote(make_xp, dora_dir, monkeypatch):
    make_xp()
    good = export_xp(SIG, dora_dir).files[0].read_bytes()
    fsync = os.fsync

    def flip(descriptor):
        fsync(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == "state_dict.bin":
            data = path.read_bytes()
            path.write_bytes(data[:300] + bytes([data[300] ^ 1]) + data[301:])
    monkeypatch.setattr(os, "fsync", flip)
    with pytest.raises(ExportError, match="does not read back"):
        export_xp(SIG, dora_dir, ExportOptions(weights="last"))
    assert (dora_dir / "xps" / SIG / "export" / "state_dict.bin").read_bytes() == good


@pytest.mark.parametrize("most", [zip_writer._MAX_UINT32, 100, 0])
def test_archives_of_any_size_are_zip_files_that_torch_and_zipfile_read(most, monkeypatch):
    monkeypatch.setattr(zip_writer, "_MAX_UINT32", most)  # from here on numbers take 64 bits
    blobs = {"data.pkl": pickle.dumps({"a": 1}, 2), "byteorder": b"little", "data/0": bytes(300), "version": b"3\n"}
    stream = io.BytesIO()
    write_torch_zip(stream, [(name, LazyBytes.from_data(data)) for name, data in blobs.items()])
    with zipfile.ZipFile(stream) as archived:
        assert archived.testzip() is None
        assert {info.filename[len("archive/"):]: archived.read(info) for info in archived.infolist()} == blobs
    if most > 100:  # the markers of 64 bits are only valid in files of more than 4 GiB
        assert torch.load(io.BytesIO(stream.getvalue()), weights_only=True) == {"a": 1}


def test_records_are_aligned_as_torch_aligns_them(make_xp, dora_dir):
    make_xp()
    released = TorchZipReader(export_xp(SIG, dora_dir).files[0])
    assert all(released._begin(info) % 64 == 0 for info in released._infos.values())


def test_a_state_that_no_solver_of_audiocraft_stores_is_still_a_training_checkpoint(tmp_path):
    torch.save({name: value for name, value in solver_state().items() if name in ("model", "xp.cfg", "xp.sig")},
               tmp_path / "checkpoint.th")
    report = export_checkpoint(tmp_path / "checkpoint.th", tmp_path / "out", ExportOptions(weights="last"))
    assert report.manifest.epoch == 0 and "no epoch" in report.manifest.warnings[0]


class Frozen(dict):
    """A dict that is pickled as one made of another."""

    def __reduce__(self):
        return dict, (dict(self),)


def test_a_dict_made_of_another_keeps_its_items(make_xp, dora_dir):
    make_xp(best_state={"model": {"enc": Frozen(w=torch.ones(2)), "dec": {"w": torch.zeros(1)}}})
    state = load(export_xp(SIG, dora_dir).files[0])["best_state"]
    assert same(state["enc"], {"w": torch.ones(2)}) and same(state["dec"], {"w": torch.zeros(1)})
    make_xp(**{"xp.cfg": {"solver": "mine", "fsdp": Frozen(use=True)}})
    with pytest.raises(ExportError, match="FSDP"):
        export_xp(SIG, dora_dir)


def test_a_long_history_of_scalars_and_many_parameters_are_read(make_xp, dora_dir):
    import numpy as np
    make_xp(history=[{"valid": {f"metric{i}": np.float64(i + epoch) for i in range(30)}} for epoch in range(2000)],
            optimizer={"state": {i: {"step": torch.tensor(1.0)} for i in range(5000)}})
    assert export_xp(SIG, dora_dir).manifest.epoch == 2000


def test_one_storage_of_two_dtypes_in_a_living_solver_gives_both_as_they_are(tmp_path):
    from audiocraft_export.pipeline.export import export_state

    class Source:
        def __init__(self, state):
            self.state_dict = lambda: state

    weight, z = torch.arange(4.0), torch.tensor([1 + 2j])
    state = {"w": weight, "i": weight.view(torch.int32), "z": z, "r": torch.view_as_real(z)}
    sources = {"best_state": Source({"model": state}), "history": Source([])}
    report = export_state(sources, OmegaConf.create({"a": 1}), SIG, tmp_path)
    assert same(load(report.files[0])["best_state"], state)
