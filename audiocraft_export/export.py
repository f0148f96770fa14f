"""From a signature to a release: the one pipeline, and the only module that joins its rooms."""

from __future__ import annotations

import logging
import platform
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime, timezone
from functools import partial
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Optional, Union

from . import writer
from .checkpoint import HYDRA_CONFIG, Checkpoint, open_checkpoint, open_experiment
from .codec import Codec, find_codec, from_file
from .config import Config, unwrap
from .errors import CheckpointError, ExportError
from .experiment import LAST, AnyPath, Experiment, find_xp
from .families import CODEC_FILE, COMPRESSION, GENERAL, LM_FILE, Family, family_of, solver_of
from .loadback import audiocraft_version, load_back
from .options import ExportOptions
from .release import ExportReport, Manifest, ReleaseFile, best_epoch, model_content, reference_content
from .unpickle import plain
from .version import __version__
from .weights import Weights, choose, pack

logger = logging.getLogger(__name__)
PathOrText = Union[Path, str]
RELEASE_FOLDER = "export"
UNKNOWN_VERSION = "unknown"


def export_xp(sig: str, dora_dir: AnyPath, options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the experiment with a Dora signature.

    Args:
        sig: the signature, or a prefix that only one experiment has.
        dora_dir: the Dora folder, which holds `xps/`.
        options: how.

    Raises:
        ExportError: if there is no such experiment, its checkpoint cannot be released, or the release
            cannot be written or does not verify.
    """
    return export_experiment(find_xp(sig, dora_dir), options)


def export_experiment(xp: Experiment, options: ExportOptions = ExportOptions(),
                      path: Optional[Path] = None) -> ExportReport:
    """Export an experiment that was found.

    Args:
        xp: the experiment.
        options: how.
        path: the checkpoint, if it is not to be found by `options.checkpoint`.

    Raises:
        ExportError: as `export_xp`.
    """
    path = path or xp.checkpoint(options.checkpoint)
    checkpoint = open_experiment(xp, path)
    if path.name == LAST and len(xp.history) > len(checkpoint.history):
        note = f"history.json has {len(xp.history)} epochs, this checkpoint {len(checkpoint.history)}"
        checkpoint = replace(checkpoint, notes=[*checkpoint.notes, f"{note}: the later ones were not stored"])
    return _export(checkpoint, xp.folder, Path(options.folder or xp.folder / RELEASE_FOLDER), options)


def export_checkpoint(path: AnyPath, folder: AnyPath, options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export one checkpoint file, wherever it lies.

    Args:
        path: a training checkpoint.
        folder: where the release goes.
        options: how; `folder` and `checkpoint` of the options do not count here.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    return _export(open_checkpoint(Path(path)), Path(path).absolute().parent, Path(folder), options)


def export_state(sources: Mapping[str, Any], cfg: Any, sig: str, xp_folder: Path,
                 options: ExportOptions = ExportOptions()) -> ExportReport:
    """Export the state of a living solver, for which no checkpoint is on disk.

    Args:
        sources: by the name of the section, what gives its state (`flashy.state.StateDictSource`).
        cfg: the experiment's configuration: OmegaConf, argparse namespace or dict.
        sig: Dora's signature.
        xp_folder: the XP folder.
        options: how; `checkpoint` of the options does not count here.

    Raises:
        ExportError: if it cannot be released, or the release cannot be written or does not verify.
    """
    from .memory import LivingState
    checkpoint = Checkpoint(f"the solver of XP {sig}", LivingState(sources), Config(plain(unwrap(cfg))), "solver", sig)
    return _export(checkpoint, xp_folder, Path(options.folder or xp_folder / RELEASE_FOLDER), options)


def after_training(exc: ExportError, sig: str, xp_folder: Path, options: ExportOptions) -> ExportError:
    """The error to show when a training went well and its export did not: what is safe, and how to go on."""
    if not Experiment(xp_folder, sig).checkpoints:
        return ExportError(f"The training of XP {sig} is finished, but it stored no checkpoint and its export failed: "
                           f"{exc} Store checkpoints, or export from the living solver (ExportMixin).")
    return ExportError(f"The training of XP {sig} is finished and its checkpoints are safe in {xp_folder}, but its "
                       f"export failed: {exc} To export it later: {command_line(xp_folder, sig, options)}")


def command_line(xp_folder: Path, sig: str, options: ExportOptions = ExportOptions()) -> str:
    """The command that exports an experiment to the default folder, ready for a shell."""
    where = [sig, "--dora-dir", str(xp_folder.parent.parent)] if xp_folder.parent.name == "xps" else [str(xp_folder)]
    flags = [word for field in fields(options) if field.name != "folder"
             for word in (f"--{field.name}", str(getattr(options, field.name)))
             if getattr(options, field.name) != field.default]
    return shlex.join(["audiocraft-export", "run", *where, *flags])


def export_lm(checkpoint_path: PathOrText, out_file: PathOrText) -> PathOrText:
    """Drop-in for `audiocraft.utils.export.export_lm`: the best state of a language model.

    Args:
        checkpoint_path: a training checkpoint.
        out_file: the file to write.

    Returns:
        `out_file`.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    checkpoint = open_checkpoint(Path(checkpoint_path))
    if family_of(checkpoint.config) is COMPRESSION:
        raise CheckpointError(f"{checkpoint_path} is a compression model (solver=compression): use export_encodec.")
    return _export_best(checkpoint, out_file)


def export_encodec(checkpoint_path: PathOrText, out_file: PathOrText) -> PathOrText:
    """Drop-in for `audiocraft.utils.export.export_encodec`: the best state of a compression model.

    Args:
        checkpoint_path: a training checkpoint.
        out_file: the file to write.

    Returns:
        `out_file`.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    checkpoint = open_checkpoint(Path(checkpoint_path))
    family = family_of(checkpoint.config)
    if family not in (COMPRESSION, GENERAL):
        raise CheckpointError(f"{checkpoint_path} is {family.kind} (solver={solver_of(checkpoint.config)}): "
                              "use export_lm.")
    return _export_best(checkpoint, out_file)


def export_pretrained_compression_model(pretrained_encodec: str, out_file: PathOrText) -> PathOrText:
    """Drop-in for `audiocraft.utils.export.export_pretrained_compression_model`.

    Args:
        pretrained_encodec: name of a public model without `//pretrained/`, such as `facebook/encodec_32khz`, or the
            path of a compression model that was exported before.
        out_file: the file to write.

    Returns:
        `out_file`.

    Raises:
        ExportError: if it cannot be exported or written.
    """
    path = Path(pretrained_encodec)
    content = from_file(path, _version_tag(None)).content if path.exists() else \
        reference_content(pretrained_encodec, _version_tag(None))
    writer.write_single(Path(out_file), ReleaseFile(CODEC_FILE, content))
    return out_file


def _export_best(checkpoint: Checkpoint, out_file: PathOrText) -> PathOrText:
    weights = pack(choose(checkpoint, "best"), None)
    content = model_content(weights.state, checkpoint.config.text, _version_tag(None))
    writer.write_single(Path(out_file), ReleaseFile(LM_FILE, content))
    return out_file


def _export(checkpoint: Checkpoint, xp_folder: Path, folder: Path, options: ExportOptions) -> ExportReport:
    folder = folder.absolute()
    family = family_of(checkpoint.config)
    tag = _version_tag(options.version)
    weights = pack(choose(checkpoint, options.weights), options.dtype)
    codec = find_codec(checkpoint.config, xp_folder, tag) if family.codec and options.codec == "auto" else None
    files = [ReleaseFile(family.file, model_content(weights.state, checkpoint.config.text, tag))]
    if codec is not None:
        files.append(ReleaseFile(CODEC_FILE, codec.content))
    draft = _draft(checkpoint, family, weights, codec, options, tag)
    existing = Manifest.load(folder)
    if existing is not None and _would_repeat(existing, draft, files) and writer.is_intact(folder, existing):
        if options.verify == "load":
            load_back(folder, family)
        return ExportReport(folder, existing, written=False)

    for warning in draft.warnings:
        logger.warning("%s: %s", checkpoint.where, warning)
    stale = {file.name for file in existing.files} & {LM_FILE, CODEC_FILE} if existing else set()
    manifest = writer.write_release(folder, files, stale, describe=lambda written: replace(draft, files=written),
                                    check=partial(_verify, family=family, verify=options.verify))
    return ExportReport(folder, manifest)


def _would_repeat(existing: Manifest, draft: Manifest, files: list[ReleaseFile]) -> bool:
    """Whether an export would make the release that is there; the state of a living solver is always a new one."""
    return draft.checkpoint is not None and existing.key == draft.key \
        and [file.name for file in existing.files] == [file.name for file in files]


def _verify(folder: Path, family: Family, verify: str) -> None:
    if verify != "none":
        writer.read_back(folder)
    if verify == "load":
        load_back(folder, family)


def _draft(checkpoint: Checkpoint, family: Family, weights: Weights, codec: Optional[Codec],
           options: ExportOptions, tag: str) -> Manifest:
    """The manifest but for the files, which are not written yet."""
    tensors = weights.tensors.values()
    return Manifest(
        sig=checkpoint.sig,
        solver=solver_of(checkpoint.config),
        epoch=len(checkpoint.history),
        weights=weights.source,
        why=weights.why,
        tensors=len(tensors),
        parameters=sum({id(tensor.blob): tensor.numel for tensor in tensors}.values()),
        dtypes=dict(sorted(Counter(tensor.dtype for tensor in tensors).items())),
        files=[],
        checkpoint=asdict(checkpoint.source) if checkpoint.source else None,
        codec=codec.origin if codec else None,
        config=checkpoint.config_source,
        config_sha256=sha256(checkpoint.config.text.encode()).hexdigest(),
        best=best_epoch(checkpoint.history, family.metrics),
        options={"weights": options.weights, "dtype": options.dtype, "codec": options.codec, "version": tag},
        warnings=list(_warnings(checkpoint, codec, family, tag)),
        versions={"audiocraft": tag, "audiocraft-export": __version__,
                  "python": platform.python_version(), "torch": version("torch"), "omegaconf": version("omegaconf")},
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _warnings(checkpoint: Checkpoint, codec: Optional[Codec], family: Family, tag: str) -> Iterator[str]:
    yield from checkpoint.notes
    if checkpoint.strangers:
        yield f"ignored in the checkpoint, neither imported nor released: {', '.join(checkpoint.strangers)}"
    if codec is not None and codec.strangers:
        yield f"ignored in that of the compression model: {', '.join(codec.strangers)}"
    if checkpoint.sig is None:
        yield "the checkpoint holds no signature (xp.sig): nothing proves that it belongs to this experiment"
    if checkpoint.config_source == HYDRA_CONFIG.as_posix():
        yield f"the checkpoint holds no configuration (xp.cfg): it was taken from {checkpoint.config_source}"
    if not checkpoint.history:
        yield "no epoch was finished when this state was stored"
    if family.audiocraft and tag == UNKNOWN_VERSION:
        yield "AudioCraft is not installed here and no version was given: the release is tagged unknown"


def _version_tag(asked: Optional[str]) -> str:
    return asked or audiocraft_version() or UNKNOWN_VERSION
