"""The content digest: the same for the same weights in any container, and another one for any other weights."""

import re
from pathlib import Path

import pytest
import torch
from helpers import NEW_DTYPES, model_state

from audiocraft_export import ExportOptions, export_checkpoint
from audiocraft_export.checkpoint.torch_file import TorchFile
from audiocraft_export.errors import CheckpointError
from audiocraft_export.formats.decoders import role_of
from audiocraft_export.formats.digest import content_digest, tensor_digests

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
RECIPE: dict = {}
exec(re.search(r"# recipe/digest\.py\n(.*?)```", PAGE, re.DOTALL)[1], RECIPE)  # noqa: S102
WEIGHT = torch.arange(12.).reshape(3, 4)
STATES = {
    "plain": model_state(), "empty": {"w": torch.empty(0, 3)}, "scalar": {"w": torch.tensor(1.)},
    "tied": {"a": WEIGHT, "b": WEIGHT, "c": WEIGHT.reshape(4, 3)},
    "views": {"t": WEIGHT.t(), "row": WEIGHT[1], "step": WEIGHT[:, ::2], "expanded": torch.ones(1).expand(3)},
    "nested": {"a": {"b": WEIGHT, 0: [WEIGHT[0], (WEIGHT[1],)]}, "a.b": WEIGHT + 1, "n": 3, "x": b"x", "none": None},
    "names": {"é\n\"": WEIGHT, "\ud800": WEIGHT, "": WEIGHT, "$tensor": WEIGHT},
    "dtypes": {str(dtype): torch.ones(3).to(dtype) for dtype in (
        torch.bool, torch.uint8, torch.int8, torch.int16, torch.int64, torch.float16, torch.bfloat16, torch.float64,
        torch.complex64, torch.complex128)},
    "new dtypes": {name: torch.ones(3).to(getattr(torch, name)) for name in NEW_DTYPES if name.startswith("float8")},
    "conjugated": {"c": torch.tensor([1j, 2 + 1j]).conj()},
}


def digest_of(path):
    return content_digest(tensor_digests({role_of(path.name): TorchFile.read(path).state}))


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_the_recipe_of_the_documentation_gives_the_same_digest(state, tmp_path):
    torch.save({"best_state": state}, tmp_path / "state_dict.bin")
    files = {"model": {"best_state": {name: value.resolve_conj() if isinstance(value, torch.Tensor) else value
                                      for name, value in state.items()}}}
    assert digest_of(tmp_path / "state_dict.bin") == RECIPE["content_digest"](files)


@pytest.mark.parametrize("change", [
    {"w": WEIGHT + 1}, {"w": WEIGHT.reshape(4, 3)}, {"w": WEIGHT.view(torch.int32)}, {"v": WEIGHT}, {},
    {"w": WEIGHT, "v": WEIGHT}, {"w": {"w": WEIGHT}}, {"w": WEIGHT.t().contiguous()}], ids=str)
def test_other_weights_have_another_digest(change, tmp_path):
    for name, state in (("state_dict.bin", {"w": WEIGHT}), ("other.bin", change)):
        torch.save({"best_state": state}, tmp_path / name)
    assert digest_of(tmp_path / "state_dict.bin") != digest_of(tmp_path / "other.bin")


def test_nested_and_dotted_names_are_not_the_same(tmp_path):
    for name, state in (("a.bin", {"a": {"b": WEIGHT}, "a.b": WEIGHT + 1}),
                        ("b.bin", {"a": {"b": WEIGHT + 1}, "a.b": WEIGHT})):
        torch.save(state, tmp_path / name)
    assert digest_of(tmp_path / "a.bin") != digest_of(tmp_path / "b.bin")


def test_order_storages_and_configuration_do_not_matter(tmp_path):
    one = {"best_state": {"a": WEIGHT, "b": WEIGHT}, "xp.cfg": "a: 1"}
    other = {"xp.cfg": "b: 2", "best_state": {"b": WEIGHT.clone(), "a": torch.stack([WEIGHT, WEIGHT])[1]}}
    torch.save(one, tmp_path / "state_dict.bin")
    torch.save(other, tmp_path / "renamed.bin")
    assert digest_of(tmp_path / "state_dict.bin") == digest_of(tmp_path / "renamed.bin")


def test_the_digest_is_fixed(tmp_path):
    torch.save({"best_state": {"w": WEIGHT, "steps": torch.tensor(7)}}, tmp_path / "state_dict.bin")
    assert digest_of(tmp_path / "state_dict.bin") == \
        "sha256:720461569bb9b3d9db0ba1014f46d34a40716e0422523818b3457ae3b4324d72"


def test_a_state_that_contains_itself_is_refused():
    state = {}
    state["state"] = state
    with pytest.raises(CheckpointError, match="contain themselves"):
        tensor_digests({"model": {"best_state": state}})


@pytest.mark.parametrize("format", ["audiocraft", "safetensors"])
def test_an_export_of_any_format_writes_the_digest_into_the_manifest(make_xp, dora_dir, tmp_path, format):
    xp = make_xp(best_state={"model": STATES["tied"] | STATES["plain"]})
    report = export_checkpoint(xp / "checkpoint.th", tmp_path / "r", ExportOptions(format=format, card=False),
                               digest=True)
    state = {"best_state": STATES["tied"] | STATES["plain"]}
    assert report.manifest.content_digest == RECIPE["content_digest"]({"model": state})
    assert export_checkpoint(xp / "checkpoint.th", tmp_path / "s").manifest.content_digest is None
