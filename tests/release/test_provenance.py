"""Build the manifest of a release before its files are written."""

import json
from dataclasses import replace
from hashlib import sha256

import torch
from helpers import SIG

from audiocraft_export import export_xp
from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.release.provenance import merge_manifests, with_files


def test_the_manifest_has_the_provenance_of_the_release(make_xp, dora_dir):
    folder = make_xp()
    report = export_xp(SIG, dora_dir)
    manifest = json.loads((folder / "export" / "export.json").read_text())
    stat = (folder / "checkpoint.th").stat()
    assert manifest["sig"] == SIG
    assert manifest["solver"] == "mine"
    assert manifest["epoch"] == 2
    assert manifest["weights"] == "best_state" and "best" in manifest["why"]
    assert manifest["tensors"] == 3 and manifest["parameters"] == 20 + 12 + 1
    assert manifest["dtypes"] == {"float32": 2, "int64": 1}
    data = report.files[0].read_bytes()
    assert manifest["files"] == [{"name": "state_dict.bin", "bytes": len(data), "sha256": sha256(data).hexdigest()}]
    assert manifest["checkpoint"] == {"name": "checkpoint.th", "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns,
                                      "identity": TorchFile.read(folder / "checkpoint.th").source.identity}
    assert manifest["sig_source"] == "checkpoint" and manifest["format"] == 2
    assert (manifest["best"], manifest["weights_epoch"]) == (None, None)  # the rule of this solver is unknown
    assert torch.__version__.startswith(manifest["versions"]["torch"])
    assert manifest["time"] and manifest == report.to_dict()["manifest"]


class Client:
    """A value of a configuration that is not plain data."""

    def __init__(self, name):
        self.name = name

    def __reduce__(self):
        return Client, (self.name,)


def test_no_warning_has_a_value_or_names_a_scrubbed_key(make_xp, dora_dir):
    make_xp(**{"xp.cfg": {"solver": "mine", "data": {"owner": Client("jane"), "users": [Client("joe")]}}})
    report = export_xp(SIG, dora_dir)
    assert [warning.partition(" is a ")[0] for warning in report.manifest.warnings if "config-value" in warning] == [
        "config-value-replaced: xp.cfg.data.owner", "config-value-replaced: xp.cfg.data.users[0]"]
    assert "jane" not in report.manifest.text
    scrubbed = export_xp(SIG, dora_dir, scrub=["data.owner"])
    assert ["data.owner" in warning for warning in scrubbed.manifest.warnings if "config-value" in warning] == [False]


def test_manifests_of_bands_are_merged_and_a_warning_of_one_names_it(make_xp, dora_dir):
    make_xp()
    one = replace(export_xp(SIG, dora_dir).manifest, warnings=["of both", "of one", "scrub-unmatched: x"])
    other = replace(one, sig="4567cdef", epoch=1, weights="ema", dtypes={"float16": 3, "int64": 1},
                    warnings=["of both"])
    merged = merge_manifests([one, other], ["together"])
    assert (merged.sig, merged.checkpoint, merged.config_sha256, merged.best) == (None, None, None, None)
    assert (merged.epoch, merged.weights, merged.why) == (None, "best_state, ema", one.why)
    assert (merged.tensors, merged.parameters) == (6, 66)
    assert list(merged.dtypes.items()) == [("float16", 3), ("float32", 2), ("int64", 2)]
    assert merged.warnings == ["together", "of both", f"{SIG}: of one", f"scrub-unmatched: {SIG}: x"]
    assert [band["sig"] for band in merged.bands] == [SIG, "4567cdef"] and merged.name == f"{SIG}, 4567cdef"


def test_only_files_with_nan_are_reported(make_xp, dora_dir):
    make_xp()
    manifest = with_files(export_xp(SIG, dora_dir).manifest, [], {"a.bin": {"w": 2}, "b.bin": {}})
    assert manifest.nonfinite == {"a.bin": {"w": 2}} and manifest.files == []
    assert manifest.warnings[-1] == "nonfinite-values: a.bin has 2 NaN or infinite values in w"
