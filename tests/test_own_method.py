"""A method of one's own goes to the verdict without an edit of the package."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_posteriordb import add

import harness
from harness.methods import METHODS
from harness.methods.bridged import FitError
from harness.methods.own import gaussian
from harness.records import Reason
from harness.stan import cache_dir, embedded

pytestmark = [
    pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-"),
    pytest.mark.usefixtures("isolated_cache"),
]

PAGE = (Path(__file__).parents[1] / "docs" / "own-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

CORRELATED = """
data { real r; }
parameters { vector[2] x; }
model { x ~ multi_normal([1, 0]', [[1, r], [r, 1]]); }
"""

R = 0.8
EXACT = np.random.default_rng(7).multivariate_normal([1, 0], [[1, R], [R, 1]], (4, 5000))
"""Independent draws of the posterior, shape (chain, draw, 2)."""

Returned = Any
Fit = Callable[[Any, np.random.Generator, int], Returned]


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., harness.ComparisonResult]:
    """Return a comparison of functions on a correlated Gaussian, against exact draws."""
    program = tmp_path / "pair.stan"
    program.write_text(CORRELATED, "utf-8")

    def made(methods: dict[str, Any], **options: Any) -> harness.ComparisonResult:
        wanted = {"quick": True, "reference": {"x": EXACT}, **options}
        return harness.compare(program, {"r": R}, methods=methods, **wanted)

    return made


def normal(mean: tuple[float, float], covariance: list[list[float]]) -> Fit:
    """Return a fit that draws from a Gaussian, and asks for one gradient."""

    def fit(target: Any, rng: np.random.Generator, draws: int) -> Returned:
        target.log_density_gradient(np.zeros((1, target.dimension)))
        e = rng.standard_normal((draws, target.dimension))
        return mean + e @ np.linalg.cholesky(covariance).T, -0.5 * np.sum(e**2, axis=1)

    return fit


EXACTLY = normal((1.0, 0.0), [[1, R], [R, 1]])
SHIFTED = normal((2.0, 0.0), [[1, R], [R, 1]])
NARROW = normal((1.0, 0.0), [[1 - R**2, 0], [0, 1 - R**2]])
"""The best Gaussian with independent parameters: KL(q‖p) = −½ log(1 − r²) nats."""


def test_right_and_wrong_ones_are_told_apart_counted_and_explained(
    compare: Callable[..., harness.ComparisonResult],
) -> None:
    """The posterior passes, a shift fails; a Gaussian without correlations has a family gap."""
    result = compare(
        {"right": EXACTLY, "shifted": SHIFTED, "narrow": NARROW, "dadvi_psis": None},
        seeds=2,
        why=True,
    )
    levels = {name: verdict.level for name, verdict in result.verdicts.items()}
    assert levels == {"right": "pass", "shifted": "fail", "narrow": "fail", "dadvi_psis": "pass"}
    (model,) = result.comparison.models
    for run in (r for r in model.runs if r.spec.method not in METHODS):
        assert run.cost.gradient_evaluations == 1
        assert run.cost.log_density_evaluations == run.spec.draws
        assert run.cost.seconds > 0
    assert model.explanation is not None
    gaps = {g.method: g for g in model.explanation.gaps}
    gap = gaps["narrow"].family_gap
    best = -0.5 * np.log(1 - R**2)
    assert abs(gap.value - best) <= 4 * gap.mcse + 1e-6
    assert set(gaps) >= {"right", "shifted", "narrow"}
    assert "narrow" in str(result)
    for verdict in result.verdicts.values():
        lines = str(verdict).splitlines()
        assert lines[0].startswith(f"{verdict.method} on pair: {verdict.level}")
        assert len(lines) <= 10
        assert max(map(len, lines)) <= 80
    assert result.draws["right"].posterior["x"].shape == (1, 10_000, 2)
    tree = result.to_datatree()
    assert {"right", "right_2", "narrow", "dadvi_psis"} <= set(tree.children)
    assert tree["narrow_2/posterior/x"].shape == (1, 10_000, 2)
    assert tree.attrs["without_draws"] == ""
    figure = result.plot("x[2]")
    assert {p.method for p in figure.panels} == set(result.verdicts)
    assert figure.caption.startswith("Shaded: the reference (supplied draws)")
    html = figure._repr_html_()
    assert html.count("<svg") == len(figure.panels)
    assert "x[2]" in html
    assert "narrow" in html
    with pytest.raises(KeyError, match=r"no draws of 'y'; there are x\[1\]"):
        result.plot("y")
    with pytest.raises(KeyError, match="no model 'other'; there are pair"):
        result.plot("x[1]", "other")
    assert {p.method for p in result.plot_cost().panels} <= {"", *result.verdicts}


def test_nothing_is_kept_and_the_next_comparison_calls_again(
    compare: Callable[..., harness.ComparisonResult],
) -> None:
    """Another function of the same name has its own draws, those of the first stay with it."""
    first = compare({"mine": EXACTLY})
    second = compare({"mine": SHIFTED})
    assert (first.verdicts["mine"].level, second.verdicts["mine"].level) == ("pass", "fail")
    means = [float(r.draws["mine"].posterior["x"][..., 0].mean()) for r in (first, second)]
    assert means == pytest.approx([1, 2], abs=5 / np.sqrt(10_000))  # five standard errors
    assert not list((cache_dir() / "results").glob("??/*/result.json"))


def _raises(target: Any, rng: Any, draws: int) -> Returned:
    del target, rng, draws
    raise ZeroDivisionError("no luck")


def _short(target: Any, rng: Any, draws: int) -> Returned:
    del rng
    return np.zeros((draws - 1, target.dimension))


def _nan(target: Any, rng: np.random.Generator, draws: int) -> Returned:
    z = rng.standard_normal((draws, target.dimension))
    z[3, 1] = np.nan
    return z


def _inf_log_q(target: Any, rng: np.random.Generator, draws: int) -> Returned:
    return rng.standard_normal((draws, target.dimension)), np.full(draws, -np.inf)


def _nothing(target: Any, rng: Any, draws: int) -> Returned:
    del target, rng, draws
    return None


def _vector(target: Any, rng: Any, draws: int) -> Returned:
    del rng, draws
    target.log_density(np.zeros(target.dimension))


def _twice(target: Any, rng: np.random.Generator, draws: int) -> Returned:
    e = rng.standard_normal((draws, target.dimension))
    return e, -np.sum(e**2, axis=1)


def _dies(target: Any, rng: Any, draws: int) -> Returned:
    del target, rng, draws
    os._exit(3)


BAD: dict[str, tuple[Fit, str]] = {
    "raises": (_raises, "ZeroDivisionError: no luck"),
    "short": (_short, r"draws of shape \(9999, 2\); allowed: \(10000, 2\)"),
    "nan": (_nan, "draws with 1 of 20000 values not finite"),
    "inf_log_q": (_inf_log_q, "log_q with 10000 of 10000 values not finite"),
    "nothing": (_nothing, r"draws"),
    "vector": (_vector, r"points of shape \(2,\); allowed: \(points, 2\)"),
    "twice": (_twice, "log_q is a Gaussian's, but not that of the draws"),
    "dies": (_dies, "killed"),
}


def test_what_goes_wrong_is_a_failed_run_with_its_message(
    compare: Callable[..., harness.ComparisonResult],
) -> None:
    """None of them passes, none stops the others, and the good one beside them is judged."""
    result = compare({"good": EXACTLY, **{name: fit for name, (fit, _) in BAD.items()}})
    assert result.verdicts["good"].level == "pass"
    assert "raises (seed 1) has no draws" in result.to_datatree().attrs["without_draws"]
    with pytest.raises(ValueError, match="fewer than three"):
        result.plot_cost()
    (model,) = result.comparison.models
    said = {run.spec.method: run.message for run in model.runs}
    for name, (_, message) in BAD.items():
        # What was killed may have been killed by anybody.
        assert result.verdicts[name].level == ("unknown" if name == "dies" else "fail"), name
        assert re.search(message, said[name]), (name, said[name])


def test_a_fit_that_takes_too_long_is_stopped_at_its_next_call_of_the_target(
    compare: Callable[..., harness.ComparisonResult],
) -> None:
    """It has no draws, and fails."""

    def slow(target: Any, rng: Any, draws: int) -> Returned:
        del rng, draws
        while True:
            target.log_density(np.zeros((1, target.dimension)))
            time.sleep(0.05)

    result = compare({"slow": slow}, timeout_s=1.0)
    (model,) = result.comparison.models
    run = next(r for r in model.runs if r.spec.method == "slow")
    assert (run.status, run.reason) == ("timed_out", Reason.TIME_LIMIT)
    assert result.verdicts["slow"].level == "fail"


def test_a_function_that_cannot_travel_fails_and_says_so(
    compare: Callable[..., harness.ComparisonResult],
) -> None:
    """A lock goes to no other process."""
    lock = threading.Lock()

    def held(target: Any, rng: np.random.Generator, draws: int) -> Returned:
        with lock:
            return rng.standard_normal((draws, target.dimension))

    result = compare({"held": held, "good": EXACTLY})
    (model,) = result.comparison.models
    run = next(r for r in model.runs if r.spec.method == "held")
    assert run.status == "failed"
    assert "pickle" in run.message
    assert result.verdicts["held"].level == "fail"
    assert result.verdicts["good"].level == "pass"


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        ({"dadvi": _nan}, ValueError, "'dadvi' is a name of the harness"),
        ({"reference": _nan}, ValueError, "'reference' is a name of the harness"),
        ({"../mine": _nan}, ValueError, "cannot be called '../mine'"),
        ({"mine": None}, ValueError, r"unknown methods \['mine'\]"),
        ({"mine": 3}, TypeError, "mine is int; allowed: fit"),
    ],
)
def test_names_that_are_taken_and_what_is_no_function_are_refused(
    compare: Callable[..., harness.ComparisonResult],
    methods: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    """Before anything runs."""
    with pytest.raises(error, match=message):
        compare(methods)


@pytest.mark.parametrize(
    ("covariance", "family"), [([1.0, 0.0, 4.0], "meanfield"), ([1.0, 0.5, 1.0], "fullrank")]
)
def test_gaussians_are_known_by_their_log_density(covariance: list[float], family: str) -> None:
    """With any constant; what is no Gaussian is none."""
    a, b, c = covariance
    factor = np.linalg.cholesky([[a, b], [b, c]])
    e = np.random.default_rng(1).standard_normal((2000, 2))
    z, log_q = e @ factor.T, -0.5 * (e**2).sum(axis=1) + 3
    assert gaussian(z, log_q) == family
    assert gaussian(z, log_q + 1e-3 * np.abs(z[:, 0])) is None
    with pytest.raises(FitError, match="not that of the draws"):
        gaussian(z, 1.5 * log_q)
    assert gaussian(z[:20], log_q[:20]) is None  # too few to tell


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten lines from the page, then its loop over a posteriordb."""
    (tmp_path / "my.stan").write_text(CORRELATED, "utf-8")
    (tmp_path / "my.json").write_text(f'{{"r": {R}}}', "utf-8")
    add(tmp_path / "db" / "posterior_database", "normal")
    monkeypatch.chdir(tmp_path)
    printed: list[tuple[Any, ...]] = []
    names = {"posteriordb_path": tmp_path / "db", "print": lambda *a: printed.append(a)}
    for block in BLOCKS:
        exec(compile(block, "docs/own-method.md", "exec"), names)  # noqa: S102 - the page's own
    assert "mine" in str(printed[0][0])
    assert printed[0][0].verdicts["mine"].level in {"pass", "fail", "warn", "unknown"}
    assert printed[1][:2] == ("d-normal", "pass")
