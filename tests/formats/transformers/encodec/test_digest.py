"""The content digest of a release for transformers is that of its own tensors."""

import json
from hashlib import sha256

import pytest
from helpers import SIG
from omegaconf import OmegaConf
from safetensors.torch import load_file

from audiocraft_export import ExportError, export_xp
from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.formats.decoders import read_roles
from audiocraft_export.verification.weights import compare_weights, read_weights

from .scene import CONFIG, content_with


@pytest.fixture
def release(make_xp, dora_dir, tmp_path):
    state = {name: to_torch(tensor) for name, tensor in content_with()["best_state"].items()}
    make_xp(best_state={"model": state}, **{"xp.cfg": OmegaConf.create({**CONFIG, "solver": "compression"})})

    def make(format="transformers", **options):
        return export_xp(SIG, dora_dir, format=format, card=False, digest=True,
                         folder=tmp_path / f"{format}{len(options)}", **options)
    return make


def line(name, tensor):
    data = tensor.numpy().tobytes()
    return json.dumps(["model", [name], str(tensor.dtype)[6:], [*tensor.shape], sha256(data).hexdigest()]) + "\n"


def test_the_digest_is_that_of_the_tensors_in_the_files_with_shards_or_without(release):
    one, sharded = release(), release(max_shard_size="1KB")
    tensors = load_file(one.folder / "model.safetensors")
    expected = sha256("".join(sorted(line(*item) for item in tensors.items())).encode()).hexdigest()
    assert one.manifest.content_digest == sharded.manifest.content_digest == f"sha256:{expected}"
    assert len(sharded.files) > len(one.files) and [*read_roles(sharded.folder, sharded.manifest)] == ["model"]


def test_it_is_compared_only_with_releases_in_this_format(release):
    one, sharded, other = (read_weights(release(*argv, **options).folder)
                           for argv, options in (((), {}), ((), {"max_shard_size": "1KB"}), (("audiocraft",), {})))
    assert [*compare_weights(one, sharded)] == []
    with pytest.raises(ExportError, match="have no tensor with the same name") as refusal:
        [*compare_weights(one, other)]
    assert refusal.value.code == "wrong-target"
