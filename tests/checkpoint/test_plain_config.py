"""The configuration of a checkpoint as plain data."""

import datetime
import enum
import operator
import pickle
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
import torch
import yaml
from helpers import SIG, load
from omegaconf import OmegaConf

from audiocraft_export import ExportError, export_xp
from audiocraft_export.checkpoint.plain_config import to_plain
from audiocraft_export.checkpoint.unpickler import unpickle
from audiocraft_export.errors import CheckpointError


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Named(enum.Enum):
    RED = 1

    def __reduce_ex__(self, protocol):  # written by Python 3.11.0 to 3.11.4, and with enum.pickle_by_enum_name
        return getattr, (type(self), self.name)


class Perm(enum.Flag):
    READ = 1
    WRITE = 2

    def __reduce_ex__(self, protocol):  # the same forms
        return (operator.or_, (Perm.WRITE, Perm.READ)) if self.value == 3 else (getattr, (Perm, self.name))


class Values(enum.Enum):
    PAIR = (1, (2, "x"))
    NOTHING = None
    HALF = torch.float16
    RAW = b"\xff"


class Outer:
    class Inner(enum.Enum):
        ONE = 1


class Counted(dict):
    """A dict that is made with one argument, and changed afterwards."""

    def __reduce__(self):
        return type(self), ("x",), None, None, iter([("lost", 1)])


class Evil:
    def __init__(self, name, *args):
        self._call = name, args

    def __reduce__(self):
        module, _, name = self._call[0].rpartition(".")
        return getattr(__import__(module, fromlist=[name]), name), self._call[1]


@dataclass
class Paint:
    solver: str = "mine"
    color: Color = Color.RED


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
    plain["sub"].update(path="/data/x", here=".")  # as text: YAML of paths depends on the Python version
    assert load(export_xp(SIG, dora_dir).files[0])["xp.cfg"] == OmegaConf.to_yaml(OmegaConf.create(plain))


def test_a_configuration_with_keys_that_yaml_does_not_have_is_refused(make_xp, dora_dir):
    make_xp(**{"xp.cfg": {("a", "b"): 1}})
    with pytest.raises(ExportError, match="a dict key of type tuple"):
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
    ([1], "must be a mapping, got a list"), (None, "must be a mapping, got None"), (object(), "xp.cfg is an object"),
    ({"a": {"b": [1, object()]}}, r"xp\.cfg\.a\.b\[1\] is an object"), ({"n": 1 << 100_000}, "bits")])
def test_an_unsupported_value_is_refused_with_its_key(cfg, says):
    with pytest.raises(CheckpointError, match=says):
        to_plain(cfg)


UNUSUAL = {
    "dtype": torch.float16, "device": torch.device("cuda", 0), "cpu": torch.device("cpu"),
    "windows": PureWindowsPath("C:\\data\\x"), "day": datetime.date(2024, 1, 2), "time": datetime.time(1, 2, 3),
    "now": datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
    "long": datetime.timedelta(days=1, seconds=5), "set": {"b", "a", 3, 1.5}, "frozen": frozenset([2, 1]),
    "none": set(), "complex": 1 - 2j, "sets": {frozenset({2, 1})}, "space": SimpleNamespace(a=1),
}
PLAIN = {
    "dtype": "torch.float16", "device": "cuda:0", "cpu": "cpu", "windows": "C:\\data\\x", "day": "2024-01-02",
    "time": "01:02:03", "now": "2024-01-02T03:04:05+02:00", "long": "1 day, 0:00:05", "set": [1.5, 3, "a", "b"],
    "frozen": [1, 2], "none": [], "complex": "(1-2j)", "sets": [[1, 2]], "space": {"a": 1},
}


@pytest.mark.parametrize("protocol", [2, 4])
def test_sets_dates_dtypes_devices_and_paths_are_plain_data(protocol):
    read, unknown = unpickle(pickle.dumps(Namespace(**UNUSUAL), protocol), lambda key: None, "here")
    assert to_plain(read) == to_plain(Namespace(**UNUSUAL)) == PLAIN and not unknown


def test_such_a_configuration_is_released_as_yaml_of_plain_data(make_xp, dora_dir):
    make_xp(**{"xp.cfg": Namespace(**UNUSUAL)})
    text = load(export_xp(SIG, dora_dir).files[0])["xp.cfg"]
    assert "!!" not in text and yaml.safe_load(text)["set"] == [1.5, 3, "a", "b"]


@pytest.mark.parametrize("cfg", [Namespace(solver="mine", color=Color.RED), OmegaConf.structured(Paint()),
                                 OmegaConf.create({"solver": "mine", "color": Color.RED})])
def test_an_enumeration_is_released_by_its_name_if_that_is_known_and_else_by_its_value(make_xp, dora_dir, cfg):
    folder = make_xp(**{"xp.cfg": cfg})
    report = export_xp(SIG, dora_dir)
    assert yaml.safe_load(load(report.files[0])["xp.cfg"]) == {"solver": "mine", "color": 1}
    assert any("xp.cfg.color is a " in text and "Color, whose name is not" in text for text in report.manifest.warnings)
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("solver: mine\ncolor: RED\n")
    report = export_xp(SIG, dora_dir)
    assert yaml.safe_load(load(report.files[0])["xp.cfg"]) == {"solver": "mine", "color": "RED"}
    assert not any("xp.cfg.color" in text for text in report.manifest.warnings)


def test_an_enumeration_in_memory_becomes_its_name():
    assert to_plain({"a": Color.RED, "b": [Color.BLUE], Color.RED: 1}) == {"a": "RED", "b": ["BLUE"], "RED": 1}
    assert to_plain({"a": Perm(0)}) == {"a": 0 if Perm(0).name is None else Perm(0).name}


@pytest.mark.parametrize("protocol", [2, 4])
def test_an_enumeration_has_its_name_where_the_pickle_has_it(protocol):
    cfg, notes = {"a": Named.RED, "b": Perm.READ | Perm.WRITE, Named.RED: Perm.WRITE}, []
    read, _ = unpickle(pickle.dumps(cfg, protocol), lambda key: None, "here")
    assert to_plain(read, lambda: {"a": "no"}, notes) == {"a": "RED", "b": "READ|WRITE", "RED": "WRITE"} and not notes


@pytest.mark.parametrize("protocol", [2, 4])
def test_the_value_of_an_enumeration_may_be_any_plain_data(protocol):
    cfg, notes = {"a": [*Values], "inner": Outer.Inner.ONE, "n": 1}, []
    read, _ = unpickle(pickle.dumps(cfg, protocol), lambda key: None, "here")
    assert to_plain(read, notes=notes) == {"a": [[1, [2, "x"]], None, "torch.float16", b"\xff"], "inner": 1, "n": 1}
    assert len(notes) == 5


def test_an_enumeration_that_is_a_key_is_named_as_in_the_file_of_hydra_and_else_by_its_value():
    cfg, notes = {"a": {Color.RED: {"x": Color.RED}, Color.BLUE: 2}}, []
    read, _ = unpickle(pickle.dumps(cfg), lambda key: None, "here")
    assert to_plain(read, notes=notes) == {"a": {1: {"x": 1}, "blue": 2}} and len(notes) == 3
    beside = {"a": {"RED": {"x": "RED"}, "BLUE": 2}}
    assert to_plain(read, lambda: beside, notes) == beside and len(notes) == 3
    assert to_plain(read, lambda: {"a": {"RED": 3}}) == {"a": {1: {"x": 1}, "blue": 2}}
    for key in (Values.PAIR, (1, 2), len):
        with pytest.raises(CheckpointError, match="Unsupported value in the configuration: xp.cfg"):
            to_plain(unpickle(pickle.dumps({key: 1}), lambda key: None, "here")[0])


def test_keys_that_are_the_same_as_plain_data_are_refused():
    with pytest.raises(CheckpointError, match="keys that become equal"):
        to_plain({"a": {Color.RED: 1, "RED": 2}})


@pytest.mark.parametrize("value", [Counted(), Color, Path.exists, Evil("os.system", "touch made"), len])
def test_other_objects_are_not_mistaken_for_enumerations(value):
    read, _ = unpickle(pickle.dumps({"a": value}), lambda key: None, "here")
    with pytest.raises(CheckpointError, match="Unsupported value in the configuration: xp.cfg"):
        to_plain(read)


@pytest.mark.parametrize("what", [torch.nn.functional.relu, torch.optim.SGD, Evil("os.system", "touch made")])
def test_an_object_is_replaced_from_the_file_of_hydra_with_a_warning_or_refused(make_xp, dora_dir, what):
    folder = make_xp(**{"xp.cfg": {"solver": "mine", "deep": [{"what": what}]}})
    with pytest.raises(ExportError, match=r"Unsupported value .*: xp\.cfg\.deep\[0\]\.what is [\w.]+\. Use"):
        export_xp(SIG, dora_dir)
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("solver: mine\ndeep:\n- what: relu\n")
    report = export_xp(SIG, dora_dir)
    assert yaml.safe_load(load(report.files[0])["xp.cfg"])["deep"] == [{"what": "relu"}]
    assert any("used the value of .hydra/config.yaml" in text for text in report.manifest.warnings)


@pytest.mark.parametrize("version", ["1.4.1", "2.0.6"])
def test_configurations_of_old_versions_of_omegaconf_are_read(version):
    data = (Path(__file__).parent / "pickles" / f"omegaconf-{version}.pkl").read_bytes()
    read, unknown = unpickle(data, lambda key: None, "here")
    assert not unknown and to_plain(read) == {
        "solver": "mine", "lr": 0.1, "list": [1, "two", None, True], "sub": {"user": "${solver}", "missing": "???"}}
