"""The training curve as a picture that is readable on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any, Optional

from .history import Metrics, by_importance, metrics_of
from .limits import MAX_CURVES, MAX_LABEL, MAX_MARKED_EPOCHS, MAX_VALUE, MIN_LOG_VALUE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#767676"  # of text, the frame and the grid; 4.5:1 on white, 4.2:1 on the Hub's dark page
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73")  # at least 3:1 on both; Okabe and Ito's, safe for colour-blind people
LINE_STYLES = ("-", "--", ":")
STYLE = {
    "figure.figsize": (7.2, 3.4), "figure.dpi": 160, "savefig.transparent": True, "text.parse_math": False,
    "lines.linewidth": 2, "lines.markersize": 4, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": INK, "grid.alpha": 0.3,
    "legend.frameon": False, "legend.labelcolor": INK,
}
Curves = Mapping[str, Mapping[int, float]]  # by stage and epoch


def plot_history(history: Sequence[Any], best: Optional[Mapping[str, Any]] = None) -> Optional[bytes]:
    """Plot a training, as PNG with a transparent background; None without a metric to plot.

    Args:
        history: the metrics by stage, one entry an epoch.
        best: `Manifest.best`: the metric to plot, and the epoch to mark.
    """
    metrics = _plottable(metrics_of(history))
    metric = _metric_to_plot(metrics, (best or {}).get("metric"))
    if metric is None:
        return None
    stages = sorted((stage for stage in metrics if metric in metrics[stage]), key="evaluate".__eq__)[:MAX_CURVES]
    epoch = best["epoch"] if best and best.get("metric") == metric else None
    return _plot({stage: metrics[stage][metric] for stage in stages}, metric, epoch)


def _plottable(metrics: Metrics) -> Metrics:
    found: Metrics = {}
    for stage, of_stage in metrics.items():
        kept = {metric: {epoch: value for epoch, value in values.items() if abs(value) < MAX_VALUE}
                for metric, values in of_stage.items()}
        found[stage] = {metric: values for metric, values in kept.items() if values}
    return found


def _metric_to_plot(metrics: Metrics, best_metric: Optional[str]) -> Optional[str]:
    """The metric by which the best epoch is chosen, or a loss, or the first that most stages have."""
    stages = {metric: sum(metric in each for each in metrics.values()) for each in metrics.values() for metric in each}
    for metric in (best_metric, "ce", "loss", "g_loss"):
        if metric in stages:
            return metric
    return max(by_importance([*stages], best_metric), key=stages.__getitem__, default=None)


def _plot(curves: Curves, metric: str, best: Optional[int]) -> bytes:
    import matplotlib.style
    with matplotlib.style.context(["default", STYLE]):  # whatever the user's matplotlibrc says
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure.add_subplot(xlabel="epoch", ylabel=_label(metric)), curves, best)
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Axes, curves: Curves, best: Optional[int]) -> None:
    from matplotlib.ticker import MaxNLocator
    for (stage, values), color, style in zip(curves.items(), LINE_COLORS, LINE_STYLES):
        axes.plot(list(values), list(values.values()), style, color=color, label=f" {_label(stage)}",
                  marker="o" if len(values) <= MAX_MARKED_EPOCHS else None)
    if best is not None:
        axes.axvline(best, color=INK, linewidth=1, label=f" best: epoch {best}", zorder=0)
    numbers = [value for values in curves.values() for value in values.values()]
    if min(numbers) > MIN_LOG_VALUE and max(numbers) > 50 * min(numbers):
        axes.set_yscale("log")
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend()


def _label(name: str) -> str:
    """A name in letters that every font has."""
    text = name.encode("ascii", "backslashreplace").decode()
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown if len(shown) <= MAX_LABEL else f"{shown[:MAX_LABEL]}..."
