"""A real release for model cards."""

from importlib.util import find_spec

import pytest
from helpers import PROCESSOR, SIG, model_state
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint

from .releases import CONFIGS, HISTORY

collect_ignore_glob = [] if find_spec("huggingface_hub") and find_spec("matplotlib") else ["*"]


@pytest.fixture
def release(make_xp, dora_dir):
    """Export a release; return its manifest, configuration and history."""
    def make(cfg=CONFIGS["musicgen"], history=HISTORY, **options):
        state = {f"{part}.{name}": value for part in ("generator", "detector")
                 for name, value in model_state().items()} if cfg.get("solver") == "watermarking" else model_state(3)
        folder = make_xp(**{"xp.cfg": OmegaConf.create(cfg), "history": history, "sample_processor": PROCESSOR,
                            "best_state": {"model": state}})
        manifest = export_xp(SIG, dora_dir, ExportOptions(version="1.3.0", **options)).manifest
        checkpoint = open_checkpoint(folder / "checkpoint.th")
        return manifest, checkpoint.config, checkpoint.history
    return make
