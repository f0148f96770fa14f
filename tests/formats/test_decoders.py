"""The content of a release, whatever its format."""

import pytest
import torch
from helpers import SIG, with_cfg

from audiocraft_export import export_xp
from audiocraft_export.checkpoint.tensor import LazyTensor
from audiocraft_export.formats.decoders import read_roles, released_weights, role_of

CODEC = {"xp.cfg": with_cfg(solver="compression", compression_model="encodec")}


def test_the_role_is_that_of_the_file():
    roles = {name: role_of(name) for name in ("state_dict.bin", "compression_state_dict.bin", "x.bin",
                                              "diffusion_state_dict.bin", "generator_0123abcd.pth", "detector_x.pth")}
    assert [*roles.values()] == ["model", "compression_model", "model", "diffusion", "generator", "detector"]


def test_the_weights_are_those_of_the_model_its_part_or_its_bands():
    model, bands = {"w": 1}, {0: {"cfg": {"model": 3}, "model_state": {"w": 1}, "processor_state": {"model": {"w": 2}}}}
    assert released_weights({"best_state": model, "xp.cfg": ""}) == released_weights({"model": model}) == model
    assert released_weights({"n_bands": 1, **bands}) == {"0": model}
    assert released_weights({"pretrained": "facebook/encodec_32khz"}) == released_weights({"best_state": 5}) == {}


def shapes(value):
    """Return the content with the shapes of tensors instead of tensors."""
    if isinstance(value, dict):
        return {key: shapes(item) for key, item in value.items()}
    return value.shape if isinstance(value, LazyTensor) else value


@pytest.mark.parametrize("size", ["5GB", 20])
def test_both_formats_have_the_same_content_by_role(make_xp, dora_dir, tmp_path, size):
    make_xp("c0dec000", **CODEC)
    weight = torch.ones(4, 3)
    make_xp(best_state={"model": {"w": weight, "tied": weight.reshape(3, 4), "v": torch.ones(5), "n": [1, (2.5,)]}},
            **{"xp.cfg": with_cfg(solver="musicgen", compression_model_checkpoint="//sig/c0dec000")})
    one = export_xp(SIG, dora_dir)
    other = export_xp(SIG, dora_dir, format="safetensors", card=False, max_shard_size=size, folder=tmp_path / "other")
    roles, others = (read_roles(report.folder, report.manifest) for report in (one, other))
    assert shapes(dict(roles)) == shapes(dict(others)) and [*roles] == ["model", "compression_model"]
    assert (len(other.files) > 5) == (size == 20)
