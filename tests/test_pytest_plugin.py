"""The plugin as a user's test suite sees it: every test here runs one."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from plugin_suite import FIGURES, Run, files, folder, passed, runner

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what writes and runs a user's suite."""
    return runner(pytester, monkeypatch)


def test_pytest_starts_without_heavy_packages() -> None:
    """Whoever has the harness installed pays for it only where a check is made."""
    script = (
        "import sys, harness.check.pytest_plugin;"
        "print(*sorted(m.split('.')[0] for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    heavy = {"numpy", "scipy", "xarray", "pandas", "cmdstanpy", "matplotlib", "pydantic", "rich"}
    assert "harness" in loaded
    assert not loaded & heavy
    assert not [m for m in loaded if m.startswith("arviz")]


def test_without_baseline_a_candidate_is_written_and_the_test_fails(
    run: Run, pytester: pytest.Pytester
) -> None:
    """The test fails until the candidate is renamed."""
    for seed in (1, 2):
        result = run(seed=seed)
        assert not passed(result)
        result.stdout.fnmatch_lines(
            ["*no baseline*", "*posterior_baselines/test_fit/test_fit.candidate.json*",
             "*rename it to test_fit.json, or: pytest --posterior-regen test_fit.py::test_fit"]
        )  # fmt: skip
        assert files(pytester) == ["test_fit.candidate.json"]
    candidate = folder(pytester) / "test_fit.candidate.json"
    candidate.rename(folder(pytester) / "test_fit.json")
    assert passed(run(seed=3))
    assert files(pytester) == ["test_fit.json"]


def test_the_same_posterior_passes_with_any_seed(run: Run) -> None:
    """Twenty other seeds pass: the baseline's error and the new one's are allowed for."""
    assert passed(run("--posterior-regen"))
    assert [seed for seed in range(2, 22) if not passed(run(seed=seed))] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("draws['mu'] += 0.3 * 2", r"changed +mu +mean .*\+0\.[23]\d* sd "),
        ("draws['mu'] -= 0.3 * 2", r"changed +mu +q50 .*−0\.[23]\d* sd "),
        ("draws['mu'] = 3 + 0.85 * (draws['mu'] - 3)", r"changed +mu +sd .*× 0\.8[3-7] "),
        ("draws['mu'], draws['sigma'] = draws['sigma'], draws['mu']", r"changed +sigma +mean "),
        ("draws['count'] += 1", r"changed +count +mean "),
        ("draws['mu'] **= 2", r"changed +mu +mean "),
        ("draws['beta'][0, 5, 1] = np.nan", r"beta\[2\]: 1 of 20000 draws are not finite"),
        ("draws['beta'][0, 5, 1] = np.inf", r"beta\[2\]: 1 of 20000 draws are not finite"),
        ("draws['mu'][:] = np.nan", r"mu: 20000 of 20000 draws are not finite"),
        ("draws['mu'][:] = 3", r"changed +mu +mean "),
        ("draws['zero'] += 1", r"changed +zero +mean .* a constant with another value"),
        ("del draws['sigma']", r"changed +sigma .* missing .*draws no longer have this quantity"),
        ("draws['tau'] = draws['mu']", r"changed +tau .* new .*does not have this quantity"),
        ("draws['beta'] = draws['beta'][:, :, :1]", r"beta\[2\] .* missing"),
        ("draws['beta'] = draws['beta'][:, :, :, None]", r"beta\[1,1\] .* new"),
        ("draws['beta'] = np.concatenate([draws['beta'], draws['beta']], 2)", r"beta\[4\] .* new"),
        ("draws['mu'][0] += 20", r"changed .*moments .* the chains have not mixed"),
        ("draws = {k: v[:, :0] for k, v in draws.items()}", r"mu has no draws"),
        ("draws = {}", r"nothing to check"),
    ],
)  # fmt: skip
def test_a_fault_fails_and_the_table_says_which(
    run: Run, pytester: pytest.Pytester, change: str, words: str
) -> None:
    """Every kind of damage fails, is named, and leaves the baseline as it was."""
    assert passed(run("--posterior-regen", n=5000))
    before = (folder(pytester) / "test_fit.json").read_bytes()
    result = run(change=change, seed=2, n=5000)
    assert not passed(result)
    assert re.search(words, result.stdout.str()), result.stdout.str()
    assert (folder(pytester) / "test_fit.json").read_bytes() == before
    assert files(pytester) == ["test_fit.json"]


def test_the_table_has_only_what_is_not_the_same(run: Run) -> None:
    """Five rows at most for one parameter that moved; the rest is a number, and no internals."""
    run("--posterior-regen")
    result = run(change="draws['mu'] += 1", seed=2)
    text = result.stdout.str()
    rows = re.findall(r"^E +changed +(mu|sigma|beta\[\d\]|count|zero) ", text, re.MULTILINE)
    assert 3 <= len(rows) <= 5
    assert set(rows) == {"mu"}
    assert f"{FIGURES - len(rows)} of {FIGURES} figures are the same" in text
    assert "pytest --posterior-regen test_fit.py::test_fit" in text
    assert re.search(r"quantity +figure +old ± error +new ± error +difference +evidence", text)
    for internal in ("checking.py", "pytest_plugin/__init__.py", "raise AssertionError"):
        assert internal not in text


def test_short_chains_are_no_baseline(run: Run, pytester: pytest.Pytester) -> None:
    """An effective size near 150 is refused: next time, such chains may seem not to have mixed."""
    change = (
        "from scipy.signal import lfilter; "
        "draws = {'x': lfilter([1], [1, -0.93], rng.normal(size=(4, 1100)))[:, 100:]}"
    )
    for options in ((), ("--posterior-regen",)):
        result = run(*options, change=change)
        assert not passed(result)
        assert re.search(r"effective size 1\d\d for x: at least 200 are", result.stdout.str())
    assert files(pytester) == []


def test_hundreds_of_quantities_pass_with_any_seed(run: Run) -> None:
    """2500 figures of heavy tails and short chains: no check fails because one of them is noisy.

    With 95% intervals inside the margins, most of these checks were undecided.
    """
    change = (
        "draws = {'x': rng.standard_t(3, (4, n, 250)), 'y': rng.normal(size=(4, n, 250)), "
        "'rare': rng.random((4, n, 20)) < 2e-4}"
    )
    assert passed(run("--posterior-regen", change=change, n=1000))
    assert all(passed(run(change=change, seed=seed, n=1000)) for seed in range(2, 7))
    shifted = f"{change}; draws['y'][:, :, 7] += 0.5"
    assert re.search(r"changed +y\[8\] +mean", run(change=shifted, n=1000, seed=2).stdout.str())


def test_too_few_draws_cannot_tell_and_the_advice_helps(run: Run) -> None:
    """An undecided test fails, and passes with the number of draws that it asks for."""
    run("--posterior-regen")
    result = run(seed=2, n=150)
    assert not passed(result)
    text = result.stdout.str()
    assert "undecided whether it changed" in text
    assert not re.search(r"^E +changed", text, re.MULTILINE)
    needed = re.search(
        r"the baseline has 8000, this test 600\): about (\d+) draws would be enough", text
    )
    assert needed is not None
    assert passed(run("--posterior-regen", n=int(needed[1]) // 4))
    assert passed(run(seed=2, n=int(needed[1]) // 4))


def test_regeneration_updates_and_says_what_it_replaced(
    run: Run, pytester: pytest.Pytester
) -> None:
    """The summary names each file and whether the old baseline had changed beyond chance."""
    run()
    for change, seed, said in (
        ("", 1, "written; there was none"),
        ("", 2, "written; the same as before up to chance"),
        ("draws['mu'] += 1", 3, "written; changed by more than chance (* of 30 figures)*"),
    ):
        result = run("--posterior-regen", change=change, seed=seed)
        assert passed(result)
        result.stdout.fnmatch_lines(
            ["*baselines are written again*", "*== posterior baselines ==*",
             f"posterior_baselines/test_fit/test_fit.json: {said}"]
        )  # fmt: skip
        assert files(pytester) == ["test_fit.json"]
    assert passed(run(change="draws['mu'] += 1", seed=4))
    assert not passed(run(seed=5))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("draws['mu'][1, 7] = np.nan", "*mu: 1 of 8000 draws are not finite*"),
        ("draws['mu'] = np.sign(draws['mu'] - 3) * 1.7e308", "*the mean of mu is not finite*"),
    ],
)
def test_what_is_not_finite_is_never_written(
    run: Run, pytester: pytest.Pytester, change: str, words: str
) -> None:
    """It is written neither as a candidate, nor with the flag, nor over a baseline."""
    independent = ", independent=True"
    for options in ((), ("--posterior-regen",)):
        result = run(*options, change=change, arguments=independent)
        assert not passed(result)
        result.stdout.fnmatch_lines([words])
        assert files(pytester) == []
    run("--posterior-regen", arguments=independent)
    before = (folder(pytester) / "test_fit.json").read_bytes()
    assert not passed(run("--posterior-regen", change=change, arguments=independent))
    assert (folder(pytester) / "test_fit.json").read_bytes() == before


def test_chains_that_have_not_mixed_are_no_baseline(run: Run, pytester: pytest.Pytester) -> None:
    """There are no moments to keep, and the flag does not change that."""
    for options in ((), ("--posterior-regen",)):
        result = run(*options, change="draws['mu'][0] += 20")
        assert not passed(result)
        result.stdout.fnmatch_lines(["*chains have not mixed: R-hat*for mu*"])
        assert files(pytester) == []


Raw = dict[str, Any]


def edited(change: Callable[[Raw, Raw], object]) -> Callable[[str], str]:
    """Return what damages a baseline inside its JSON: the whole, or its method."""

    def edit(text: str) -> str:
        raw = json.loads(text)
        change(raw, raw["methods"]["draws"])
        return json.dumps(raw)

    return edit


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda _: "", "is not JSON"),
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: f"<<<<<<< HEAD\n{text}", "is not JSON"),
        (lambda _: "[]", "has schema None"),
        (edited(lambda raw, _: raw.update(schema=2)), "has schema 2"),
        (edited(lambda raw, _: raw.pop("methods")), "'methods' is missing"),
        (edited(lambda raw, _: raw.update(methods={})), "holds nothing where this check needs"),
        (edited(lambda raw, m: raw.update(methods={"nuts": m})), "holds nuts where this check"),
        (edited(lambda _, m: m["quantities"]["mu"]["sd"].update(value=None)), "has no figure"),
        (edited(lambda _, m: m.update(no_moments="x", quantities={})), "undecided"),
        (edited(lambda _, m: m.update(quantities={})), "neither quantities nor a reason"),
        (
            edited(lambda _, m: m.update(kind="independent")),
            "the baseline is of independent draws, now there are Markov chains",
        ),
    ],
)
def test_a_damaged_baseline_fails_and_is_left_alone(
    run: Run, pytester: pytest.Pytester, damage: Callable[[str], str], words: str
) -> None:
    """An unreadable baseline is never the same; the flag replaces it and says so."""
    run("--posterior-regen")
    path = folder(pytester) / "test_fit.json"
    path.write_text(damage(path.read_text("utf-8")), "utf-8")
    before = path.read_bytes()
    result = run(seed=2)
    assert not passed(result)
    text = result.stdout.str()
    assert words in text
    assert "pytest --posterior-regen" in text
    assert "harness baseline" not in text
    assert path.read_bytes() == before
    assert passed(run("--posterior-regen"))
    assert passed(run(seed=2))


def test_a_folder_that_cannot_be_written_fails(run: Run, pytester: pytest.Pytester) -> None:
    """The error names a file in the place of the folder."""
    (pytester.path / "posterior_baselines").write_text("in the way")
    for options in ((), ("--posterior-regen",)):
        result = run(*options)
        assert not passed(result)
        result.stdout.fnmatch_lines(["*cannot write beside posterior_baselines*"])
