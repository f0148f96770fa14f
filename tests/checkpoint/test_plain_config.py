"""The configuration of a checkpoint as plain data."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from helpers import SIG, load
from omegaconf import OmegaConf

from audiocraft_export import ExportError, export_xp


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
