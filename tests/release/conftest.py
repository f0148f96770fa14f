"""Fixtures: XPs of models with several release files."""

import pytest
from helpers import AUDIOSEAL, DIFFUSION, PROCESSOR, SIG, command, model_state
from omegaconf import OmegaConf


@pytest.fixture
def make_band(make_xp):
    """Write the XP of a band."""
    def make(index, bands=4, sig=None, sample_processor=PROCESSOR, **changes):
        cfg = {**DIFFUSION, "filter": {"use": True, "n_bands": bands, "idx_band": index, "cutoffs": None}, **changes}
        sig = sig or f"0000000{index}"
        make_xp(sig, **{"xp.cfg": OmegaConf.create(cfg), "sample_processor": sample_processor,
                        "best_state": {"model": model_state(10 + index)}})
        return sig
    return make


@pytest.fixture
def make_watermark(make_xp):
    def make(sig=SIG, state=None, **changes):
        state = state or {f"{part}.{name}": value for seed, part in enumerate(("generator", "detector"))
                          for name, value in model_state(seed).items()}
        make_xp(sig, **{"xp.cfg": OmegaConf.create({**AUDIOSEAL, **changes}), "best_state": {"model": state}})
        return sig
    return make


@pytest.fixture
def bands(tmp_path, dora_dir):
    """Release bands with the command; return its exit code and output."""
    def run(*sigs, folder="mbd", flags=()):
        result = command("run", "--bands", *sigs, "--dora-dir", dora_dir, "--folder", tmp_path / folder, *flags,
                         cwd=tmp_path)
        assert "Traceback" not in result.stderr
        return result
    return run
