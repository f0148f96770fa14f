"""Find experiments with their metrics and releases, for Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from ..experiment import xp as stored
from ..experiment.dora_dir import resolve_dora_dir
from ..experiment.xp import AnyPath, Experiment
from ..notebook import MAX_ROWS, html_table
from ..options import RELEASE_FOLDER

if TYPE_CHECKING:
    from ..release.status import ReleaseStatus
    from .xp_summary import XPSummary


class XP(Experiment):
    """An XP folder in any state; its files are read each time that an attribute is used.

    Attributes:
        folder: `<dora_dir>/xps/<sig>`, or a copy of such a folder.
        sig: Dora's signature; None if unknown.
    """

    @property
    def overrides(self) -> list[str]:
        """The overrides that Dora stored; empty if they cannot be read."""
        return [str(each) for each in self.argv or []]

    @property
    def epochs(self) -> Optional[int]:
        """Number of finished epochs; None if the history does not give it."""
        return self._summary.epochs

    @property
    def metric(self) -> Optional[str]:
        """The metric that selects the best state, or a loss if that is unknown; None without any value of it."""
        return self._summary.metric

    @property
    def best(self) -> Optional[float]:
        """The best value of `metric`."""
        return self._summary.best

    @property
    def best_epoch(self) -> Optional[int]:
        """The epoch of `best`, counted from 1."""
        return self._summary.best_epoch

    @property
    def release(self) -> ReleaseStatus:
        """The state of the release in the XP folder; `str()` describes it."""
        from ..release.status import release_status
        return release_status(self.folder / RELEASE_FOLDER, self.folder, opens=False)

    @property
    def _summary(self) -> XPSummary:
        from .xp_summary import summarize_xp
        return summarize_xp(self)

    @property
    def _row(self) -> tuple[Any, ...]:
        summary = self._summary
        best = "" if summary.best is None else f"{summary.metric} {summary.best:.4g} in epoch {summary.best_epoch}"
        return self.folder.name, " ".join(summary.overrides or []), summary.epochs, best, self.release

    def _repr_html_(self) -> str:
        return XPList([self])._repr_html_()


class XPList(list[XP]):
    """Experiments, as a list that is shown as a table in a notebook."""

    def _repr_html_(self) -> str:
        header = ("XP", "overrides", "epochs", "best", "release")
        return html_table(f"Experiments: {len(self)}", [xp._row for xp in self[:MAX_ROWS]], header, len(self))


def find_xp(sig: str, dora_dir: Optional[AnyPath] = None) -> XP:
    """Find an experiment by its Dora signature, or by an unambiguous prefix of one.

    Args:
        sig: the signature or the prefix.
        dora_dir: the Dora folder; None finds it as the command does.

    Raises:
        ExperimentError: if no experiment matches (the hint offers similar signatures), or more than one does.
        ExportError: if the package in `$DORA_PACKAGE` cannot be imported.
    """
    found = stored.find_xp(sig, resolve_dora_dir(dora_dir))
    return XP(found.folder, found.sig)


def list_xps(dora_dir: Optional[AnyPath] = None) -> XPList:
    """Return all experiments of a Dora folder, sorted by signature.

    Args:
        dora_dir: the Dora folder; None finds it as the command does.

    Raises:
        ExperimentError: if the folder is not a Dora folder, or cannot be read.
        ExportError: if the package in `$DORA_PACKAGE` cannot be imported.
    """
    folder = resolve_dora_dir(dora_dir)
    return XPList(XP(each.folder, each.sig) for each in stored.list_xps(folder))
