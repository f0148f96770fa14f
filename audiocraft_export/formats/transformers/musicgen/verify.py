"""Verify a released language model: AudioCraft and transformers must give equal logits and generated codes."""

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
from ...audiocraft.rebuild import SKIP
from ...safetensors.layout import read_json
from ..loading import explain_errors, load_safetensors, load_strictly
from ..model_files import CONFIG, OTHERS
from .architecture import TEXT_MODEL, layout_of
from .convert import from_musicgen
from .verify_inputs import Conditions, build_conditions

TOLERANCE = 1e-4  # largest allowed difference of float32 logits
FRAMES = 12  # frames to generate, more than any delay
GUIDANCE = (1.0, 3.0)
REPORT = "do not use this release, and report this error"  # a hint


def verify_musicgen(folder: Path) -> None:
    """Load a release in the transformers format with AudioCraft and with transformers, and compare the outputs.

    Logits for the same codes and conditions must be equal within `TOLERANCE`. Codes that are generated greedily, with
    and without guidance, must be equal; they are compared only if the installed transformers can generate with the
    model (transformers 4 ignores melodies, and fails for decoders without text encoder). The random state is kept, for
    a training that continues afterwards.

    Raises:
        ReleaseError: if either library cannot load the release, or the outputs differ.
    """
    with _step("loaded by AudioCraft"):
        transformer = import_module("audiocraft.modules.transformer")
    with _keep_global_state(transformer), torch.no_grad():
        with _step("read"):
            config = Config.load(folder / CONFIG)
        with _step("loaded by transformers"):
            model = load_musicgen(folder)
        with _step("loaded by AudioCraft"):
            lm = _load_audiocraft(folder, config)
        with _step("given conditions"):
            conditions = build_conditions(folder, layout_of(config), lm, model)
        with _step("run"):
            _compare_logits(lm, conditions)
            if int(transformers.__version__.split(".")[0]) >= 5 or type(model).__name__ == TEXT_MODEL:
                for scale in GUIDANCE if conditions.attributes else GUIDANCE[:1]:
                    _compare_music(lm, conditions, scale)


def load_musicgen(folder: Path) -> Any:
    """Load the model of a release with transformers in float32.

    Raises:
        ReleaseError: if weights are missing, unexpected or of another shape.
    """
    architecture, = read_json(folder / "config.json")["architectures"]
    model, wrong = load_strictly(architecture, folder, dtype=torch.float32, local_files_only=True)
    if wrong:
        raise ReleaseError("load-failed", f"{folder} does not load in transformers as a complete {architecture}: "
                           f"{listing(wrong)}", "export it again")
    return model.eval()


def _load_audiocraft(folder: Path, config: Config) -> Any:
    """Load AudioCraft's language model with the weights of the release, as AudioCraft's own loader does."""
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    cfg = OmegaConf.create({**config.values, "device": "cpu", "dtype": "float32"})
    melody = layout_of(config).melody
    if melody:  # paths on the machine of the training
        cfg.conditioners[melody].chroma_stem.update(cache_path=None, eval_wavs=None)
    state = from_musicgen(from_torch(load_safetensors(folder)), from_torch(load_safetensors(folder, OTHERS)), config)
    lm = builders.get_lm_model(cfg)
    lm.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    return lm.eval()


def _compare_logits(lm: Any, conditions: Conditions) -> None:
    """Compare the logits for random codes."""
    steps = 2 * lm.n_q + FRAMES
    codes = torch.randint(lm.card + 1, (1, lm.n_q, steps), generator=torch.Generator().manual_seed(0))
    expected = lm(codes, [], conditions.tensors)
    found = conditions.logits(codes)[:, -steps:].reshape(expected.shape)
    difference = float((expected - found).abs().max())
    if not difference <= TOLERANCE:
        raise ReleaseError("load-mismatch", "The logits of transformers and AudioCraft differ by "
                           f"{difference:.2g} (tolerance {TOLERANCE:g})", REPORT)


def _compare_music(lm: Any, conditions: Conditions, scale: float) -> None:
    """Compare greedily generated codes for a guidance scale."""
    frames = lm.n_q + FRAMES
    expected = lm.generate(conditions=conditions.attributes, num_samples=1, max_gen_len=frames, use_sampling=False,
                         cfg_coef=scale, two_step_cfg=False)  # two steps would use the guidance of the training
    found = conditions.music(frames, scale)
    if found.shape != expected.shape or not torch.equal(found, expected):
        count = int((found != expected).sum()) if found.shape == expected.shape else expected.numel()
        raise ReleaseError("load-mismatch", f"transformers and AudioCraft generate different codes: {count} of "
                           f"{expected.numel()} differ (greedy generation, guidance {scale:g})", REPORT)


def _step(name: str) -> AbstractContextManager[None]:
    """Convert exceptions to a ReleaseError that names the step."""
    return explain_errors(lambda message: ReleaseError(
        "load-failed", f"This release cannot be {name}: {message}", SKIP))


@contextmanager
def _keep_global_state(transformer: Any) -> Iterator[None]:
    """Keep the random state (transformers also uses that of Python) and the attention backend of a training."""
    state, backend = random.getstate(), transformer._efficient_attention_backend
    try:
        transformer.set_efficient_attention_backend("torch")  # the other backend needs a GPU
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        transformer.set_efficient_attention_backend(backend)
        random.setstate(state)
