"""The configuration of a checkpoint as plain data."""

from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers import SIG, load
from omegaconf import OmegaConf

from audiocraft_export import ExportError, export_xp
from audiocraft_export.checkpoint.plain_config import to_plain
from audiocraft_export.errors import CheckpointError


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


def test_another_text_of_the_configuration_makes_another_release(make_xp, dora_dir):
    folder = make_xp(**{"xp.cfg": ...})
    (folder / ".hydra").mkdir()
    for text in ("a: 1\n", "a: 2\n"):
        (folder / ".hydra" / "config.yaml").write_text(text)
        report = export_xp(SIG, dora_dir)
        assert report.written and load(report.files[0])["xp.cfg"] == text


def test_namespaces_paths_and_tuples_become_plain_data_and_interpolations_stay():
    cfg = Namespace(lr=0.1, path=Path("/data"), sizes=(1, "${lr}"), inner={"missing": "???", 2: None})
    assert to_plain(cfg) == {"lr": 0.1, "path": "/data", "sizes": [1, "${lr}"], "inner": {"missing": "???", 2: None}}


@pytest.mark.parametrize(("cfg", "says"), [
    ([1], "no mapping"), ({"a": {"b": [1, {3}]}}, r"xp\.cfg\.a\.b\[1\] is a set"), ({"n": 1 << 100_000}, "bits")])
def test_what_is_no_plain_data_is_refused_by_where_it_is(cfg, says):
    with pytest.raises(CheckpointError, match=says):
        to_plain(cfg)
