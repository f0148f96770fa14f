"""The state of a release depends on the identity of its checkpoint, not on name, size or mtime."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from helpers import SIG, model_state, solver_state, to_format_1, with_cfg

from audiocraft_export import ExportOptions, export_xp, list_xps, verify
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.cli.outdated import find_outdated
from audiocraft_export.errors import ReleaseError
from audiocraft_export.experiment.xp import checkpoint_name
from audiocraft_export.pipeline.export import export, export_state, plan_export
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.release.status import DAMAGED, MISSING, STALE, UP_TO_DATE, release_status

CODEC = "abcd0123"
LM = with_cfg(solver="musicgen", compression_model_checkpoint=f"//sig/{CODEC}")


def planned(folder, options=ExportOptions()):
    return plan_export(open_checkpoint(folder / "checkpoint.th"), folder, folder / "export", options)


def state_of(folder, **options):
    """Return the state of the release in an XP folder, and check that a dry run returns the same."""
    found = release_status(folder / "export", folder)
    assert planned(folder, ExportOptions(**options)).status.state == found.state
    return found.state


def all_exported(dora_dir):
    """Return whether `run --all` exported each XP again whose release it does not skip."""
    return [export(open_checkpoint(folder / checkpoint_name(options.checkpoint)), folder, folder / "export",
                   options).written for folder, options in find_outdated(list_xps(dora_dir), {}).options.items()]


def save(folder, name="checkpoint.th", seed=3, ns=None):
    """Write a checkpoint of constant size."""
    torch.save(solver_state(best_state={"model": model_state(seed)}), folder / name)
    if ns is not None:
        os.utime(folder / name, ns=(ns, ns))
    return os.stat(folder / name)


def test_a_release_is_missing_up_to_date_stale_or_damaged(make_xp, dora_dir):
    folder = make_xp()
    assert state_of(folder) == MISSING
    file, = export_xp(SIG, dora_dir).files
    assert state_of(folder) == UP_TO_DATE
    save(folder, seed=4)
    assert state_of(folder) == STALE
    file.write_bytes(file.read_bytes()[:-1])
    assert state_of(folder) == DAMAGED and export_xp(SIG, dora_dir).written and state_of(folder) == UP_TO_DATE


@pytest.mark.parametrize("opens", [True, False])
def test_a_copy_of_a_checkpoint_is_the_same_checkpoint_at_any_time(make_xp, dora_dir, opens):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    os.utime(folder / "checkpoint.th", ns=(0, 0))
    assert release_status(folder / "export", folder, opens=opens).state == UP_TO_DATE
    save(folder, seed=4, ns=0)
    assert release_status(folder / "export", folder, opens=opens).state == STALE
    (folder / "checkpoint.th").write_bytes(bytes((folder / "checkpoint.th").stat().st_size))
    assert release_status(folder / "export", folder, opens=opens).state == STALE


def test_a_release_of_another_experiment_is_stale_for_this_one(make_xp, dora_dir):
    export_xp(make_xp("11111111").name, dora_dir)
    folder = make_xp("22222222")
    (folder / ".argv.json").write_text("[]")
    shutil.copytree(dora_dir / "xps/11111111/export", folder / "export")
    (folder / "checkpoint.th").unlink()
    assert release_status(folder / "export", folder).state == STALE
    assert release_status(folder / "export", folder, opens=False).state == STALE


def test_a_release_without_its_manifest_is_damaged(make_xp, dora_dir):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    (folder / "export" / "export.json").unlink()
    assert release_status(folder / "export", folder).state == DAMAGED
    assert planned(folder).replaced == "a damaged release"


@pytest.mark.parametrize("age", [0, -10**9, -10**15, 1])
def test_another_checkpoint_of_the_same_size_is_exported_whatever_its_time(make_xp, dora_dir, age):
    before = save(make_xp())
    export_xp(SIG, dora_dir)
    after = save(dora_dir / "xps" / SIG, seed=4, ns=before.st_mtime_ns + age)
    assert before.st_size == after.st_size and state_of(dora_dir / "xps" / SIG) == STALE
    assert export_xp(SIG, dora_dir).written


@pytest.mark.parametrize("change", ["touched", "copied", "renamed"])
def test_a_checkpoint_of_the_same_content_is_the_same(make_xp, dora_dir, change):
    folder = make_xp()
    written = export_xp(SIG, dora_dir).manifest
    if change == "touched":
        os.utime(folder / "checkpoint.th", (1e9, 1e9))
    else:
        shutil.copyfile(folder / "checkpoint.th", folder / "checkpoint_2.th")
    if change == "copied":
        os.replace(folder / "checkpoint_2.th", folder / "checkpoint.th")
    options = ExportOptions(checkpoint="2" if change == "renamed" else None)
    assert state_of(folder) == UP_TO_DATE
    again = export_xp(SIG, dora_dir, options)
    assert not again.written and again.manifest == written


@pytest.mark.parametrize("is_same", [True, False])
def test_a_compression_model_is_identified_by_its_content(make_xp, dora_dir, is_same):
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    codec, folder = dora_dir / "xps" / CODEC / "checkpoint.th", make_xp(**{"xp.cfg": LM})
    time = codec.stat().st_mtime_ns
    export_xp(SIG, dora_dir)
    if not is_same:
        make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec"),
                          "best_state": {"model": model_state(5)}})
    os.utime(codec, ns=(time, time - 10**15 if is_same else time))
    assert state_of(folder) == (UP_TO_DATE if is_same else STALE)
    assert export_xp(SIG, dora_dir).written is not is_same


@pytest.mark.parametrize("options", [{"weights": "last"}, {"dtype": "float16"}, {"version": "9"}, {"scrub": "optim.*"}])
def test_an_up_to_date_release_lists_other_options(make_xp, dora_dir, options):
    folder = make_xp()
    export_xp(SIG, dora_dir, ExportOptions(**options))
    plan = planned(folder, ExportOptions(force=True))  # which may drop the scrub
    status, shown = plan.status, {name: ["optim.*"] if name == "scrub" else value for name, value in options.items()}
    assert status.options == shown and not plan.is_current
    assert planned(folder, ExportOptions(**options)).is_current
    (name, value), = options.items()
    assert str(status) == f"up to date, made with {name}={value}"


def test_a_deleted_checkpoint_is_unchanged_and_an_invalid_one_is_changed(make_xp, dora_dir):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    (folder / "checkpoint.th").write_bytes(b"no checkpoint")
    assert release_status(folder / "export", folder).state == STALE
    (folder / "checkpoint.th").unlink()
    assert release_status(folder / "export", folder).state == UP_TO_DATE


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize("odd", [
    {"mtime_ns": 1.5}, {"mtime_ns": 10**40}, {"mtime_ns": [1]}, {"name": "../../a"}, {"name": "\0"}, {"name": None},
    {"bytes": "x"}, {"identity": 3}, {"identity": None}])
def test_an_unusual_source_in_a_manifest_does_not_fail(make_xp, dora_dir, odd, opens):
    folder = make_xp()
    manifest = export_xp(SIG, dora_dir).manifest
    odd_one = replace(manifest, checkpoint={**manifest.checkpoint, **odd})
    (folder / "export" / "export.json").write_text(odd_one.text)
    assert release_status(folder / "export", folder, opens=opens).state in (UP_TO_DATE, STALE, DAMAGED)
    assert export_xp(SIG, dora_dir).manifest.sig == SIG


@pytest.mark.parametrize("options", [{}, {"weights": "last", "dtype": "float16"},
                                     {"format": "safetensors", "card": False}])
@pytest.mark.parametrize("config", [with_cfg(solver="musicgen"), LM])
def test_a_release_without_an_identity_is_compared_once_by_content(make_xp, dora_dir, options, config, monkeypatch):
    make_xp(CODEC, **{"xp.cfg": with_cfg(solver="compression", compression_model="encodec")})
    folder, options = make_xp(**{"xp.cfg": config}), ExportOptions(codec="auto" if config is LM else "none", **options)
    written = export_xp(SIG, dora_dir, options).manifest
    to_format_1(folder / "export")
    os.utime(folder / "checkpoint.th", (1e9, 1e9))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("export/*.*") if path.name != "export.json"}
    assert planned(folder, options).is_current and Manifest.load(folder / "export").format == 1  # a plan writes nothing
    assert not export_xp(SIG, dora_dir, options).written
    assert before == {path: path.stat().st_mtime_ns for path in before}
    manifest = Manifest.load(folder / "export")
    assert replace(manifest, checkpoint=written.checkpoint) == written
    assert verify(folder / "export").ok and manifest.is_identified
    monkeypatch.setattr("audiocraft_export.pipeline.plan.content_problems", None)
    assert not export_xp(SIG, dora_dir, options).written


@pytest.mark.parametrize("is_touched", [True, False])
def test_a_release_without_an_identity_is_compared_with_the_checkpoint_of_its_own(make_xp, dora_dir, is_touched):
    folder = make_xp()
    save(folder, "checkpoint_3.th", seed=5)
    export_xp(SIG, dora_dir, ExportOptions(checkpoint="3"))
    to_format_1(folder / "export")
    if is_touched:
        os.utime(folder / "checkpoint_3.th", (1e9, 1e9))
    status = planned(folder).status
    assert (status.state, status.options) == (UP_TO_DATE, {"checkpoint": "3"})
    assert all_exported(dora_dir) == [False] and Manifest.load(folder / "export").is_identified
    save(folder, "checkpoint_3.th", seed=6)
    assert all_exported(dora_dir) == [True]


@pytest.mark.parametrize("is_touched", [True, False])
def test_a_release_whose_format_needs_a_missing_package_is_left_by_all(make_xp, dora_dir, monkeypatch, is_touched):
    folder = make_xp()
    export_xp(SIG, dora_dir, ExportOptions(format="safetensors", card=False))
    to_format_1(folder / "export")
    before = (folder / "export" / "export.json").read_bytes()
    if is_touched:
        os.utime(folder / "checkpoint.th", (1e9, 1e9))
    monkeypatch.setattr("audiocraft_export.requirements.find_spec", lambda name: None)
    with pytest.raises(ReleaseError, match="format=safetensors needs packages that are not installed"):
        all_exported(dora_dir)
    assert (folder / "export" / "export.json").read_bytes() == before


@pytest.mark.parametrize("change", ["checkpoint", "release", "size"])
def test_a_release_without_an_identity_and_of_other_content_is_exported_again(make_xp, dora_dir, change):
    before = save(make_xp())
    folder, file = dora_dir / "xps" / SIG, export_xp(SIG, dora_dir).files[0]
    to_format_1(folder / "export")
    if change == "checkpoint":
        save(folder, seed=4, ns=before.st_mtime_ns)
    elif change == "release":
        data = file.read_bytes()
        at = data.index(model_state(3)["emb.0.weight"].numpy().tobytes())
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
    else:
        torch.save(solver_state(extra=torch.zeros(9)), folder / "checkpoint.th")
    assert planned(folder).status.state == STALE
    assert export_xp(SIG, dora_dir).written and Manifest.load(folder / "export").is_identified


def test_a_release_of_a_running_solver_is_compared_with_its_checkpoint(make_xp, dora_dir):
    folder = make_xp()
    state = torch.load(folder / "checkpoint.th", weights_only=False)
    sources = {name: SimpleNamespace(state_dict=lambda value=value: value) for name, value in state.items()}
    export_state(sources, state["xp.cfg"], SIG, folder)
    assert release_status(folder / "export", folder, opens=False).state == UP_TO_DATE
    assert not export_xp(SIG, dora_dir).written and Manifest.load(folder / "export").is_identified
    assert export_state(sources, state["xp.cfg"], SIG, folder).written  # its state may be anything now


def test_an_identity_that_cannot_be_recorded_is_a_warning(make_xp, dora_dir, monkeypatch, caplog):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    to_format_1(folder / "export")

    def read_only(*_):
        raise ReleaseError("write-failed", "Read-only file system")
    monkeypatch.setattr("audiocraft_export.pipeline.execute.replace_files", read_only)
    assert not export_xp(SIG, dora_dir).written and "compared with its checkpoint again next time" in caplog.text


def test_a_link_to_another_experiment_has_not_the_release_of_its_name(make_xp, dora_dir):
    folder = make_xp()
    export_xp(SIG, dora_dir)
    (folder / ".argv.json").write_text("[]")
    os.rename(folder, folder.with_name("0badcafe"))
    folder.symlink_to("0badcafe")
    assert release_status(folder / "export", folder, opens=False).state == STALE
