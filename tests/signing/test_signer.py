"""Signing as a part of an export: which files are written, kept and removed."""

import base64
import json
import os
import re
from contextlib import nullcontext
from pathlib import Path

import pytest
from helpers import SIG, solver_state
from pipeline.plans import planned

from audiocraft_export import ExportOptions, convert, export_xp, verify
from audiocraft_export.errors import OptionError, ReleaseError
from audiocraft_export.experiment.xp import Experiment
from audiocraft_export.pipeline.preflight import check_before_training
from audiocraft_export.release import provenance
from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.bundle import read_statement
from audiocraft_export.signing.keys import read_public_key
from audiocraft_export.signing.signer import Signer
from audiocraft_export.storage import read_back
from audiocraft_export.storage.staging import MACHINE

from .signers import write_keys


def versions(folder):
    """Return which version of each file a folder has."""
    return {entry.name: (entry.inode(), entry.stat().st_mtime_ns) for entry in os.scandir(folder)}


def test_a_release_that_the_key_has_not_signed_is_exported_again(export, keys, tmp_path):
    folder = export(sign=None).folder
    report = export()
    assert report.signed and report.written and "signed" in str(report) and verify(folder, key=keys[1]).signed
    before = versions(folder)
    again = export()
    assert again.signed and not again.written and not export(sign=None).written and versions(folder) == before
    private, public = write_keys(tmp_path / "other")
    assert export(sign=private).written and verify(folder, key=public).ok and not verify(folder, key=keys[1]).ok


def test_a_signed_release_has_a_content_digest(export, keys):
    assert export(sign=None).manifest.content_digest is None
    report = export()
    assert verify(report.folder, key=keys[1]).ok
    assert Manifest.load(report.folder).content_digest == report.manifest.content_digest is not None


def test_a_damaged_signature_is_replaced(signed, export, keys):
    (signed / "model.sig").write_bytes(b"x")
    assert export(attest=True).signed and verify(signed, key=keys[1]).ok


def test_a_new_release_without_a_key_removes_the_signature_and_the_attestations(signed, export):
    assert export(sign=None, weights="last").written
    assert {*os.listdir(signed)} == {"state_dict.bin", "export.json"}


@pytest.mark.parametrize("to", ["safetensors", "audiocraft"])
def test_a_conversion_signs_with_its_own_key_or_removes_the_signature(signed, keys, to):
    report = convert(signed, to)
    assert report.written == (to == "safetensors")
    assert (signed / "model.sig").exists() == (to == "audiocraft")
    assert convert(signed, to, sign=keys[0]).written == (to == "safetensors") and verify(signed, key=keys[1]).ok
    convert(signed, "safetensors" if to == "audiocraft" else "audiocraft", sign=keys[0])
    assert verify(signed, key=keys[1]).ok and not (signed / "provenance.intoto.json").exists()


def test_attestations_are_added_and_kept_and_not_left_to_another_key(export, keys, tmp_path):
    folder = export().folder
    assert export(attest=True).written and (folder / "provenance.intoto.json").exists()
    before = versions(folder)
    assert not export(attest=True).written and not export().written and versions(folder) == before
    private, public = write_keys(tmp_path / "other")
    assert export(sign=private).written and verify(folder, key=public).ok
    assert not (folder / "provenance.intoto.json").exists()


def test_the_attestations_say_what_was_done(keys, export):
    manifest = Manifest.load(export().folder)
    assert [*Signer(keys[0], True).attest(manifest)] == ["provenance.intoto.json"]
    attested = Signer(keys[0], attests=True, tests_loading=True).attest(manifest)
    assert [*attested] == ["provenance.intoto.json", "test-result.intoto.json"]
    assert Signer().attest(manifest) == Signer().sign(manifest, b"") == {}
    assert Signer().invalid_files("", manifest) == []


@pytest.mark.parametrize("name", ["notes.txt", "sub/notes.txt", "provenance.intoto.json", "model.sig"])
def test_a_folder_with_other_files_is_not_signed(export, dora_dir, name):
    folder = dora_dir / "xps" / SIG / "export"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("mine")
    with pytest.raises(ReleaseError, match=f"but {name} does not belong to the release") as refusal:
        export(attest=True)
    assert refusal.value.code == "unsigned-files" and not (folder / "export.json").exists()
    assert export(sign=None).written and (folder / name).exists()


@pytest.mark.parametrize("name", ["provenance.intoto.json", "model.sig", "config.yaml"])
def test_a_training_is_not_started_if_its_release_cannot_be_signed(make_xp, dora_dir, keys, name):
    xp = Experiment.from_folder(make_xp())
    (xp.folder / "export").mkdir()
    (xp.folder / "export" / name).write_text("mine")
    with pytest.raises(ReleaseError, match=f"but {name} does not belong to the release"):
        check_before_training(xp, {}, ExportOptions(sign=keys[0]))


@pytest.mark.parametrize(("format", "is_refused"), [("safetensors", False), ("audiocraft", True)])
def test_a_changed_file_of_another_format_is_found_before_the_training(make_xp, dora_dir, keys, format, is_refused):
    folder = export_xp(make_xp().name, dora_dir, format="safetensors", card=False).folder
    (folder / "config.yaml").write_text("mine: true")
    options = ExportOptions(sign=keys[0], format=format, card=False, force=True)
    for do in (lambda: check_before_training(Experiment.from_folder(folder.parent), {}, options),
               lambda: export_xp(SIG, dora_dir, options)):
        with pytest.raises(ReleaseError, match="but config.yaml does not belong") if is_refused else nullcontext():
            do()


@pytest.mark.parametrize("damage", ["attestation", "manifest"])
@pytest.mark.parametrize("signs", [True, False])
def test_signatures_of_a_damaged_release_are_replaced_or_removed(signed, export, keys, damage, signs):
    if damage == "attestation":
        (signed / "provenance.intoto.json").write_bytes(b"x")
    else:
        (signed / "export.json").write_text((signed / "export.json").read_text().replace('"epoch": ', '"epoch": 1'))
    assert export(**({"attest": True} if signs else {"sign": None, "weights": "last"})).written
    names = {"model.sig", "provenance.intoto.json"} if signs else set()
    assert {*os.listdir(signed)} == {"state_dict.bin", "export.json", *names}
    assert not signs or verify(signed, key=keys[1]).ok


@pytest.mark.parametrize("name", ["model.sig", "test-result.intoto.json", "export.json", "README.md"])
def test_a_folder_with_the_name_of_a_file_of_a_release_is_found_before_the_training(make_xp, dora_dir, name):
    xp = Experiment.from_folder(make_xp())
    (xp.folder / "export" / name).mkdir(parents=True)
    for refuse in (lambda options: check_before_training(xp, {}, options),
                   lambda options: export_xp(SIG, dora_dir, options)):
        with pytest.raises(ReleaseError, match=f"{name} exists and is not a regular file"):
            refuse(ExportOptions(card=True))
    assert {*os.listdir(xp.folder / "export")} == {name}


def test_a_folder_with_the_name_of_an_attestation_is_refused(export, tmp_path):
    folder = export().folder
    (folder / "provenance.intoto.json").mkdir()
    with pytest.raises(ReleaseError, match="is not a regular file"):
        export(attest=True)
    assert (folder / "provenance.intoto.json").is_dir() and not [*folder.parent.glob(".export-*")]


@pytest.mark.parametrize("name", ["model.sig", "README.md", "state_dict.bin", "key.pem"])
def test_a_key_in_the_release_folder_is_refused_and_kept(export, keys, dora_dir, name):
    key = export().folder / name
    content = keys[0].read_bytes()
    key.write_bytes(content)
    with pytest.raises(ReleaseError, match=f"The private key {key} is in the release folder") as error:
        export(sign=key, force=True)
    assert error.value.code == "invalid-key" and key.read_bytes() == content


@pytest.mark.parametrize("name", ["README.md/model.py", "training-curve.png/model.py"])
def test_a_folder_with_the_name_of_a_card_is_not_ignored(signed, keys, name):
    (signed / name).parent.mkdir()
    (signed / name).touch()
    assert any(f"{name}: not listed in model.sig" in str(problem) for problem in verify(signed, key=keys[1]).problems)


def test_neither_the_key_nor_its_path_is_in_any_file(signed, keys, dora_dir):
    secrets = [str(keys[0].parent).encode(), keys[0].read_bytes().splitlines()[1]]
    for path in (each for each in dora_dir.rglob("*") if each.is_file()):
        data = path.read_bytes()
        if path.name.endswith((".sig", ".intoto.json")):
            data += base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"])
        assert not any(secret in data for secret in secrets), path
    assert not {"sign", "attest"} & {*Manifest.load(signed).options}
    assert ExportOptions(sign=keys[0], attest=True, dtype="float16").flags == ["--dtype", "float16"]


def test_attestations_require_a_key():
    with pytest.raises(OptionError, match="attest requires a key"):
        ExportOptions(attest=True)


def test_the_key_is_read_before_anything_is_written(make_xp, dora_dir, keys):
    folder = make_xp()
    with pytest.raises(ReleaseError, match="is a public key") as refusal:
        export_xp(SIG, dora_dir, sign=keys[1])
    assert refusal.value.code == "invalid-key" and not (folder / "export").exists()


def test_a_release_of_several_files_is_signed_whole(export, make_xp, keys):
    make_xp(**{"best_state": {"model": solver_state()["model"]}})
    folder = export(format="safetensors", max_shard_size=100, card=True).folder
    files = read_statement(folder / "model.sig", read_public_key(keys[1]))["predicate"]["resources"]
    assert {each["name"] for each in files} == {*os.listdir(folder)} - {"README.md", "training-curve.png", "model.sig"}
    assert len(files) > 3 and verify(folder, key=keys[1]).ok


@pytest.mark.parametrize("name", ["export.json", "provenance.intoto.json", "model.sig"])
def test_the_files_that_are_written_last_are_read_back_as_well(signed, export, monkeypatch, name):
    before, drop = versions(signed), read_back.drop_cache

    def drop_and_damage(descriptor):
        drop(descriptor)
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.name == name:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    monkeypatch.setattr(read_back, "drop_cache", drop_and_damage)
    with pytest.raises(ReleaseError, match="The written file differs from its content") as refusal:
        export(attest=True, weights="last")
    assert refusal.value.code == "read-back-failed" and versions(signed) == before


def test_the_attestation_of_another_tool_is_kept(export):
    folder = export(sign=None).folder
    (folder / "provenance.intoto.json").write_text("mine")
    assert export(sign=None, weights="last").written
    assert (folder / "provenance.intoto.json").read_text() == "mine"
    with pytest.raises(ReleaseError, match="but provenance.intoto.json does not belong to the release"):
        export(attest=True)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("{"), lambda path: path.write_text(
    path.read_text().replace('"epoch": ', '"epoch": 1'))], ids=["missing", "unreadable", "changed"])
def test_an_attestation_that_no_manifest_lists_is_kept(export, damage):
    folder = export(sign=None).folder
    (folder / "provenance.intoto.json").write_text("mine")
    damage(folder / "export.json")
    assert export(sign=None, weights="last").written
    assert (folder / "provenance.intoto.json").read_text() == "mine"
    with pytest.raises(ReleaseError, match="but provenance.intoto.json does not belong to the release"):
        export()


def test_a_signature_that_is_kept_is_not_called_removed(export, dora_dir, caplog):
    folder = dora_dir / "mine"
    folder.mkdir()
    (folder / "model.sig").write_text("mine")
    assert export(sign=None, folder=folder).written and (folder / "model.sig").read_text() == "mine"
    assert "signature-removed" not in caplog.text


@pytest.mark.parametrize("change", [{"weights": "last"}, {"source_digest": True}, {"verify": "cache"}])
def test_a_signature_does_not_disappear_without_a_word(dora_dir, export, keys, caplog, change):
    folder = export(verify="none").folder
    assert not export(sign=None, verify="none").written and verify(folder, key=keys[1]).signed
    assert "signature-removed" not in caplog.text
    expected = planned(dora_dir, ExportOptions(**{"verify": "none", **change})).dry_run_report
    report = export(sign=None, **{"verify": "none", **change})
    assert report.written and not expected.is_current
    assert report.replaced == expected.replaced == "the signed release made after epoch 2"
    assert not (folder / "model.sig").exists() and "removed the signature of the previous release" in caplog.text
    caplog.clear()
    made_with = " with weights=last" if "weights" in change else ""
    assert export(sign=None, dtype="float16").replaced == f"the release made after epoch 2{made_with}"
    assert "signature-removed" not in caplog.text


def test_a_conversion_says_that_it_removes_a_signature(export, caplog):
    folder = export().folder
    convert(folder, "safetensors")
    assert not (folder / "model.sig").exists() and "warning[signature-removed]" in caplog.text


def test_attestations_do_not_disappear_without_a_word(export, caplog):
    export(attest=True)
    export(attest=True, weights="last")
    assert "signature-removed" not in caplog.text
    folder = export(weights="best").folder
    assert (folder / "model.sig").exists() and not (folder / "provenance.intoto.json").exists()
    assert "warning[signature-removed]" in caplog.text and "removed the attestations" in caplog.text
    export(attest=True)
    export(sign=None, weights="last")
    assert "removed the signature and the attestations" in caplog.text and "(--attest)" in caplog.text


@pytest.mark.parametrize("owner", ["another_machine-1-1", f"{MACHINE}-{2 ** 22 + 1}-1"])
def test_a_staging_folder_that_stays_is_not_signed(export, keys, owner):
    folder = export(weights="last").folder
    left = folder / f".export-{owner}-0123abcd"
    left.mkdir()
    (left / "state_dict.bin").touch()
    if owner.startswith(MACHINE):  # of a dead process: removed by the next export
        assert export().signed and verify(folder, key=keys[1]).ok and not left.exists()
        return
    with pytest.raises(ReleaseError, match=f"but {re.escape(left.name)}/state_dict.bin does not belong"):
        export()


@pytest.mark.parametrize("into", [False, True])
def test_a_conversion_signs_nothing_that_a_killed_export_left(export, keys, tmp_path, into):
    folder = export(sign=None).folder
    target = tmp_path / "into" if into else folder
    left = target / f".export-{MACHINE}-{2 ** 22 + 1}-1-0123abcd"
    left.mkdir(parents=True)
    (left / "staged").touch()
    assert convert(folder, "safetensors", target, sign=keys[0]).signed
    assert verify(target, key=keys[1]).ok and not left.exists()


def test_the_time_of_a_release_is_that_of_its_complete_files(make_xp, export, tmp_path, monkeypatch, dora_dir):
    class Clock(provenance.datetime):
        @classmethod
        def now(cls, zone):
            assert [*dora_dir.rglob(".export-*/state_dict.bin")]
            return super().now(zone)
    monkeypatch.setattr(provenance, "datetime", Clock)
    report = export(attest=True)
    assert report.manifest.time
    assert convert(report.folder, "safetensors", tmp_path / "there").manifest.time == report.manifest.time


def test_the_json_of_an_export_says_whether_the_release_is_signed(export):
    assert not export(sign=None).to_dict()["signed"]
    assert export().to_dict()["signed"] and export(sign=None).to_dict()["signed"]  # up to date: kept
    assert not export(sign=None, weights="last").to_dict()["signed"]
