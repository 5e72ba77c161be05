"""What the plugin's baselines are called, where they lie, and what settings are refused."""

from __future__ import annotations

import pytest
from plugin_suite import Run, files, folder, passed, runner

from harness.check.pytest_plugin import places

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what writes and runs a user's suite."""
    return runner(pytester, monkeypatch)


NAMED = """
import numpy as np
import pytest

def draws():
    return {{"mu": np.random.default_rng(1).normal(size=(4, 2000))}}

{body}
"""


def named(body: str) -> str:
    """Return a suite with this body."""
    return NAMED.format(body=body)


def test_every_test_has_a_file_of_its_own(run: Run, pytester: pytest.Pytester) -> None:
    """Classes and parameters are part of the default name, whatever characters they have."""
    body = """
class TestA:
    def test_x(self, posterior_regression):
        posterior_regression.check(draws())

class TestB:
    def test_x(self, posterior_regression):
        posterior_regression.check(draws())
        posterior_regression.check(draws(), "other")

@pytest.mark.parametrize("p", ["a-0.5", "a/b", "a b", "../../up", "x.candidate", "x" * 300, "é"])
def test_p(posterior_regression, p):
    posterior_regression.check(draws())
"""
    result = run("--posterior-regen", text=named(body))
    result.assert_outcomes(passed=9)
    found = files(pytester)
    assert len(found) == 10
    assert {"TestA-test_x.json", "TestB-test_x.json", "other.json", "test_p-a-0.5.json"} <= {*found}
    assert sum(name.startswith("test_p-a_b-") for name in found) == 2
    assert all(places.usable(name.removesuffix(".json")) for name in found)
    assert [p.name for p in pytester.path.glob("posterior_baselines/*")] == ["test_fit"]
    run(text=named(body)).assert_outcomes(passed=9)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "../up", "/root", "a b", "a:b", "a\n", "é", ".hidden", "end.",
     "x.candidate", "X.Candidate", "con", "NUL.txt", "x" * 101],
)  # fmt: skip
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    """Names that only some systems refuse, and names of candidates, are refused too."""
    with pytest.raises(ValueError, match="cannot name a baseline's file"):
        places.valid_name(name)


def test_usable_names_stay_as_they_are() -> None:
    """A usable name is the name of the file."""
    for name in ("fit", "eight_schools-v2", "a.b", "A+b=1", "1", "_x"):
        assert places.valid_name(name) == name
    with pytest.raises(TypeError, match="must be a text, not 3"):
        places.valid_name(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            """
def test_twice(posterior_regression):
    posterior_regression.check(draws(), "fit")
    posterior_regression.check(draws(), "Fit")
""",
            "*'Fit' was already checked in this test*",
        ),
        (
            """
def test_default_twice(posterior_regression):
    posterior_regression.check(draws())
    posterior_regression.check(draws())
""",
            "*'test_default_twice' was already checked in this test*",
        ),
        (
            """
@pytest.mark.parametrize("p", [1, 2])
def test_p(posterior_regression, p):
    posterior_regression.check(draws(), "fit")
""",
            "*test_fit/fit.json belongs to test_fit.py::test_p?1?;*",
        ),
    ],
)
def test_one_file_is_not_shared(run: Run, body: str, words: str) -> None:
    """Two checks that would overwrite each other's baseline fail."""
    result = run("--posterior-regen", text=named(body))
    assert result.parseoutcomes()["failed"] == 1
    result.stdout.fnmatch_lines([words])


def test_the_folder_is_a_setting(run: Run, pytester: pytest.Pytester) -> None:
    """It mirrors the folders of the tests, so files with equal names do not collide."""
    pytester.makeini("[pytest]\nposterior_regression_dir = data/baselines")
    inner = pytester.mkdir("inner")
    run()
    (pytester.path / "test_fit.py").rename(inner / "test_fit.py")
    assert passed(run("--posterior-regen", "inner", text=""))
    # A baseline takes the place of its candidate.
    assert passed(run("--posterior-regen", "test_fit.py"))
    assert [
        p.relative_to(pytester.path).as_posix()
        for p in sorted((pytester.path / "data").rglob("*.json"))
    ] == [
        "data/baselines/inner/test_fit/test_fit.json",
        "data/baselines/test_fit/test_fit.json",
    ]


@pytest.mark.parametrize("value", ["0", "1", "2", "-1e-4", "nan", "many"])
def test_an_impossible_alpha_ends_the_run(run: Run, pytester: pytest.Pytester, value: str) -> None:
    """The run ends before any test and says what is allowed."""
    pytester.makeini(f"[pytest]\nposterior_regression_alpha = {value}")
    result = run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*posterior_regression_alpha is*must be a number between 0*"])


def test_alpha_comes_from_the_call_the_setting_or_the_harness(
    run: Run, pytester: pytest.Pytester
) -> None:
    """They apply in this order, and a failed check names the one used."""
    run("--posterior-regen")
    moved = "draws['mu'] += 2"
    run(change=moved).stdout.fnmatch_lines(["*false alarms in the whole check: 1 × 10⁻⁴;*"])
    pytester.makeini("[pytest]\nposterior_regression_alpha = 0.01")
    run(change=moved).stdout.fnmatch_lines(["*false alarms in the whole check: 0.01;*"])
    result = run(change=moved, arguments=", alpha=0.05")
    result.stdout.fnmatch_lines(["*false alarms in the whole check: 0.05;*"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (", alpha=0", "*alpha is 0; it must be between 0 and 1*"),
        (", alpha=float('nan')", "*alpha is nan;*"),
        (", location=0", "*location is 0; a margin must be positive*"),
        (", scale=float('inf')", "*scale is inf; a margin*"),
        (", scale=float('nan')", "*scale is nan; a margin*"),
        (", name='a/b'", "*'a/b' cannot name a baseline's file*"),
        (
            ", quantities=['nu']",
            "*unknown quantities: nu; the draws have mu, sigma, beta, count and zero*",
        ),
    ],
)
def test_an_impossible_argument_fails(
    run: Run, pytester: pytest.Pytester, arguments: str, words: str
) -> None:
    """Nothing is compared and nothing is written."""
    result = run("--posterior-regen", arguments=arguments)
    assert not passed(result)
    result.stdout.fnmatch_lines([words])
    assert not folder(pytester).exists()


def test_margins_decide_what_counts(run: Run) -> None:
    """A mean moved by 0.3 sd is the same for whom half an sd is nothing, likewise an sd."""
    run("--posterior-regen")
    moved = "draws['mu'] = 3.6 + 0.85 * (draws['mu'] - 3)"
    assert not passed(run(change=moved, seed=2))
    assert not passed(run(change=moved, seed=2, arguments=", location=0.5"))
    assert passed(run(change=moved, seed=2, arguments=", location=0.5, scale=0.5"))
