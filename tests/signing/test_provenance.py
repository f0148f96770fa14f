"""The provenance: values of the manifest, and nothing private."""

import getpass
import platform

from helpers import with_cfg

from audiocraft_export.release.manifest import Manifest
from audiocraft_export.signing.bundle import read_statement
from audiocraft_export.signing.keys import read_public_key
from audiocraft_export.signing.provenance import BUILD_TYPE, provenance


def test_it_names_files_options_and_checkpoint(signed, keys):
    statement = read_statement(signed / "provenance.intoto.json", read_public_key(keys[1]))
    manifest = Manifest.load(signed)
    assert statement == provenance(manifest) and statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "state_dict.bin", "digest": {"sha256": manifest.files[0].sha256}}]
    definition, details = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
    assert definition["buildType"] == BUILD_TYPE
    assert definition["externalParameters"] == {
        name: manifest.to_dict()[name] for name in ("sig", "weights", "weights_epoch", "epoch", "options")}
    assert definition["resolvedDependencies"] == [{
        "name": "checkpoint.th", "digest": {"audiocraftExportIdentity": manifest.checkpoint["identity"]},
        "annotations": {"sig": manifest.sig}}]
    assert {**details["builder"]["version"], "audiocraft": "unknown"} == manifest.versions  # an option, not a package
    assert details["metadata"]["finishedOn"].endswith("Z")


def test_a_commit_a_checksum_and_a_compression_model_are_dependencies(signed):
    manifest = Manifest.load(signed)
    values = {**manifest.to_dict(), "git": {"commit": "ab12", "dirty": True},
              "checkpoint": {"name": "checkpoint.th", "sha256": "00", "identity": "11"},
              "codec": {"pretrained": "facebook/encodec_32khz"}}
    known = type("Known", (Manifest,), {"to_dict": lambda self: values})(**vars(manifest))
    checkpoint, git, codec = provenance(known)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert checkpoint["digest"] == {"sha256": "00", "audiocraftExportIdentity": "11"}
    assert git["digest"] == {"gitCommit": "ab12"} and git["annotations"] == {"dirty": True}
    assert codec["uri"].endswith(":facebook/encodec_32khz")


def test_it_has_nothing_private(make_xp, export, keys, tmp_path, dora_dir):
    make_xp(**{"xp.cfg": with_cfg(user="jane", dataset={"path": "/home/jane/music"}, host="node7.local")})
    folder = export(attest=True, scrub="public").folder
    text = str(read_statement(folder / "provenance.intoto.json", read_public_key(keys[1])))
    for private in ("jane", "node7", str(tmp_path), str(dora_dir), platform.node(), f"/{getpass.getuser()}", "/home"):
        assert private not in text
