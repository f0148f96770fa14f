"""File name patterns of releases, and which files of a folder an export may replace; others are never touched."""

import hashlib
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Optional

from .. import progress
from ..checkpoint.checkpoint import CHECKPOINT, CONFIG_OPTION
from ..checkpoint.torch_file import TorchFile
from ..errors import CheckpointError, ReleaseError
from ..experiment.xp import ARGV, CHECKPOINT_NAME, HYDRA_CONFIG, MANIFEST, XPS
from ..storage.durable_file import WrittenFile
from .families import audioseal
from .families.registry import FAMILIES, GENERAL_FAMILY, OWN_NAMES
from .manifest import Manifest

_CHUNK_SIZE = 1 << 20  # bytes
_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors|\.safetensors\.index\.json"
_SAFETENSORS = (rf"(compression_)?model({_SHARD}|\.json)", r"(compression_)?config(_\d+)?\.yaml",
                rf"(generator|detector)_{{}}({_SHARD})")
_TRANSFORMERS = (r"(|generation_|preprocessor_|processor_|tokenizer_)config\.json", r"tokenizer\.json",
                 r"(special_tokens_map|added_tokens)\.json", r"spiece\.model", r"conditioners\.safetensors")


def is_release_file(name: Any, sig: Optional[str]) -> bool:
    """Whether a file of a release may have this name, which stands in a manifest with that signature."""
    return isinstance(name, str) and _is_release_name(name, re.escape(audioseal.name_of(sig)))


def release_file_names(manifest: Manifest) -> list[str]:
    """The files of a release by its manifest, but for names that no file of a release has."""
    return [file.name for file in manifest.files if is_release_file(file.name, manifest.sig)]


def is_torch_file(name: str) -> bool:
    """Whether a file of a release is one of torch."""
    return name.endswith((".bin", ".pth"))


class OwnedFiles:
    """Which files of a folder belong to a release: only those give way to the files of a new one, `names`.

    Args:
        manifest: that of the new release: one of another experiment gives way only with `force`.
        xp_folders: of its experiments; in the folders in them, a release without a signature is theirs.
    """

    def __init__(self, names: Collection[str], manifest: Manifest, xp_folders: Collection[Path] = (),
                 force: bool = False) -> None:
        self._names, self._manifest, self._force = frozenset(names), manifest, force
        self.xp_folders = [Path(os.path.realpath(each)) for each in xp_folders]

    @staticmethod
    def owns(name: str) -> bool:
        """Whether some release may have a file of this name."""
        return name == MANIFEST or _is_release_name(name, r"[\w-]+")

    def stale_files(self, folder: Path) -> set[str]:
        """The unchanged files of the previous release in a folder that the new one does not have."""
        previous = Manifest.load_or_none(folder)
        names = {*OWN_NAMES, *(release_file_names(previous) if previous else ())} - self._names
        return {file.name for file in Manifest.unverified_files(folder)
                if file.name in names and matches_manifest(folder, file)}

    def replaced_release(self, folder: Path) -> Optional[str]:
        """Which release in a folder gives way to the new one, for a message; None if there is none."""
        previous = Manifest.load_or_none(folder)
        if previous is None:
            return None if self._previous_values(folder) is None else "a damaged release"
        is_same = _is_same_experiment(vars(previous), vars(self._manifest))
        whose = "" if is_same else f" of another experiment ({previous.name})"
        made = "" if previous.epoch is None else f" made after epoch {previous.epoch}"
        return f"the release{whose}{made if previous.weights_epoch is None else f' of epoch {previous.weights_epoch}'}"

    def refuse_foreign_files(self, folder: Path, may_be_same: Callable[[Path], bool]) -> None:
        """Refuse to replace a release of another experiment, or files of no release, such as a person's `config.yaml`.

        A file that may have the bytes of the new one is no loss: a killed export leaves such without their manifest.

        Raises:
            ReleaseError: if there is one.
        """
        if not self._force:
            refuse_other_experiment(self._previous_values(folder), vars(self._manifest), folder, self.xp_folders)
        owned = {*OWN_NAMES, *(file.name for file in Manifest.unverified_files(folder))}
        for path in (folder / name for name in sorted(self._names - owned)):
            if os.path.lexists(path) and not (os.path.isfile(path) and may_be_same(path)):
                raise ReleaseError(f"{path} is there already, and no file of a release by its manifest: move it away, "
                                   "or choose another folder.")

    def _previous_values(self, folder: Path) -> Optional[Mapping[str, Any]]:
        """What is known of the release in a folder, even of one without a valid manifest; None if there is none."""
        bare = [folder / name for name in OWN_NAMES if name in self._names and os.path.lexists(folder / name)]
        if not bare and not os.path.lexists(folder / MANIFEST):
            return None
        return Manifest.unverified(folder) or (_read_config(bare[0]) if bare else {})


def refuse_other_experiment(previous: Optional[Mapping[str, Any]], new: Mapping[str, Any], folder: Path,
                            xp_folders: Collection[Path]) -> None:
    """Refuse to replace the release in a folder, unless it is shown to be of the same experiment as the new one.

    Args:
        previous: values of its manifest, as far as they are known; None if there is none.
        new: those of the new release.
        xp_folders: of the experiments of the new release.

    Raises:
        ReleaseError: if it may be of another one.
    """
    if previous is None or _is_same_experiment(previous, new):
        return
    sigs = [part.get("sig") for part in _parts(previous)]
    if sigs == [None] and folder.parent in xp_folders:
        return
    whose = ", ".join(str(sig or "without a signature") for sig in sigs)
    raise ReleaseError(f"{folder} has the release of another experiment ({whose}): choose another folder, or replace "
                       "it with force=true (--force).")


def refuse_training_folder(folder: Path, xp_folders: Collection[Path]) -> None:
    """Refuse a release folder that belongs to a training, that of one of these XP folders or any other.

    Raises:
        ReleaseError: if it holds a training checkpoint, or is an XP folder or a Dora folder.
    """
    if what := _describe_training_folder(folder, xp_folders):
        raise ReleaseError(f"{folder} is no folder for a release: it {what}. Choose another folder.")


def refuse_training_checkpoint(path: Path) -> None:
    """Refuse to replace a file that is a training checkpoint.

    Raises:
        CheckpointError: if it is one.
    """
    if os.path.isfile(path) and _is_training_checkpoint(path):
        raise CheckpointError(f"The release would take the place of the training checkpoint {path}: write it "
                              "elsewhere.")


def matches_manifest(folder: Path, file: WrittenFile) -> bool:
    """Whether a file of a release folder has the size and the checksum in its manifest."""
    sha256 = hashlib.sha256()
    try:
        if os.path.getsize(folder / file.name) != file.bytes:
            return False
        with open(folder / file.name, "rb") as stream:
            while chunk := stream.read(_CHUNK_SIZE):
                sha256.update(chunk)
                progress.advance(len(chunk))
    except OSError:
        return False
    return sha256.hexdigest() == file.sha256


def _is_release_name(name: str, sig: str) -> bool:
    """Whether a name matches a pattern of any format, where `sig` is a regular expression for the signature."""
    families = {family.names for family in (GENERAL_FAMILY, *FAMILIES.values())}
    own = [re.escape(each).replace(r"\{\}", "{}") for names in families for each in names]
    return any(re.fullmatch(pattern.replace("{}", sig), name) for pattern in (*own, *_SAFETENSORS, *_TRANSFORMERS))


def _is_training_checkpoint(path: Path) -> bool:
    try:
        return TorchFile.read(path).is_training
    except CheckpointError:
        return False


def _describe_training_folder(folder: Path, xp_folders: Collection[Path]) -> Optional[str]:
    names = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    for name in names:
        path = folder / name
        if os.path.isfile(path) and (CHECKPOINT_NAME.fullmatch(name) or _is_training_checkpoint(path)):
            return f"holds the training checkpoint {name}"
    if folder in xp_folders or {ARGV, HYDRA_CONFIG.parts[0]} & {*names}:
        return "is an XP folder"
    homes = [each.parent for each in xp_folders if each.parent.name == XPS or os.path.lexists(each / ARGV)]
    is_dora = folder in homes or folder in [home.parent for home in homes] or os.path.isdir(folder / XPS)
    return "is a Dora folder" if is_dora or folder.name == XPS and os.path.isdir(folder) else None


def _read_config(path: Path) -> Mapping[str, Any]:
    """What a release without a manifest says of its experiment."""
    try:
        text = TorchFile.read(path).state.get("xp.cfg")
    except CheckpointError:
        text = None
    if not isinstance(text, str):
        return {}
    return {"config": CHECKPOINT, "config_sha256": hashlib.sha256(text.encode()).hexdigest()}


def _parts(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The experiments of a release by its manifest, which may be of any types."""
    bands = values.get("bands")
    return [band for band in bands if isinstance(band, dict)] if isinstance(bands, list) else [values]


def _is_same_experiment(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two releases are shown to be of the same experiments, by what their manifests say."""
    ones, others = _parts(one), _parts(other)
    return len(ones) == len(others) and all(map(_is_same_part, ones, others))


def _is_same_part(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """By the signatures; where one is unknown, by the configuration of the training, or as the same checkpoint."""
    if one.get("sig") is not None and other.get("sig") is not None:
        return bool(one["sig"] == other["sig"])
    config, identity = one.get("config_sha256"), _identity(one)
    is_named = CONFIG_OPTION in (one.get("config"), other.get("config"))  # a person may name one file for any model
    return config is not None and not is_named and bool(config == other.get("config_sha256")) \
        or identity is not None and bool(identity == _identity(other))


def _identity(values: Mapping[str, Any]) -> Any:
    checkpoint = values.get("checkpoint")
    return checkpoint.get("identity") if isinstance(checkpoint, dict) else None
