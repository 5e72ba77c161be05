"""Baselines on disk: their form, and that reading returns what was written."""

from __future__ import annotations

import difflib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from baseline_builders import any_method, few, figures, names, sampler, scattered, whole
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.check.baseline.file import dumps, read, write
from harness.check.baseline.form import Baseline, Figure, MethodBaseline, Share
from harness.check.baseline.observe import describe_program
from harness.models import folders


def again(baseline: Baseline) -> Baseline:
    """Write a baseline and read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.json"
        write(baseline, path)
        return read(path)


def of_figure(figure: Figure) -> Baseline:
    """Return a baseline in which a figure is the mean of x."""
    return whole({"nuts": sampler(quantities={"x": figures() | {"mean": figure}})})


def written(figure: Figure) -> str:
    """Return the line that a figure is written in."""
    (line,) = (x for x in dumps(of_figure(figure)).splitlines() if '"mean"' in x)
    return line.strip().rstrip(",")


def changed_lines(before: Baseline, now: Baseline) -> list[str]:
    """Return the lines that a diff shows as removed or added."""
    diff = difflib.unified_diff(dumps(before).splitlines(), dumps(now).splitlines(), n=0)
    return [line for line in diff if line[:1] in "+-" and line[:3] not in {"+++", "---"}]


TEXT = """\
{
  "schema": 1,
  "model": "drug",
  "written": {"date": "2026-11-21", "command": "harness baseline", "cmdstan": "2.38.0"},
  "request": {
    "source": {"program": "../drug.stan", "data": "../drug.json"},
    "methods": ["nuts", "meanfield"],
    "seeds": 10,
    "reference": "auto",
    "quantities": null
  },
  "program": {
    "hash": "00ff",
    "text": [
      "data { int N; }",
      "",
      "model { }"
    ]
  },
  "data": {
    "hash": "11ee",
    "variables": {
      "N": {"size": 1, "hash": "ab"}
    }
  },
  "reference": {"kind": "exact", "trusted": true},
  "methods": {
    "meanfield": {
      "kind": "seeds",
      "seeds": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      "draws": 1000,
      "kept": 0,
      "options": {},
      "level": "fail",
      "typical": "warn",
      "levels": {"fail": 3, "warn": 7},
      "causes": [],
      "faults": {},
      "shares": {
        "ran_away": {"count": 3, "of": 10, "share": 0.3, "error": 0.13}
      },
      "no_moments": "only 3 of 10 seeds",
      "quantities": {},
      "fingerprints": []
    },
    "nuts": {
      "kind": "chains",
      "seeds": [1, 2],
      "draws": 4000,
      "kept": 2,
      "options": {"chains": 4, "samples": 1000},
      "level": "pass",
      "typical": "pass",
      "levels": {"pass": 2},
      "causes": [],
      "faults": {},
      "shares": {
        "failed": {"count": 0, "of": 2, "share": 0.0, "error": 0.19}
      },
      "no_moments": "",
      "quantities": {
        "x": {
          "mean": {"value": 0.0, "mcse": 0.01, "ess": 10000},
          "sd": {"value": 1.0, "mcse": 0.01, "ess": 10000},
          "q5": {"value": -1.6449, "mcse": 0.01, "ess": 10000},
          "q50": {"value": 0.0, "mcse": 0.01, "ess": 10000},
          "q95": {"value": 1.6449, "mcse": 0.01, "ess": 10000}
        }
      },
      "fingerprints": ["0a1b2c3d4e5f6071", "8192a3b4c5d6e7f8"]
    }
  }
}
"""


def test_a_baseline_reads_like_this() -> None:
    """The text of a whole baseline: one figure a line, methods sorted, nothing wrapped."""
    assert dumps(whole()) == TEXT


@few
@given(st.dictionaries(names, any_method(), min_size=1, max_size=2))
def test_what_is_read_is_what_was_written(methods: dict[str, MethodBaseline]) -> None:
    """All but figures comes back equal; figures to a hundredth of their error, no gap filled.

    Written again it shows no diff, whatever the digits of its errors.
    """
    before = whole(methods)
    after = again(before)
    assert dumps(after) == dumps(before)
    assert replace(after, methods={}) == replace(before, methods={})
    assert after.methods.keys() == methods.keys()
    for name, method in methods.items():
        found = after.methods[name]
        assert replace(found, quantities={}) == replace(method, quantities={})
        assert found.quantities.keys() == method.quantities.keys()
        for quantity, expected in method.quantities.items():
            assert_close(found.quantities[quantity], expected)


def assert_close(found: Mapping[str, Figure], expected: Mapping[str, Figure]) -> None:
    """Compare figures: values within a hundredth of their errors, errors within 0.5%."""
    assert found.keys() == expected.keys()
    for what, old in expected.items():
        new = found[what]
        assert new.why == old.why
        for a, b in ((new.mcse, old.mcse), (new.ess, old.ess), (new.spread, old.spread),
                     (new.margin, old.margin)):  # fmt: skip
            assert (a is None) == (b is None)
            if a is None or b is None:
                continue
            assert math.isnan(a) if not math.isfinite(b) else a == pytest.approx(b, rel=0.005)
        if not math.isfinite(old.value):
            assert math.isnan(new.value)
        elif math.isfinite(old.mcse) and old.mcse > 0:
            # The last digit of a double is the other limit of what can be written.
            assert abs(new.value - old.value) <= 0.0101 * old.mcse + 1e-15 * abs(old.value)
        else:
            assert new.value == old.value


def test_an_error_that_rounds_up_to_the_next_decade_keeps_its_digits() -> None:
    """An error of 0.09996 is written as 0.1, and the value is rounded to that."""
    once = again(of_figure(Figure(1.23456, 0.09996, 100.0)))
    assert written(once.methods["nuts"].quantities["x"]["mean"]) == written(
        Figure(1.23456, 0.09996, 100.0)
    )


@settings(deadline=None)
@given(value=st.floats(-1e12, 1e12), mcse=st.floats(1e-9, 1e9))
def test_numbers_keep_two_digits_beyond_their_error(value: float, mcse: float) -> None:
    """A written value is off by no more than a hundredth of its error."""
    back = again(of_figure(Figure(value, mcse, 100.0))).methods["nuts"].quantities["x"]["mean"]
    assert abs(back.value - value) <= mcse / 100 + 1e-15 * abs(value)


@pytest.mark.parametrize(
    ("figure", "line"),
    [
        (Figure(1.02401234567, 0.00312345, 1234.5678),
         '{"value": 1.02401, "mcse": 0.00312, "ess": 1235}'),
        (Figure(-123456.789, 312.345, 99.96), '{"value": -123457.0, "mcse": 312, "ess": 99.96}'),
        (Figure(1.5e-7, 2.5e-9, 1e6), '{"value": 1.5e-07, "mcse": 2.5e-09, "ess": 1000000}'),
        (Figure(0.5, 0.25, 10.0, 0.79056, 0.51234),
         '{"value": 0.5, "mcse": 0.25, "ess": 10, "spread": 0.791, "margin": 0.512}'),
        (Figure(0.1, 0.0, 10.0), '{"value": 0.1, "mcse": 0, "ess": 10}'),
        (Figure(math.nan, math.nan, math.nan, why="no draws"),
         '{"value": null, "mcse": null, "ess": null, "why": "no draws"}'),
        (Figure(math.inf, -math.inf, 3.0), '{"value": null, "mcse": null, "ess": 3}'),
    ],
)  # fmt: skip
def test_how_a_figure_is_written(figure: Figure, line: str) -> None:
    """Digits beyond the error's are left out; infinities and NaN are null."""
    assert written(figure) == f'"mean": {line}'


def test_a_changed_figure_changes_its_line_only() -> None:
    """A diff shows what moved, and not its neighbours."""
    q = figures()
    before = whole({"nuts": sampler(quantities={"a": q, "beta[2]": q, "z": q})})
    moved = q | {"q50": replace(q["q50"], value=0.25)}
    now = whole({"nuts": sampler(quantities={"a": q, "beta[2]": moved, "z": q})})
    assert changed_lines(before, now) == [
        '-          "q50": {"value": 0.0, "mcse": 0.01, "ess": 10000},',
        '+          "q50": {"value": 0.25, "mcse": 0.01, "ess": 10000},',
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [("level", "warn"), ("levels", {"pass": 1, "warn": 1}), ("seeds", (1, 2, 3)), ("kept", 1),
     ("options", {"chains": 2}), ("causes", ("correlation",)), ("draws", 2000),
     ("shares", {"failed": Share(1, 2)}), ("fingerprints", ("0a", "0b"))],
)  # fmt: skip
def test_a_changed_part_of_a_method_changes_its_line_only(field: str, value: object) -> None:
    """Every part of a method has a line of its own."""
    before = sampler()
    lines = changed_lines(
        whole({"nuts": before}),
        whole({"nuts": replace(before, **{field: value})}),  # type: ignore[arg-type]
    )
    assert [line[0] for line in lines] == ["-", "+"]
    assert field in lines[0] or "failed" in lines[0]


def test_a_changed_line_of_the_program_changes_its_line_only() -> None:
    """A program is kept line by line, so that its diff reads as in its own file."""
    before, now = whole(), whole(program={"hash": "00ff", "text": ["data { int N; }", "", "mod"]})
    assert changed_lines(before, now) == ['-      "model { }"', '+      "mod"']


def test_a_quantity_that_is_added_or_gone_shows_nothing_else() -> None:
    """Quantities between others come and go without a trace in the others' lines."""
    q = figures()
    before = whole({"nuts": sampler(quantities={"a": q, "z": q})})
    now = whole({"nuts": sampler(quantities={"z": q, "m": q, "a": q})})
    assert {line[0] for line in changed_lines(before, now)} == {"+"}
    assert len(changed_lines(before, now)) == 7


def test_order_is_that_of_a_reader() -> None:
    """Elements are in the order of their numbers, whatever the order they were found in."""
    expected = ["alpha", "beta[1]", "beta[2]", "beta[10]", "m[1,2]", "m[1,10]", "m[2,1]", "x2",
                "x10", "σ²"]  # fmt: skip
    q = figures()
    ways = (expected, expected[::-1], sorted(expected))
    made = [dumps(whole({"nuts": sampler(quantities=dict.fromkeys(w, q))})) for w in ways]
    assert made[0] == made[1] == made[2]
    assert list(json.loads(made[0])["methods"]["nuts"]["quantities"]) == expected


def test_the_order_of_dictionaries_does_not_show() -> None:
    """The same figures give the same bytes, in whatever order they were gathered."""
    a, b = sampler(faults={"bias": 1, "tail": 2}), scattered(2)
    one = whole({"nuts": a, "meanfield": b})
    two = whole(
        {"meanfield": b, "nuts": replace(a, faults={"tail": 2, "bias": 1}, options={
            "samples": 1000, "chains": 4})}
    )  # fmt: skip
    assert dumps(one) == dumps(two)


def test_a_baseline_is_small() -> None:
    """Twenty quantities of five methods and a program of 60 lines are under 60 kB."""
    rng_like = {f"beta[{i}]": figures(mean=math.pi * i, error=0.0123) for i in range(20)}
    seeds = tuple(range(1, 11))
    one = sampler(quantities=rng_like, seeds=seeds, fingerprints=("0123456789abcdef",) * 10)
    methods = {f"method_{i}": one for i in range(5)}
    program = {"hash": "0", "text": ["  y ~ normal(alpha + beta * x, sigma);"] * 60}
    assert len(dumps(whole(methods, program=program))) < 60_000


def test_every_lecture_program_is_one_line_a_line() -> None:
    """No program is so short of spaces that it ends up on one line."""
    for name in folders.lecture_models():
        if not (folders.models_root() / name / "data.json").is_file():
            continue
        program = describe_program(folders.load(name))
        text = dumps(whole(program=program))
        assert len(program["text"]) > 3
        assert all(f"      {json.dumps(line, ensure_ascii=False)}" in text.splitlines() or
                   f"      {json.dumps(line, ensure_ascii=False)}," in text.splitlines()
                   for line in program["text"])  # fmt: skip


def test_what_cannot_be_written_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """A baseline is written whole or not at all."""
    path = tmp_path / "new folder" / "m.json"
    write(whole(), path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write(whole(written={"seconds": math.nan}), path)
    assert path.read_text(encoding="utf-8") == dumps(whole())
    assert [p.name for p in path.parent.iterdir()] == ["m.json"]


@pytest.mark.parametrize("count", range(11))
def test_the_error_of_a_share_is_that_of_jeffreys_posterior(count: int) -> None:
    """It is never zero, and for half of the seeds nearly the usual one."""
    share = Share(count, 10)
    a, b = count + 0.5, 10.5 - count
    assert share.value == count / 10
    assert share.mcse == pytest.approx(math.sqrt(a * b / 11**2 / 12))
    assert share.mcse > 0.05
    assert Share(10 - count, 10).mcse == pytest.approx(share.mcse)


def test_a_share_of_nothing_is_no_number() -> None:
    """None of no seeds is not zero."""
    assert math.isnan(Share(0, 0).value)
