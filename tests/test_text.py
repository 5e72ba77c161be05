"""The one writer of numbers: every form of its table, and what it must never do."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import Estimate
from harness.records.text import (
    combination,
    count,
    estimate,
    fixed,
    integer,
    listed,
    number,
    percent,
    seconds,
    setting,
    span,
    with_error,
)

FINITE = st.floats(-1e300, 1e300)
POWERS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
FORM = re.compile(r"−?(\d{1,4}|\d{2,3}(\u202f\d{3})+)(\.\d+)?|−?\d(\.\d+)? × 10⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")


def value_of(text: str) -> float:
    """Read a written number back."""
    plain = text.replace("\u202f", "").replace("−", "-")
    mantissa, _, power = plain.partition(" × 10")
    return float(f"{mantissa}e{power.translate(POWERS)}") if power else float(mantissa)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.4831, "−0.48"), (1234.5, "1234"), (12345.6, "12\u202f346"), (1.2e6, "1.2 × 10⁶"),
        (1.2e-5, "1.2 × 10⁻⁵"), (-3e-9, "−3.0 × 10⁻⁹"), (0.0, "0"), (-0.0, "0"),
        (99999.6, "1.0 × 10⁵"), (0.00099999, "0.0010"), (9.996, "10"),
        (math.nan, "unknown"), (math.inf, "∞"), (-math.inf, "−∞"),
    ],
)  # fmt: skip
def test_numbers_have_one_form(value: float, text: str) -> None:
    """Two significant digits, grouped thousands, powers of ten, a true minus sign."""
    assert number(value) == text


@given(FINITE, st.integers(1, 6))
def test_a_number_reads_back_to_its_digits(value: float, digits: int) -> None:
    """The text is within half a unit of its last digit, and has the one form."""
    text = number(value, digits)
    assert FORM.fullmatch(text), text
    assert value_of(text) == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - digits), abs=1e-320)


@given(st.floats(1e-12, 1e12))
def test_a_setting_has_no_digit_too_many(value: float) -> None:
    """Chosen values lose nothing of six digits, and end in no zero behind a point."""
    text = setting(value)
    assert FORM.fullmatch(text) or value < 1e6, text
    assert value_of(text) == pytest.approx(value, rel=1e-5)
    assert not re.search(r"\.\d*0( ×|$)", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "0.1"), (400, "400"), (1.01, "1.01"), (1e-5, "1 × 10⁻⁵"), (40_000, "40\u202f000"),
     (600.0, "600"), (math.nan, "unknown"), (0, "0"), (-0.25, "−0.25")],
)  # fmt: skip
def test_settings_are_written_as_chosen(value: float, text: str) -> None:
    """A limit of 0.1 is no measurement of 0.10."""
    assert setting(value) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1.024, 0.0142, "1.024 ± 0.014"), (0.41, 0.013, "0.410 ± 0.013"), (2.0, 0.3, "2.0 ± 0.3"),
        (12345.6, 20.0, "12\u202f346 ± 20"), (1.0, 0.0, "1.00"), (1.02, math.nan, "1.0 ± unknown"),
        (1.02, math.inf, "1.0 ± ∞"), (math.nan, 0.1, "unknown"), (3e6, 2e4, "(3.00 ± 0.02) × 10⁶"),
        (123456.7, 0.004, "123\u202f456.700 ± 0.004"),
        (4e-7, 2e-8, "(4.0 ± 0.2) × 10⁻⁷"), (math.inf, math.nan, "∞"),
    ],
)  # fmt: skip
def test_errors_decide_the_decimals(value: float, error: float, text: str) -> None:
    """An error keeps one digit, two behind a leading 1; one that is not known is named."""
    assert estimate(value, error) == text
    assert with_error(Estimate(value, error)) == text


@given(FINITE, st.floats(1e-290, 1e290))
def test_no_error_reads_as_none(value: float, error: float) -> None:
    """A positive error is never written as zero."""
    text = estimate(value, error)
    _, sign, shown = text.strip("(").partition(" ± ")
    shown = shown.partition(")")[0]
    assert not sign or shown.startswith("<") or value_of(shown) > 0, text


@given(st.floats(0, 1))
def test_a_share_is_none_or_all_only_where_it_is(share: float) -> None:
    """0% and 100% are kept for shares that are (to a millionth) none and all."""
    text = percent(share)
    assert (text == "0%") == (share == 0)
    assert (text == "100%") == (share == 1)


def test_shares_and_times_read_as_people_say_them() -> None:
    """Percentages, seconds, minutes, hours; NaN is named."""
    assert [percent(x) for x in (0.125, 0.0004, 0.9997, 1, 0)] == [
        "12%", "0.04%", "99.97%", "100%", "0%",
    ]  # fmt: skip
    assert percent(0.0123, 1) == "1.2%"
    assert [seconds(x) for x in (0.123, 48, 150, 7500)] == ["0.12 s", "48 s", "2.5 min", "2.1 h"]
    assert [seconds(math.nan), percent(math.nan), seconds(math.inf)] == ["unknown", "unknown", "∞"]


def test_counts_ranges_and_lists() -> None:
    """One seed, two seeds; a range whose ends read the same is one number; long lists are cut."""
    assert [count(n, "seed") for n in (0, 1, 12345)] == ["0 seeds", "1 seed", "12\u202f345 seeds"]
    assert count(2, "this", "these") == "2 these"
    assert [span([]), span([0.1]), span([0.5, 0.1])] == ["none", "0.10", "0.10 to 0.50"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert listed([str(i) for i in range(8)]) == "0, 1, 2, 3, 4, 5 and 2 more"
    assert [fixed(1.00234, 3), fixed(-0.001, 1), integer(123456)] == [
        "1.002", "0.0", "123\u202f456",
    ]  # fmt: skip


def test_linear_combinations() -> None:
    """Factors of one are left out, signs stand between, and a long one is cut."""
    assert combination([("a", 1.0), ("b", -1.0)]) == "a − b"
    assert combination([("a", -1.0), ("b", 0.5)]) == "−a + 0.50 b"
    terms = [(f"x[{i}]", 1.0) for i in range(9)]
    assert combination(terms, 2) == "x[0] + x[1] and 7 more terms"
