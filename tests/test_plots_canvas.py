"""The pieces figures are made of: short paths, places for labels, looks, words for numbers."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from harness.methods import METHODS
from harness.records.text import estimate, number
from harness.report.figures import canvas, compact, cost, looks


@pytest.mark.parametrize("seed", range(20))
def test_labels_never_lie_over_each_other(seed: int) -> None:
    """Ten crowded points get ten labels that do not overlap, inside the axes."""
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.normal(160, 30, 10), rng.normal(70, 12, 10)])
    marks = [(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    labels: list[tuple[float, float, float, float]] = []
    for x, y in points[np.argsort(-points[:, 1])]:
        width = rng.uniform(30, 110)
        left, bottom = cost._free_spot(x, y, width, marks, labels, (44, 36, 350, 262))
        spot = (left, bottom, left + width, bottom + 12)
        assert sum(cost._overlap(spot, other) for other in labels) == 0
        assert left >= 44
        assert 36 <= bottom <= 250
        labels.append(spot)


@pytest.mark.parametrize(
    "path",
    [
        "M 1.23 4.56 \nL 10 20 \nL 9.99 -3.21 \n",
        "M 0 0 \nL 5 5 \nM 7 7 \nL 7.04 7 \nL 7.04 7 \n",
        "M 1 1 \nL 2 1 \nL 2 2 \nz\nM 5 5 \nL 6 6 \nz",
    ],
)
def test_shortened_paths_go_where_the_long_ones_went(path: str) -> None:
    """Relative moves in tenths end within half a tenth of each absolute vertex."""
    wanted = [(float(x), float(y)) for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path)]
    assert _vertices(compact._shorter(path)) == pytest.approx(np.array(wanted), abs=0.0501)


def _vertices(short: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Follow a path of relative moves as a browser does."""
    found: list[tuple[float, float]] = []
    x = y = start_x = start_y = 0.0
    for letter, body in re.findall(r"([mlz])([^mlz]*)", short):
        if letter == "z":
            x, y = start_x, start_y
            continue
        numbers = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", body)]
        for i in range(0, len(numbers), 2):
            x, y = x + numbers[i], y + numbers[i + 1]
            if letter == "m" and i == 0:
                start_x, start_y = x, y
            found.append((x, y))
    return np.array(found)


def test_thinning_keeps_the_spikes() -> None:
    """The lowest and highest value of a trace survive thinning."""
    y = np.random.default_rng(4).normal(size=5000)
    y[1234], y[4321] = -99, 99
    _, kept = canvas.envelope(np.arange(5000.0), y, 40)
    assert kept.size <= 82
    assert (kept.min(), kept.max()) == (-99, 99)


def test_methods_keep_their_looks() -> None:
    """No two known methods share colour and dash; unknown ones get a stable look."""
    seen = [(row.look.colour, row.look.dash) for row in METHODS.values()]
    assert len(set(seen)) == len(seen)
    assert looks.look("my_method") == looks.look("my_method")
    assert looks.in_order(["nuts", "zz", "fullrank"], nuts_first=True) == ["nuts", "fullrank", "zz"]
    assert looks.in_order(["nuts", "zz", "fullrank"], nuts_first=False)[-1] == "nuts"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.4831, "0.48"),
        (-0.05, "−0.050"),
        (12345.6, "12\u202f346"),
        (1.3e14, "1.3 × 10¹⁴"),
        (-2e-5, "−2.0 × 10⁻⁵"),
        (0.0, "0"),
        (math.nan, "unknown"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers_are_said_as_a_reader_wants_them(value: float, said: str) -> None:
    """Few digits, a true minus, no silent NaN."""
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.0512, 0.021, "0.05 ± 0.02"),
        (0.483, 0.0141, "0.483 ± 0.014"),
        (101.5534, 0.0031, "101.553 ± 0.003"),
        (123456.7, 0.004, "123\u202f456.700 ± 0.004"),
        (54321.7, 0.004, "54\u202f321.700 ± 0.004"),
        (100.26, 0.53, "100.3 ± 0.5"),
        (1234.0, 30.0, "1234 ± 30"),
        (2.0, 0.0, "2.00"),
        (2.0, math.nan, "2.0 ± unknown"),
        (math.nan, 0.1, "unknown"),
        (math.inf, math.nan, "∞"),
    ],
)
def test_estimates_have_the_decimals_of_their_error(value: float, error: float, said: str) -> None:
    """The error's first digit decides; an unknown error is called unknown."""
    assert estimate(value, error) == said


def test_labels_keep_their_digits_when_coordinates_lose_theirs() -> None:
    """Numbers inside tags are shortened, labels between them are the reader's."""
    text = '<svg x="1.23456"><metadata>m</metadata><text y="2.71828">0.2884</text></svg>'
    assert compact.compact(text) == '<svg><text y="2.72">0.2884</text></svg>'


def test_labels_keep_their_words_whatever_these_are() -> None:
    """What is dropped or closed up inside tags stays between them."""
    label = "a &amp; &lt;b&gt;; c: d font-family: e; 1.23456"
    text = f'<svg><text style="fill: red; font-family: x">{label}</text></svg>'
    assert compact.compact(text) == f'<svg><text style="fill:red;">{label}</text></svg>'


def test_a_drawing_is_the_same_without_what_the_page_does_not_need() -> None:
    """Names, style sheet and groups without attributes go; the view and the rest stay."""
    text = (
        '<?xml?><svg xmlns:xlink="x" width="9pt" viewBox="0 0 9 9"><defs>\n'
        ' <style type="text/css">*{a:b}</style></defs><g><g clip-path="url(#x)"><g>'
        '<use xlink:href="#m"/></g></g></g><g/></svg>'
    )
    kept = '<svg viewBox="0 0 9 9"><g clip-path="url(#x)"><use href="#m"/></g></svg>'
    assert compact.compact(text) == kept


def test_a_marker_has_the_style_of_its_uses_once() -> None:
    """Where all uses agree; a marker that is drawn in two colours keeps both."""
    marker = '<path id="m" d="M 0 0 L 0 1" style="stroke:red"/>'
    uses = '<use href="#m" x="1" style="fill:{}"/><use href="#m" x="2" style="fill:{}"/>'
    same, other = (f"<svg>{marker}{uses.format('blue', c)}</svg>" for c in ("blue", "green"))
    assert compact.compact(same) == (
        '<svg><path id="m" d="m0 0 0 1" style="fill:blue;stroke:red"/>'
        '<use href="#m" x="1"/><use href="#m" x="2"/></svg>'
    )
    assert compact.compact(other) == other.replace("M 0 0 L 0 1", "m0 0 0 1")


def test_the_width_of_a_label_is_the_sum_of_its_characters() -> None:
    """Digits are 0.562 em wide in the report's font; a character it lacks counts as a whole em."""
    assert canvas.width_px("12", 72) == pytest.approx(2 * 0.562 * 96)
    assert canvas.width_px("☃", 72) == 96
    assert canvas.widest_px(["1", "123", "12"]) == canvas.width_px("123")
    assert canvas.widest_px([]) == 0


@pytest.mark.parametrize(
    "ticks", [[0.288, 0.289, 0.29], [10.104, 10.1045, 10.105], [-1.0, 0.0, 1.0], [1e-5, 2e-5]]
)
def test_tick_labels_differ_from_each_other(ticks: list[float]) -> None:
    """However narrow the range, no two ticks read the same."""
    assert len(set(canvas.tick_words(ticks))) == len(ticks)
