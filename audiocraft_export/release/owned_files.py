"""File name patterns of releases, and checks of what an export may replace; other files are never touched."""

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
from ..experiment.xp import ARGV, CHECKPOINT_NAME, HYDRA_CONFIG, MANIFEST, XPS, is_denied
from ..options import describe_options, other_options, with_default
from ..storage.checksum import chunks_of, sha256_of
from ..storage.durable_file import WrittenFile
from .families import audioseal
from .families.registry import FAMILIES, GENERAL_FAMILY, OWN_NAMES
from .manifest import ATTESTATIONS, SIGNATURE, Manifest

SIGNING_FILES = (SIGNATURE, *ATTESTATIONS)  # files that are valid for one release only
_REPLACE = "choose another folder, or replace the release with force=true (--force)"
_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors|\.safetensors\.index\.json"
_SAFETENSORS = (rf"(compression_)?model({_SHARD}|\.json)", r"(compression_)?config(_\d+)?\.yaml",
                rf"(generator|detector)_{{}}({_SHARD})")
_TRANSFORMERS = (r"(|generation_|preprocessor_|processor_|tokenizer_)config\.json", r"tokenizer\.json",
                 r"(special_tokens_map|added_tokens)\.json", r"spiece\.model", r"conditioners\.safetensors")


def is_release_file(name: Any, sig: Optional[str]) -> bool:
    """Return whether a manifest of the experiment `sig` may list a file of this name."""
    return isinstance(name, str) and _is_release_name(name, re.escape(audioseal.name_of(sig)))


def release_file_names(manifest: Manifest) -> list[str]:
    """Return the names of the files in a manifest, except names that no release may have."""
    return [file.name for file in manifest.files if is_release_file(file.name, manifest.sig)]


def model_file_names(manifest: Manifest) -> list[str]:
    """Return the names as `release_file_names`, without the attestations."""
    return [name for name in release_file_names(manifest) if name not in ATTESTATIONS]


def is_torch_file(name: str) -> bool:
    """Return whether a file of a release is a file of torch.save, judging by its name."""
    return name.endswith((".bin", ".pth"))


def is_weights_file(name: str) -> bool:
    """Return whether a file of a release has weights, judging by its name."""
    return is_torch_file(name) or name.endswith(".safetensors")


def has_release(folder: Path) -> bool:
    """Return whether a folder has a release, which may be damaged."""
    return any(os.path.lexists(folder / name) for name in (MANIFEST, *OWN_NAMES))


def folder_of(path: Path) -> Path:
    """Return the folder of a release that is named by its folder or by a file in it."""
    return path if os.path.isdir(path) else path.parent


def signing_files_in(folder: Path) -> set[str]:
    """Return the names that the signature and the attestations of the release in a folder have.

    An attestation that the manifest does not list, as far as it can be read, is a file of the user.
    """
    if not has_release(folder):
        return set()
    return {SIGNATURE, *({*ATTESTATIONS} & {file.name for file in Manifest.unverified_files(folder)})}


class OwnedFiles:
    """Decide which files of a folder a new release may replace: only files of a release.

    Args:
        names: the file names of the new release.
        manifest: the manifest of the new release.
        xp_folders: the XP folders of its experiments; a release without an XP signature in one of them belongs to it.
        force: whether the release of another experiment may be replaced.
    """

    def __init__(self, names: Collection[str], manifest: Manifest, xp_folders: Collection[Path] = (),
                 force: bool = False) -> None:
        self.manifest, self._names, self._force = manifest, frozenset(names), force
        self.xp_folders = [Path(os.path.realpath(each)) for each in xp_folders]

    @staticmethod
    def owns(name: str) -> bool:
        """Return whether any release may have a file of this name."""
        return name in (MANIFEST, SIGNATURE) or _is_release_name(name, r"[\w-]+")

    def stale_files(self, folder: Path) -> set[str]:
        """Return the unchanged files of the previous release that are not part of the new release, and its signatures.

        A signature or an attestation is never valid for another release, even if it is changed.
        """
        sig = Manifest.unverified(folder).get("sig")
        return {name for name in signing_files_in(folder) if os.path.lexists(folder / name)} | {
            file.name for file in Manifest.unverified_files(folder) if file.name not in self._names
            and is_release_file(file.name, sig if isinstance(sig, str) else None) and matches_manifest(folder, file)}

    def replaced_release(self, folder: Path) -> Optional[str]:
        """Describe the release in a folder that the new release would replace; None without one."""
        previous = Manifest.load_or_none(folder)
        if previous is None:
            what = "an unreadable release" if is_denied(folder / MANIFEST) else "a damaged release"
            return None if self._previous_values(folder) is None else what
        is_same = _is_same_experiment(vars(previous), vars(self.manifest))
        what = "signed release" if os.path.isfile(folder / SIGNATURE) else "release"
        whose = "" if is_same else f" of another experiment ({previous.name})"
        facts = [] if previous.epoch is None else [f"after epoch {previous.epoch}"]
        others = other_options(previous.options, {**self.manifest.options, "version": previous.options.get("version")})
        if dropped := {name: value for name, value in others.items() if value != with_default({}, name)}:
            facts.append(f"with {describe_options(dropped)}")
        return " ".join([f"the {what}{whose}", *(["made", *facts] if facts else [])])

    def refuse_unrelated_files(self, folder: Path, may_be_same: Callable[[Path], bool]) -> None:
        """Refuse to replace the release of another experiment, or a file that is not of a release (`config.yaml`).

        Args:
            folder: the folder of the new release.
            may_be_same: returns whether an existing file may be equal to the new one. An equal file may be replaced:
                a killed export leaves files without a manifest.

        Raises:
            ReleaseError: if the folder has a release of another experiment, or an unrelated file.
        """
        if not self._force:
            refuse_unreadable_release(folder)
            refuse_other_experiment(self._previous_values(folder), vars(self.manifest), folder, self.xp_folders)
        owned, manifest = {file.name for file in Manifest.unverified_files(folder)}, Manifest.load_or_none(folder)
        if manifest is None or not manifest.is_complete(folder):  # a killed export may have left unlisted files
            owned |= {*OWN_NAMES}
        for path in (folder / name for name in sorted(self._names - owned)):
            if os.path.lexists(path) and not (os.path.isfile(path) and may_be_same(path)):
                raise ReleaseError("file-exists", f"{path} exists and does not belong to a release",
                                   "move it or choose another folder")

    def _previous_values(self, folder: Path) -> Optional[Mapping[str, Any]]:
        """Return the known manifest values of the release in a folder; None without a release."""
        bare = [folder / name for name in OWN_NAMES if name in self._names and os.path.lexists(folder / name)]
        if not bare and not os.path.lexists(folder / MANIFEST):
            return None
        return Manifest.unverified(folder) or (_read_config(bare[0]) if bare else {})


def refuse_unreadable_release(folder: Path) -> None:
    """Refuse to replace a release that cannot be read for lack of permissions: it may be of another experiment.

    Raises:
        ReleaseError: if permissions do not allow the manifest to be read.
    """
    if is_denied(folder / MANIFEST):
        Manifest.load(folder)


def refuse_other_experiment(previous: Optional[Mapping[str, Any]], new: Mapping[str, Any], folder: Path,
                            xp_folders: Collection[Path]) -> None:
    """Refuse to replace a release, unless the new release is provably of the same experiment.

    Args:
        previous: manifest values of the existing release, as far as they are known; None without a release.
        new: manifest values of the new release.
        folder: the folder of both.
        xp_folders: the XP folders of the experiments of the new release.

    Raises:
        ReleaseError: if the existing release may be of another experiment.
    """
    if previous is None or _is_same_experiment(previous, new):
        return
    sigs = [part.get("sig") for part in _parts(previous)]
    if sigs == [None] and folder.parent in xp_folders:
        return
    if sigs == [None]:
        raise ReleaseError("other-experiment", f"{folder} has files with the names of a release, but without "
                           "an XP signature: they may belong to another experiment",
                           "choose another folder, or replace the files with force=true (--force)")
    whose = ", ".join(str(sig or "without an XP signature") for sig in sigs)
    raise ReleaseError("other-experiment", f"{folder} has the release of another experiment ({whose})",
                       _REPLACE)


def refuse_training_folder(folder: Path, xp_folders: Collection[Path]) -> None:
    """Refuse a release folder that belongs to a training.

    Args:
        folder: the folder of the release.
        xp_folders: known XP folders; others are recognized by their files.

    Raises:
        ReleaseError: if the folder has a training checkpoint, or is an XP folder or a Dora folder.
    """
    if what := _describe_training_folder(folder, xp_folders):
        raise ReleaseError("training-folder", f"{folder} cannot be a release folder: it {what}",
                           "choose another folder")


def refuse_training_checkpoint(path: Path) -> None:
    """Refuse to replace a file that is a training checkpoint.

    Raises:
        CheckpointError: if the file is a training checkpoint.
    """
    if os.path.isfile(path) and _is_training_checkpoint(path):
        raise CheckpointError("training-folder", f"Refusing to overwrite the training checkpoint {path}",
                              "choose another output path")


def matches_manifest(folder: Path, file: WrittenFile) -> bool:
    """Return whether a file has the size and the checksum that the manifest lists."""
    path = folder / file.name
    with suppress(OSError):
        return os.path.getsize(path) == file.bytes and sha256_of(progress.counted(chunks_of(path))) == file.sha256
    return False


def _is_release_name(name: str, sig: str) -> bool:
    """Return whether a name matches a pattern of any format; `sig` is a regular expression for the signature."""
    families = {family.names for family in (GENERAL_FAMILY, *FAMILIES.values())}
    own = [re.escape(each).replace(r"\{\}", "{}") for names in (*families, ATTESTATIONS) for each in names]
    return any(re.fullmatch(pattern.replace("{}", sig), name) for pattern in (*own, *_SAFETENSORS, *_TRANSFORMERS))


def _is_training_checkpoint(path: Path) -> bool:
    try:
        return TorchFile.read(path).is_training
    except CheckpointError:
        return False


def _describe_training_folder(folder: Path, xp_folders: Collection[Path]) -> Optional[str]:
    """Return why a folder belongs to a training, as a clause for a message; None if it does not."""
    names = []
    with suppress(OSError):
        names = sorted(os.listdir(folder))
    released = [(file.name, file.bytes) for file in Manifest.unverified_files(folder)]  # need not be unpickled
    for name in names:
        path = folder / name
        if os.path.isfile(path) and (CHECKPOINT_NAME.fullmatch(name) or (
                name, os.path.getsize(path)) not in released and _is_training_checkpoint(path)):
            return f"has the training checkpoint {name}"
    if folder in xp_folders or {ARGV, HYDRA_CONFIG.parts[0]} & {*names}:
        return "is an XP folder"
    homes = [each.parent for each in xp_folders if each.parent.name == XPS or os.path.lexists(each / ARGV)]
    is_dora = folder in homes or folder in [home.parent for home in homes] or os.path.isdir(folder / XPS)
    return "is a Dora folder" if is_dora or folder.name == XPS and os.path.isdir(folder) else None


def _read_config(path: Path) -> Mapping[str, Any]:
    """Return the manifest values that can be derived from a release file without a manifest."""
    try:
        text = TorchFile.read(path).state.get("xp.cfg")
    except CheckpointError:
        text = None
    if not isinstance(text, str):
        return {}
    return {"config": CHECKPOINT, "config_sha256": sha256_of([text.encode()])}


def _parts(values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the manifest values of each experiment of a release, without validating their types."""
    bands = values.get("bands")
    return [band for band in bands if isinstance(band, dict)] if isinstance(bands, list) else [values]


def _is_same_experiment(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether manifest values prove that two releases are of the same experiments."""
    ones, others = _parts(one), _parts(other)
    return len(ones) == len(others) and all(map(_is_same_part, ones, others))


def _is_same_part(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Compare two experiments by signature; if one is unknown, by configuration or checkpoint."""
    if one.get("sig") is not None and other.get("sig") is not None:
        return bool(one["sig"] == other["sig"])
    config, identity = one.get("config_sha256"), _identity(one)
    is_named = CONFIG_OPTION in (one.get("config"), other.get("config"))  # The same file may be used for any model.
    return config is not None and not is_named and bool(config == other.get("config_sha256")) \
        or identity is not None and bool(identity == _identity(other))


def _identity(values: Mapping[str, Any]) -> Any:
    checkpoint = values.get("checkpoint")
    return checkpoint.get("identity") if isinstance(checkpoint, dict) else None
