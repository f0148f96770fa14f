"""The training curve as a picture, for a light and for a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Optional

from .history import Metrics, foremost, metrics_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LIGHT_FILE, DARK_FILE = "training-curve-light.png", "training-curve-dark.png"
MOST_LINES = 3
MOST_LABEL = 30  # characters
LARGEST, SMALLEST = 1e12, 1e-12  # that an axis shows; the latter on a logarithmic one
FEW_EPOCHS = 40  # each of which gets a dot
Lines = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Scheme:
    """Colors of a page; those of the lines are Okabe's and Ito's, whom colour-blind people can tell apart.

    Args:
        page: behind all.
        ink: of text.
        faint: of the grid and the frame.
        lines: of each stage.
    """

    page: str
    ink: str
    faint: str
    lines: tuple[str, str, str]


LIGHT = Scheme("#ffffff", "#24292f", "#d0d7de", ("#0072b2", "#d55e00", "#009e73"))
DARK = Scheme("#0b0f19", "#e6edf3", "#30363d", ("#56b4e9", "#e69f00", "#2fc79a"))


def curves(history: Sequence[Any], best: Optional[Mapping[str, Any]] = None) -> dict[str, bytes]:
    """The picture of a training, as PNG, by the names of its files; none without a metric to draw.

    Args:
        history: the metrics by stage, one entry an epoch.
        best: `release.Manifest.best`: the metric to draw, and the epoch to mark.
    """
    metrics = _drawable(metrics_of(history))
    metric = _metric_to_draw(metrics, (best or {}).get("metric"))
    if metric is None:
        return {}
    stages = sorted((stage for stage in metrics if metric in metrics[stage]), key="evaluate".__eq__)[:MOST_LINES]
    lines = {stage: metrics[stage][metric] for stage in stages}
    epoch = best["epoch"] if best and best.get("metric") == metric else None
    return {name: _drawn(lines, metric, epoch, scheme) for name, scheme in ((LIGHT_FILE, LIGHT), (DARK_FILE, DARK))}


def _drawable(metrics: Metrics) -> Metrics:
    kept = {stage: {metric: {epoch: value for epoch, value in values.items() if abs(value) < LARGEST}
                    for metric, values in of_stage.items()} for stage, of_stage in metrics.items()}
    return {stage: {metric: values for metric, values in of_stage.items() if values}
            for stage, of_stage in kept.items()}


def _metric_to_draw(metrics: Metrics, chosen: Optional[str]) -> Optional[str]:
    """The metric by which the best epoch is chosen, or a loss, or the first that most stages have."""
    stages = {metric: sum(metric in each for each in metrics.values()) for each in metrics.values() for metric in each}
    for metric in (chosen, "ce", "loss", "g_loss"):
        if metric in stages:
            return metric
    return max(foremost([*stages], chosen), key=stages.__getitem__, default=None)


def _drawn(lines: Lines, metric: str, best: Optional[int], scheme: Scheme) -> bytes:
    import matplotlib.style
    with matplotlib.style.context("default"):  # whatever the user's matplotlibrc says
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        figure = Figure(figsize=(7.2, 3.4), dpi=160, layout="constrained", facecolor=scheme.page)
        FigureCanvasAgg(figure)
        _draw(figure, lines, metric, best, scheme)
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw(figure: Figure, lines: Lines, metric: str, best: Optional[int], scheme: Scheme) -> None:
    axes = figure.add_subplot(facecolor=scheme.page)
    for (stage, values), color, style in zip(lines.items(), scheme.lines, ("-", "--", ":")):
        axes.plot(list(values), list(values.values()), style, color=color, linewidth=2, label=f" {_label(stage)}",
                  marker="o" if len(values) <= FEW_EPOCHS else None, markersize=4)
    if best is not None:
        axes.axvline(best, color=scheme.ink, linewidth=1, alpha=0.6, label=f" best: epoch {best}", zorder=0)
    numbers = [value for values in lines.values() for value in values.values()]
    if min(numbers) > SMALLEST and max(numbers) > 50 * min(numbers):
        axes.set_yscale("log")
    _dress(axes, metric, scheme)


def _dress(axes: Axes, metric: str, scheme: Scheme) -> None:
    from matplotlib.ticker import MaxNLocator
    axes.set_xlabel("epoch", color=scheme.ink)
    axes.set_ylabel(_label(metric), color=scheme.ink, parse_math=False)
    axes.set_xlim(left=0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(which="both", colors=scheme.ink, color=scheme.faint)
    axes.grid(color=scheme.faint, linewidth=0.8, alpha=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(scheme.faint)
    for text in axes.legend(frameon=False, labelcolor=scheme.ink, loc="best").get_texts():
        text.set_parse_math(False)


def _label(name: str) -> str:
    """A name in letters that every font has."""
    text = name.encode("ascii", "backslashreplace").decode()
    shown = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return shown if len(shown) <= MOST_LABEL else f"{shown[:MOST_LABEL]}..."
