"""Plot the training curve."""

import re
from io import BytesIO

import pytest
from matplotlib.colors import to_rgb

from audiocraft_export.release.manifest import CURVE_FILE
from audiocraft_export.release.metrics import BestRule
from audiocraft_export.sharing.card.plot import INK, LINE_COLORS, plot_history

from .releases import card

PAGES = ("#ffffff", "#0b0f19", "#0d1117")  # background colors of the Hub and of GitHub, light and dark


def contrast(color, page):
    """Return the contrast ratio of two colors: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    def luminance(color):
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(color)]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts)) + 0.05
    dark, light = sorted(map(luminance, (color, page)))
    return light / dark


def test_the_picture_is_drawn_for_a_light_and_a_dark_page(release):
    image = pytest.importorskip("PIL.Image")
    manifest, config, history = release()
    data = plot_history(history, manifest.best)
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and b"matplotlib" not in data.lower() and len(data) < 200_000
    with image.open(BytesIO(data)) as picture:
        assert picture.size == (1152, 544) and len(picture.convert("RGB").getcolors(1 << 20)) > 50
        drawn = {color[:3] for _, color in picture.getcolors(1 << 20) if color[3] == 255}
        assert picture.mode == "RGBA" and picture.getpixel((0, 0))[3] == 0  # the background is transparent
    assert {tuple(round(255 * part) for part in to_rgb(color)) for color in (INK, *LINE_COLORS[:2])} <= drawn
    for page in PAGES:
        assert all(contrast(color, page) >= 3 for color in LINE_COLORS) and contrast(INK, page) > 4
    for repo in (None, "me/model"):  # the Hub resolves a relative link in the repository
        text = card(manifest, config, history, curve="5891b5", repo=repo)
        assert re.findall(r"!\[(.+)\]\((.+)\)", text) == [
            ("Training curve: the metric of each stage, by epoch", CURVE_FILE)]


@pytest.mark.parametrize("history", [
    [{"_tr$ain": {"c$e_^{\x1b}é\u202e" * 9: 1.0}}], [{"valid": {"ce": value}} for value in (-1.7e308, 1.7e308, 0.0)],
    [{"valid": {"ce": value}} for value in (1e-300, 1e300)], [{"valid": {"ce": 0.0}}] * 5000,
    [{f"s{index}": {"ce": 1.0}} for index in range(500)], [{"valid": {"$": 1.0, " ": 2.0}}] * 2])
def test_the_picture_is_drawn_of_any_numbers_under_any_names(history, recwarn):
    assert plot_history(history) and not [str(warning.message) for warning in recwarn]


def test_the_metric_of_another_stage_is_drawn_with_its_best_epoch():
    history = [{"valid": {"ce": 1.0}, "evaluate": {"acc": value}} for value in (0.1, 0.5, 0.2)]
    named = BestRule.parse("evaluate.acc:max").best(history)
    assert plot_history(history, named) == plot_history(
        history, {"metric": "acc", "epoch": 2, "valid": {}}) != plot_history(history)


def test_the_picture_follows_no_settings_of_the_user_and_leaves_none(release):
    import matplotlib
    manifest, _, history = release()
    expected = plot_history(history, manifest.best)
    with matplotlib.rc_context({"lines.linewidth": 9, "figure.dpi": 30, "text.usetex": True}):
        assert plot_history(history, manifest.best) == expected
        assert matplotlib.rcParams["figure.dpi"] == 30
