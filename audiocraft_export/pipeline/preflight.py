"""Check an export before anything is written, or before its training starts."""

import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

from ..checkpoint.plain_config import to_plain
from ..checkpoint.tensor import LazyTensor
from ..errors import CheckpointError, ReleaseError, listing, permission_hint, reason
from ..experiment.config import Config, to_container
from ..experiment.privacy.scrub import scrub_config
from ..experiment.walk import find, walk
from ..experiment.xp import HYDRA_SETTINGS, MANIFEST, AnyPath, Experiment
from ..formats.registry import FORMATS, is_looked_for, refuse_family, require_loader
from ..options import AUDIOCRAFT, ExportOptions
from ..release.content import Content, Tensors, has_bytes, text_bytes
from ..release.families.registry import CODEC_FILE, OWN_NAMES, family_of
from ..release.manifest import CARD_FILES, SIGNATURE, Manifest
from ..release.owned_files import (
    SIGNING_FILES,
    OwnedFiles,
    refuse_other_experiment,
    refuse_training_checkpoint,
    refuse_training_folder,
    refuse_unreadable_release,
    signing_files_in,
)
from ..release.weights import refuse_missing_weights
from ..requirements import require_packages
from ..sharing.endpoint import check_endpoint
from ..signing.check import other_files
from ..signing.keys import read_private_key
from ..signing.signer import Signer
from ..signing.statement import IGNORED
from ..storage.staging import will_be_removed
from ..storage.swap import refuse_non_files
from ..storage.writer import check_writable, resolve_output
from .previous_scrub import refuse_dropped_scrub, with_previous_scrub


def check_before_training(xp: Experiment, cfg: Any, options: ExportOptions) -> None:
    """Check an export as far as possible before its training.

    Args:
        xp: the experiment.
        cfg: the configuration of the experiment: OmegaConf, argparse namespace or dict.
        options: how to export.

    Raises:
        ExportError: if the export would fail at the end of the training.
    """
    check_requirements(options)
    if options.hub:
        from ..sharing.hub.errors import require_token  # imports http, which few exports need
        require_token(options.hub)
    refuse_training_checkpoint(options.release_folder(xp.folder))
    folder, home = resolve_output(options.release_folder(xp.folder).absolute()), Path(os.path.realpath(xp.folder))
    refuse_training_folder(folder, [home])
    if not options.force:
        refuse_unreadable_release(folder)
    previous = Manifest.unverified(folder)
    is_known = previous.get("sig") is not None or isinstance(previous.get("bands"), list)
    if is_known and not options.force:  # without an XP signature, only the checkpoint can prove the experiment
        refuse_other_experiment(previous, {"sig": xp.sig}, folder, [home])
    if options.sign is not None:
        refuse_unsigned_files(folder, options.sign, {
            *_replaced(folder, options.format), *OWN_NAMES, MANIFEST, *signing_files_in(folder)})
    refuse_non_files(folder, _names_beside_model(options.has_card))
    check_writable(folder)
    if options.config is not None:
        Config.load(Path(options.config))
    try:
        config = Config(to_plain(to_container(cfg))).with_choices(xp.folder / HYDRA_SETTINGS)
    except CheckpointError:  # the export checks the configuration in the checkpoint again
        return
    family = family_of(config, options.family)
    refuse_missing_weights(config, options.weights)
    refuse_family(options.format, config, family)
    names = family.names if options.format == AUDIOCRAFT else ()
    refuse_other_weights(folder, options.format, xp.sig, lambda: {*names, *_listed(folder)})
    options = with_previous_scrub(folder, options)
    refuse_dropped_scrub(folder, options, {family.names[0]: {"xp.cfg": scrub_config(config, options.patterns).text}})
    if options.verify == "load":
        require_loader(options.format, family)


def check_requirements(options: ExportOptions) -> None:
    """Check the packages for the format, the model card, the Hub and the signature, and its key.

    Raises:
        ReleaseError: if a package is missing or too old, HF_ENDPOINT is invalid and the Hub client reads it, or the key
            of the signature cannot be read.
    """
    if options.format != AUDIOCRAFT or options.has_card or options.hub:
        check_endpoint()  # before the first import of huggingface_hub
    card = ("huggingface_hub", "matplotlib") if options.has_card else ()
    require_packages(f"format={options.format}", *FORMATS[options.format].requires, others=card)
    require_packages("A model card (disable it with card=false or --no-card)", *card)
    if options.hub:
        require_packages("Pushing to the Hub", "huggingface_hub")
    if options.sign is not None:
        read_private_key(options.sign)


def refuse_other_weights(folder: Path, format: str, sig: Optional[str],
                         own: Callable[[], Collection[str]]) -> None:
    """Refuse a folder with files that a loader would read instead of the release, such as `model.fp16.safetensors`.

    The user may add a compression model, as that of a language model that is released without it (`codec=none`).

    Args:
        folder: the release folder.
        format: the format of the release.
        sig: the signature of its experiment.
        own: returns the names of the files of the new and of the previous release; called only if it matters.

    Raises:
        ReleaseError: if the folder has such a file.
    """
    names = []
    with suppress(OSError):
        names = os.listdir(folder)
    read = {name for name in names if is_looked_for(format, name, sig)}
    read -= {CODEC_FILE} if format == AUDIOCRAFT else set()
    found = sorted(read - {*own()}) if read else []
    if found:
        raise ReleaseError("file-exists", f"{folder / found[0]} exists and does not belong to the release, but a "
                           "loader would read it", "move it, or choose another folder")


def refuse_unsigned_files(folder: Path, key: AnyPath, signed: Collection[str]) -> None:
    """Refuse to sign a folder with other files than those of its release: a signature covers all files of a folder.

    Args:
        folder: the release folder.
        key: the private key, which must not be published with the release.
        signed: the names of the files that belong to the new release, or are removed with the previous one.

    Raises:
        ReleaseError: if the folder has other files, or the private key.
    """
    if folder in Path(os.path.realpath(key)).parents:
        raise ReleaseError("invalid-key", f"The private key {key} is in the release folder {folder}",
                           "move it to a folder that is not shared")
    try:
        names = other_files(folder, {*IGNORED} - {SIGNATURE}) if os.path.isdir(folder) else []
    except OSError as exc:
        raise ReleaseError("read-failed", f"Cannot read {folder}: {reason(exc)}", permission_hint(exc)) from exc
    found = [name for name in names if name not in signed and not will_be_removed(folder / name.partition("/")[0])]
    if found:
        raise ReleaseError("unsigned-files", f"A signature covers all files of {folder}, but {listing(found)} "
                           f"{'does' if len(found) == 1 else 'do'} not belong to the release",
                           "move them, choose another folder, or export without sign")


def check_folder(folder: Path, files: Mapping[str, Content], owned: OwnedFiles, signer: Signer,
                 has_card: bool = False) -> None:
    """Check that files and their manifest may be written to a folder.

    Free disk space is checked later, by the writer: a release that is up to date needs none.

    Args:
        folder: the output folder.
        files: content by file name.
        owned: the files in the folder that may be replaced.
        signer: signs the release.
        has_card: whether a model card is written to the folder.

    Raises:
        ReleaseError: if the folder belongs to a training; if a release of another experiment, an unrelated file, a
            folder or a pipe would be replaced; if a loader would read another file; or if unrelated files would be
            signed.
    """
    refuse_training_folder(folder, owned.xp_folders)
    refuse_non_files(folder, [*files, *_names_beside_model(has_card)])
    owned.refuse_unrelated_files(folder, lambda path: _may_hold(path, files[path.name]))
    refuse_other_weights(folder, owned.manifest.release_format, owned.manifest.sig,
                         lambda: {*files, *_listed(folder)})
    if signer.key is not None:
        refuse_unsigned_files(folder, signer.key, {*files, MANIFEST, *owned.stale_files(folder)})


def _names_beside_model(has_card: bool) -> list[str]:
    """Return the names of the files that an export may write or remove beside those of the model."""
    return [MANIFEST, *SIGNING_FILES, *(CARD_FILES if has_card else ())]


def _listed(folder: Path) -> set[str]:
    """Return the names of the files of the release in a folder, as far as they are known."""
    return {file.name for file in Manifest.unverified_files(folder)}


def _replaced(folder: Path, format: str) -> set[str]:
    """Return the names of the files in a folder that a new release replaces or removes, judging by their sizes.

    A changed file is replaced by one of the same name, but not removed, because it may be of the user.
    """
    is_same_format = find(Manifest.unverified(folder), ("options", "format"), AUDIOCRAFT) == format
    return {file.name for file in Manifest.unverified_files(folder)
            if is_same_format or _has_size(folder / file.name, file.bytes)}


def _has_size(path: Path, nbytes: int) -> bool:
    with suppress(OSError):
        return os.path.getsize(path) == nbytes
    return True  # a missing file is not signed


def _may_hold(path: Path, content: Content) -> bool:
    """Return whether a file may already have the given content; of tensors only the size is compared."""
    data = text_bytes(content)
    if data is not None:
        return has_bytes(path, data)
    leaves = walk(content.tensors if isinstance(content, Tensors) else content)
    storages = {id(leaf.blob): leaf.blob.nbytes for _, leaf in leaves if isinstance(leaf, LazyTensor)}
    return os.path.getsize(path) >= sum(storages.values())
