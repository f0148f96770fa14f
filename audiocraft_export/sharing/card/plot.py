"""Plot the training curve as an image that is readable on light and dark pages."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, Optional

from .history import Metrics, by_importance, metrics_of
from .limits import MAX_CURVES, MAX_LABEL, MAX_MARKED_EPOCHS, MAX_VALUE, MIN_LOG_VALUE

INK = "#767676"  # color of text, frame and grid; contrast 4.5:1 on white, 4.2:1 on the Hub's dark page
LINE_COLORS = ("#0072b2", "#d55e00", "#009e73")  # contrast >= 3:1 on both; Okabe and Ito's colour-blind palette
LINE_STYLES = ("-", "--", ":")
STYLE = {
    "figure.figsize": (7.2, 3.4), "figure.dpi": 160, "savefig.transparent": True, "text.parse_math": False,
    "lines.linewidth": 2, "lines.markersize": 4, "axes.spines.top": False, "axes.spines.right": False,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": INK, "grid.alpha": 0.3,
    "legend.frameon": False, "legend.labelcolor": INK,
}
Curves = dict[str, dict[str, dict[int, float]]]  # values by metric, stage and epoch


def plot_history(history: Sequence[Any], best: Optional[Mapping[str, Any]] = None,
                 named: Optional[str] = None) -> Optional[bytes]:
    """Plot a metric of a training as a PNG with a transparent background; None without a metric.

    Args:
        history: the metrics by stage, one entry per epoch.
        best: `Manifest.best`: the metric to plot and the epoch to mark.
        named: the metric to plot if `best` has none.
    """
    curves, chosen = _curves(metrics_of(history)), (best or {}).get("metric")
    if chosen and "value" in (best or {}):  # the metric of another stage than `valid`
        chosen = chosen.partition(".")[2]
    metric = _metric_to_plot(curves, chosen or named)
    if metric is None:
        return None
    stages = sorted(curves[metric].items(), key=lambda stage: stage[0] == "evaluate")[:MAX_CURVES]
    epoch = best["epoch"] if best and chosen == metric else None
    return _plot(dict(stages), metric, epoch)


def _curves(metrics: Metrics) -> Curves:
    """Return the metrics without values that matplotlib cannot draw."""
    found: Curves = {}
    for stage, of_stage in metrics.items():
        for metric, values in of_stage.items():
            kept = {epoch: value for epoch, value in values.items() if abs(value) < MAX_VALUE}
            if kept:
                found.setdefault(metric, {})[stage] = kept
    return found


def _metric_to_plot(curves: Curves, best_metric: Optional[str]) -> Optional[str]:
    """Choose the metric that selects the best epoch, else a loss, else the metric that most stages have."""
    for metric in (best_metric, "ce", "loss", "g_loss"):
        if metric in curves:
            return metric
    return max(by_importance([*curves], best_metric), key=lambda metric: len(curves[metric]), default=None)


def _plot(curves: Mapping[str, Mapping[int, float]], metric: str, best: Optional[int]) -> bytes:
    import matplotlib.style
    with matplotlib.style.context(["default", STYLE]):  # independent of the user's matplotlibrc
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel="epoch", ylabel=_label(metric))
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
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _label(name: str) -> str:
    """Return a name in ASCII, which every font supports."""
    text = name.encode("ascii", "backslashreplace").decode()
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown if len(shown) <= MAX_LABEL else f"{shown[:MAX_LABEL]}..."
