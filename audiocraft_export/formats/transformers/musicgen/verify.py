"""Compare what AudioCraft and transformers compute with a released language model."""

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers

from ....checkpoint.torch_tensors import from_torch, to_torch
from ....errors import ReleaseError, listing
from ....experiment.config import Config
from ...safetensors.layout import read_json
from ..loading import explain_errors, load_safetensors, load_strictly
from ..model_files import CONFIG, OTHERS
from .architecture import TEXT_MODEL, layout_of
from .convert import from_musicgen
from .verify_inputs import Conditions, build_conditions

TOLERANCE = 1e-4  # of logits, in float32
FRAMES = 12  # that are generated, more than any delay
GUIDANCE = (1.0, 3.0)


def verify_musicgen(folder: Path) -> None:
    """Rebuild AudioCraft's language model from a release in the transformers format, and compare both.

    Logits for the same codes and conditions must be equal within `TOLERANCE`, and so must be what both generate
    greedily, without and with guidance, if this version of transformers can generate with such a model: version 4
    ignores melodies, and fails for decoders alone. The random state of a training that may go on is kept.

    Raises:
        ReleaseError: if one of them cannot be rebuilt, or they differ.
    """
    with _step("rebuilt by AudioCraft"):
        transformer = import_module("audiocraft.modules.transformer")
    with _keep_global_state(transformer), torch.no_grad():
        with _step("read"):
            config = Config.load(folder / CONFIG)
        with _step("loaded by transformers"):
            model = load_musicgen(folder)
        with _step("rebuilt by AudioCraft"):
            lm = _load_audiocraft(folder, config)
        with _step("conditioned"):
            conditions = build_conditions(folder, layout_of(config), lm, model)
        with _step("run"):
            _compare_logits(lm, conditions)
            if int(transformers.__version__.split(".")[0]) >= 5 or type(model).__name__ == TEXT_MODEL:
                for scale in GUIDANCE if conditions.attributes else GUIDANCE[:1]:
                    _compare_music(lm, conditions, scale)


def load_musicgen(folder: Path) -> Any:
    """Load the model of a release with transformers, in float32.

    Raises:
        ReleaseError: if tensors are missing, unexpected, or of another shape.
    """
    architecture, = read_json(folder / "config.json")["architectures"]
    model, wrong = load_strictly(architecture, folder, dtype=torch.float32, local_files_only=True)
    if wrong:
        raise ReleaseError(f"{architecture} does not load {folder} as it is ({listing(wrong)}): export it again.")
    return model.eval()


def _load_audiocraft(folder: Path, config: Config) -> Any:
    """AudioCraft's language model with the weights of the release, as its own loader builds it."""
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    cfg = OmegaConf.create({**config.values, "device": "cpu", "dtype": "float32"})
    melody = layout_of(config).melody
    if melody:  # these are files of the machine that trained it
        cfg.conditioners[melody].chroma_stem.update(cache_path=None, eval_wavs=None)
    state = from_musicgen(from_torch(load_safetensors(folder)), from_torch(load_safetensors(folder, OTHERS)), config)
    lm = builders.get_lm_model(cfg)
    lm.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    return lm.eval()


def _compare_logits(lm: Any, conditions: Conditions) -> None:
    steps = 2 * lm.n_q + FRAMES
    codes = torch.randint(lm.card + 1, (1, lm.n_q, steps), generator=torch.Generator().manual_seed(0))
    expected = lm(codes, [], conditions.tensors)
    found = conditions.logits(codes)[:, -steps:].reshape(expected.shape)
    difference = float((expected - found).abs().max())
    if not difference <= TOLERANCE:
        raise ReleaseError(f"The logits of transformers differ from those of AudioCraft by {difference:.2g}, more than "
                           f"{TOLERANCE:g}: do not use this release, and report it.")


def _compare_music(lm: Any, conditions: Conditions, scale: float) -> None:
    frames = lm.n_q + FRAMES
    expected = lm.generate(conditions=conditions.attributes, num_samples=1, max_gen_len=frames, use_sampling=False,
                         cfg_coef=scale, two_step_cfg=False)  # two steps would guide by the scale of the training
    found = conditions.music(frames, scale)
    if found.shape != expected.shape or not torch.equal(found, expected):
        count = int((found != expected).sum()) if found.shape == expected.shape else expected.numel()
        raise ReleaseError(f"{count} of the {expected.numel()} codes that transformers generates greedily with a "
                           f"guidance of {scale:g} are not those of AudioCraft: do not use this release, and report "
                           "it.")


def _step(name: str) -> AbstractContextManager[None]:
    """Say in which step something failed."""
    return explain_errors(lambda message: ReleaseError(
        f"This release cannot be {name} ({message}): mend what it stumbles over, or export with verify=bytes."))


@contextmanager
def _keep_global_state(transformer: Any) -> Iterator[None]:
    """Restore what a training needs: random numbers (transformers draws from those of Python), attention backend."""
    state, backend = random.getstate(), transformer._efficient_attention_backend
    try:
        transformer.set_efficient_attention_backend("torch")  # the other one needs a GPU
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        transformer.set_efficient_attention_backend(backend)
        random.setstate(state)
