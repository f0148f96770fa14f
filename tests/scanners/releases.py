"""Releases of every family in every format, made from checkpoints as AudioCraft's solvers write them."""

from functools import partial

import torch
from formats.transformers.encodec import scene as encodec
from formats.transformers.musicgen import scene as musicgen
from helpers import AUDIOSEAL, DIFFUSION, NEW_DTYPES, PROCESSOR, model_state, solver_state, with_cfg
from omegaconf import OmegaConf

from audiocraft_export import ExportOptions, export_xp
from audiocraft_export.checkpoint.checkpoint import open_checkpoint
from audiocraft_export.checkpoint.torch_tensors import to_torch
from audiocraft_export.pipeline.export import export_bands

CODEC, PRETRAINED = "c0dec000", "//pretrained/facebook/encodec_32khz"
FORMATS = ("audiocraft", "safetensors")
ENCODEC = ("sample_rate=32000", "rvq.n_q=4", f"rvq.bins={musicgen.CARD}")
TIED = torch.arange(24.0).view(4, 6)
ODD = {
    "tied": TIED, "again": TIED, "view": TIED[1:, 2:], "transposed": torch.ones(3, 2).t(), "empty": torch.empty(0, 3),
    "scalar": torch.tensor(3), "bool": torch.tensor([True, False]), "complex": torch.ones(2).cfloat(),
    "nan": torch.tensor([float("nan"), -0.0]), "parameter": torch.nn.Parameter(torch.ones(2)),
    "extra": {"bytes": b"\0\xff", "int": 1 << 100, "float": 0.1, "none": None, "tuple": (1, (2,)), 3: [True, "é"]},
}
NEW = {dtype: torch.arange(64, dtype=torch.uint8).view(getattr(torch, dtype)) for dtype in NEW_DTYPES}
FLOAT8 = {dtype: NEW[dtype] for dtype in ("float8_e4m3fn", "float8_e5m2")}


def language_model(solver, codec=f"//sig/{CODEC}"):
    return {"xp.cfg": with_cfg(solver=solver, compression_model_checkpoint=codec)}


def band(index):
    split = {"use": True, "n_bands": 2, "idx_band": index, "cutoffs": None}
    return {"xp.cfg": OmegaConf.create({**DIFFUSION, "filter": split}), "sample_processor": PROCESSOR}


public = partial(language_model, codec=PRETRAINED)
CHECKPOINTS = {  # sections of the checkpoint, by family
    "musicgen": {"xp.cfg": musicgen.settings("lut"), "best_state": {"model": {
        **musicgen.weights(cross=True), "condition_provider.conditioners.genre.embed.weight": torch.ones(8, 4),
        "condition_provider.conditioners.genre.output_proj.weight": torch.ones(musicgen.DIM, 4),
        "condition_provider.conditioners.genre.output_proj.bias": torch.ones(musicgen.DIM)}}},
    "audiogen": language_model("audiogen"), "magnet": public("magnet"), "audio_magnet": public("audio_magnet"),
    "jasco": public("jasco"), "lm": public("lm"), "sound_lm": language_model("sound_lm"),
    "compression": {
        "xp.cfg": OmegaConf.merge(encodec.CONFIG, OmegaConf.from_dotlist(["solver=compression", *ENCODEC])),
        "best_state": {"model": {name: to_torch(tensor) for name, tensor in
                                 encodec.content_with(*ENCODEC)["best_state"].items()}}},
    "diffusion": band(0),
    "watermarking": {"xp.cfg": OmegaConf.create(AUDIOSEAL), "best_state": {"model": {
        f"{part}.{name}": value for part in ("generator", "detector") for name, value in model_state(4).items()}}},
    "general": {},
}
MORE = {"second_band": band(1), **{kind: {"best_state": {"model": state}}
                                   for kind, state in (("odd", ODD), ("new", NEW), ("float8", FLOAT8))}}
CASES = {  # the family or kind of checkpoint, and options, by the name of the release
    **{f"{family}-{format}": (family, {"format": format}) for family in CHECKPOINTS for format in FORMATS},
    **{f"{kind}-{format}": (kind, {"format": format}) for kind in ("odd", "float8") for format in FORMATS},
    "new-audiocraft": ("new", {}),
    **{f"{family}-{dtype}": (family, {"dtype": dtype}) for family, dtype in
       [("musicgen", "float16"), ("compression", "bfloat16"), ("general", "float32")]},
    **{f"{family}-transformers": (family, {"format": "transformers"}) for family in ("musicgen", "compression")},
    "musicgen-sharded": ("musicgen", {"format": "safetensors", "max_shard_size": 4000}),
}
BANDS = {f"bands-{format}": {"format": format} for format in FORMATS}
NAMES = [*CASES, *BANDS]


def make_releases(folder):
    """Write all releases, each in a subfolder with its name."""
    sigs = {kind: f"{index:08x}" for index, kind in enumerate({**CHECKPOINTS, **MORE})}
    sigs["compression"] = CODEC
    xps = folder.parent / "outputs" / "xps"
    for kind, sections in {**CHECKPOINTS, **MORE}.items():
        (xps / sigs[kind]).mkdir(parents=True)
        torch.save(solver_state(**{"sig": sigs[kind], **sections}), xps / sigs[kind] / "checkpoint.th")
    for name, (kind, options) in CASES.items():
        export_xp(sigs[kind], xps.parent, ExportOptions(version="1.3.0", folder=folder / name, **options))
    checkpoints = [open_checkpoint(xps / sigs[kind] / "checkpoint.th") for kind in ("diffusion", "second_band")]
    for name, options in BANDS.items():
        export_bands(checkpoints, folder / name, ExportOptions(version="1.3.0", **options))
