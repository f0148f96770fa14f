"""That transformers says what AudioCraft says: both implementations side by side, on a release."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any, Callable

import torch

from ....checkpoint.torch_tensors import from_torch, to_torch
from ....errors import ReleaseError, listing
from ....experiment.config import Config
from ...safetensors.layout import read_json
from ..loading import load_strictly, stored
from .architecture import TEXT_MODEL, layout_of
from .convert import audiocraft_state
from .verify_inputs import Conditions, conditions_of

TOLERANCE = 1e-4  # of logits, in float32
FRAMES = 12  # that are generated, more than any delay
GUIDANCE = (1.0, 3.0)
CONFIG, OTHERS = "config.yaml", "conditioners.safetensors"


def prove_musicgen(folder: Path) -> None:
    """Rebuild AudioCraft's language model from a release in the form of transformers, and compare both.

    Logits for the same codes and conditions are equal within 1e-4, and so is what both generate greedily, without and
    with guidance, if this transformers can generate with such a model: version 4 passes over melodies, and fails for
    decoders alone. The random numbers of a training that may go on are not touched.

    Args:
        folder: of the release: model.safetensors (or its shards), config.json, config.yaml (xp.cfg), and
            conditioners.safetensors if there is one.

    Raises:
        ReleaseError: if one of them cannot be rebuilt, or they differ.
    """
    transformer = _attempt("rebuilt by AudioCraft", partial(import_module, "audiocraft.modules.transformer"))
    with _no_traces(transformer), torch.no_grad():
        config = _attempt("read", lambda: Config.load(folder / CONFIG))
        model = _attempt("loaded by transformers", lambda: loaded(folder))
        lm = _attempt("rebuilt by AudioCraft", lambda: _audiocraft(folder, config))
        conditions = _attempt("conditioned", lambda: conditions_of(folder, layout_of(config), lm, model))
        _attempt("run", lambda: _compare_logits(lm, conditions))
        if _can_generate(model):
            for scale in GUIDANCE if conditions.attributes else GUIDANCE[:1]:
                _attempt("run", partial(_compare_music, lm, conditions, scale))


def loaded(folder: Path) -> Any:
    """The model that transformers loads from a release, in float32.

    Raises:
        ReleaseError: if tensors are missing, too many, or of another shape.
    """
    architecture, = read_json(folder / "config.json")["architectures"]
    model, wrong = load_strictly(architecture, folder, dtype=torch.float32, local_files_only=True)
    if wrong:
        raise ReleaseError(f"{architecture} does not load {folder} as it is ({listing(wrong)}): export it again.")
    return model.eval()


def _can_generate(model: Any) -> bool:
    import transformers
    return int(transformers.__version__.split(".")[0]) >= 5 or type(model).__name__ == TEXT_MODEL


def _audiocraft(folder: Path, config: Config) -> Any:
    """AudioCraft's language model with the weights of the release, as its own loader builds it."""
    from audiocraft.models import builders
    from omegaconf import OmegaConf
    cfg = OmegaConf.create(config.text)
    OmegaConf.update(cfg, "device", "cpu")
    OmegaConf.update(cfg, "dtype", "float32")
    melody = layout_of(config).melody
    if melody:  # files of the machine that trained it
        chroma = cfg.conditioners[melody].chroma_stem
        chroma.update(cache_path=None, eval_wavs=None)
    tensors, others = stored(folder), stored(folder, OTHERS)
    state = audiocraft_state(from_torch(tensors), from_torch(others), config)
    lm = builders.get_lm_model(cfg)
    lm.load_state_dict({name: to_torch(tensor) for name, tensor in state.items()})
    return lm.eval()


def _compare_logits(lm: Any, conditions: Conditions) -> None:
    steps = 2 * lm.n_q + FRAMES
    codes = torch.randint(lm.card + 1, (1, lm.n_q, steps), generator=torch.Generator().manual_seed(0))
    theirs = lm(codes, [], conditions.tensors)
    ours = conditions.logits(codes)[:, -steps:].reshape(theirs.shape)
    difference = float((theirs - ours).abs().max())
    if not difference <= TOLERANCE:
        raise ReleaseError(f"The logits of transformers differ from those of AudioCraft by {difference:.2g}, more than "
                           f"{TOLERANCE:g}: do not use this release, and report it.")


def _compare_music(lm: Any, conditions: Conditions, scale: float) -> None:
    frames = lm.n_q + FRAMES
    theirs = lm.generate(conditions=conditions.attributes, num_samples=1, max_gen_len=frames, use_sampling=False,
                         cfg_coef=scale, two_step_cfg=False)  # two steps would guide by the scale of the training
    ours = conditions.music(frames, scale)
    if ours.shape != theirs.shape or not torch.equal(ours, theirs):
        count = int((ours != theirs).sum()) if ours.shape == theirs.shape else theirs.numel()
        raise ReleaseError(f"{count} of the {theirs.numel()} codes that transformers generates greedily with a "
                           f"guidance of {scale:g} are not those of AudioCraft: do not use this release, and report "
                           "it.")


def _attempt(what: str, step: Callable[[], Any]) -> Any:
    try:
        return step()
    except ReleaseError:
        raise
    except Exception as exc:  # whatever either library stumbles over is the answer
        frame = extract_tb(exc.__traceback__)[-1]
        said = " ".join(str(exc).split()) or f"{frame.line} in {frame.filename}"
        raise ReleaseError(f"This release cannot be {what} ({type(exc).__name__}: {said}): mend what it stumbles over, "
                           "or export with verify=bytes.") from exc


@contextmanager
def _no_traces(transformer: Any) -> Iterator[None]:
    """Leave a training as it is: its random numbers (transformers draws from those of Python), its attention."""
    state, backend = random.getstate(), transformer._efficient_attention_backend
    try:
        transformer.set_efficient_attention_backend("torch")  # the other one needs a GPU
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        transformer.set_efficient_attention_backend(backend)
        random.setstate(state)
