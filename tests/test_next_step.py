"""The next command to type where verdicts are unknown."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.cli import main
from harness.methods import METHODS
from harness.metrics.chains import DIVERGENCES, ESS_BULK, RHAT
from harness.records import (
    Attempt,
    Comparison,
    Cost,
    Disagreement,
    Draws,
    Estimate,
    Finding,
    Level,
    Measure,
    Model,
    ModelComparison,
    Reason,
    Reference,
    Refuted,
    Rule,
    RunResult,
    RunSpec,
    Verdict,
)
from harness.records.budget import Scarce
from harness.report import files, html, terminal
from harness.report.files.netcdf import to_datatree
from harness.report.next_step import next_command

RULE = Rule(0.1, 0.5, "both", "a reason")
TYPED = "harness compare a.stan a.json --set nuts.adapt_delta=0.9 --seeds 2"


def finding(
    metric: str, *, wrong: bool = False, seed: int | None = 1, beyond: Scarce | None = None
) -> Finding:
    """Return a figure that is off, or wrong."""
    measure = Measure("a", "nuts", seed, "x", metric, 1.0, 0.0, "nuts")
    return Finding(RULE, measure, "wrong" if wrong else "unsure", "a sentence", None, beyond)


def comparison(
    reference: Reference, *found: Finding, level: Level = "unknown", typed: str = TYPED
) -> Comparison:
    """Return a comparison with one verdict."""
    verdict = Verdict("a", "dadvi", level, level, 2, 0, "a reason", found)
    model = Model("a", "a", Path("a.stan"), Path("a.json"))
    entry = ModelComparison(model, None, reference, verdicts=(verdict,))
    return Comparison((entry,), (), {"command": typed})


def refused(*found: Finding, refuted: Refuted | None = None, delta: float = 0.99) -> Reference:
    """Return NUTS refused after its last run; what is shown has no draws any more."""
    attempt = Attempt(delta, 10, 1000, 3, trusted=False, short="")
    return Reference(
        "nuts", False, "why", None, found, "short", attempts=(attempt,), refuted=refuted
    )  # fmt: skip


CASES = {
    "divergences": (refused(finding(DIVERGENCES.id)), "--set nuts.adapt_delta=0.999"),
    "divergences at .999": (refused(finding(DIVERGENCES.id), delta=0.999), "--reference DRAWS.nc"),
    "a small ESS": (refused(finding(ESS_BULK.id)), "--set nuts.samples=4000"),
    "chains apart": (refused(finding(RHAT.id, wrong=True)), "--reference DRAWS.nc"),
    "a missing mode": (refused(refuted=Refuted("mode", 0.0)), "--reference DRAWS.nc"),
    "chains of others": (Reference("supplied", False, "why"), "--reference auto"),
    "no draws": (Reference("none", False, "why"), "--reference DRAWS.nc"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_command_answers_why_the_reference_was_refused(case: str) -> None:
    """It keeps what was typed, and gives an option once."""
    reference, option = CASES[case]
    found = comparison(reference)
    command = next_command(found, found.models[0])
    assert command.endswith(option)
    assert command.startswith("harness compare a.stan a.json")
    assert command.count("nuts.adapt_delta") == 1


def test_undecided_seeds_ask_for_more_seeds_and_undecided_draws_for_longer_chains() -> None:
    """With a trusted reference the sample that is too small grows."""
    trusted = replace(refused(), trusted=True)
    found = comparison(trusted, finding("bias"), finding("seed_spread", seed=None))
    command = next_command(found, found.models[0])
    assert command.endswith("--set nuts.samples=4000 --seeds 8")
    assert "--seeds 2" not in command


OWN = {
    "meanfield": "--seeds 8",
    "dadvi_psis": "--set dadvi_psis.proposals=16 --set dadvi_psis.weights_s=40",
    "svgd": "--set svgd.particles=4000",
}


@pytest.mark.parametrize("method", OWN)
def test_a_method_whose_own_draws_are_too_few_gets_more_of_them(method: str) -> None:
    """Longer chains would not help: proposals, particles, or more seeds do."""
    found = comparison(replace(refused(), trusted=True), finding("bias", beyond="run"))
    (entry,) = found.models
    row = METHODS[method]
    run = RunResult(
        RunSpec("a", method, row.defaults, 1, row.draws),
        "key",
        "ok",
        "",
        None,
        None,
        {},
        Cost(1.0),
        {},
    )
    entry = replace(
        entry, runs=(run,), verdicts=tuple(replace(v, method=method) for v in entry.verdicts)
    )
    command = next_command(found, entry)
    assert command.endswith(OWN[method])
    assert "nuts.samples" not in command
    assert "--reference" not in command


def test_what_the_machine_ended_is_asked_for_again() -> None:
    """A full disk says nothing of the reference; the same command makes the lost runs again."""
    found = comparison(replace(refused(), trusted=True))
    spec = RunSpec("a", "dadvi", {}, 1, 1000)
    end = Reason.MACHINE
    lost = RunResult(spec, "key", "killed", "", None, None, {}, Cost(1.0), {}, reason=end)
    entry = replace(found.models[0], runs=(lost,))
    assert next_command(found, entry) == TYPED
    slow = replace(entry, runs=(replace(lost, reason=None),))
    assert next_command(found, slow) != TYPED


def ensemble() -> tuple[Reference, RunResult]:
    """Return a trusted ensemble of 512 chains, and its run."""
    spec = RunSpec("a", "short_chains", {}, 1, 10_240)
    run = RunResult(spec, "key", "ok", "", None, None, {"chains": 512.0}, Cost(1.0), {})
    return Reference("ensemble", True, "why"), run


@pytest.mark.parametrize("quick", [False, True])
def test_an_ensemble_that_is_too_small_gets_more_chains(quick: bool) -> None:
    """Four times as many, also where NUTS refused has attempts of its own."""
    reference, run = ensemble()
    reference = replace(reference, attempts=refused().attempts)
    found = comparison(reference, finding("bias", beyond="ensemble"))
    found = replace(found, provenance={**found.provenance, "nuts": not quick})
    command = next_command(found, replace(found.models[0], runs=(run,)))
    assert command.endswith("--set short_chains.chains=2048")
    assert "nuts.samples" not in command


def test_quick_stays_quick_where_a_methods_own_draws_are_too_few() -> None:
    """NUTS would not decide what the method's own draws leave open; without reference it may."""
    typed = "harness compare a.stan a.json --quick"
    reference, run = ensemble()
    row = METHODS["dadvi_psis"]
    own = replace(run, spec=RunSpec("a", "dadvi_psis", row.defaults, 1, row.draws))
    for trusted, quick in ((True, True), (False, False)):
        kind = replace(reference, kind="ensemble" if trusted else "none", trusted=trusted)
        found = comparison(kind, finding("bias", beyond="run"), typed=typed)
        found = replace(found, provenance={**found.provenance, "nuts": False})
        verdicts = tuple(replace(v, method="dadvi_psis") for v in found.models[0].verdicts)
        entry = replace(found.models[0], runs=(run, own), verdicts=verdicts)
        assert ("--quick" in next_command(found, entry)) is quick


@pytest.mark.parametrize("trusted", [False, True])
def test_draws_that_came_with_a_model_give_way_to_nuts(trusted: bool) -> None:
    """For such a model ``auto`` would be the same draws again."""
    supplied = Reference("supplied", trusted, "why")
    found = comparison(supplied, finding("bias", beyond="supplied"))
    model = replace(found.models[0].model, draws_file=Path("a.json.zip"))
    assert next_command(found, replace(found.models[0], model=model)).endswith("--reference nuts")


def test_references_that_disagree_leave_the_choice_to_the_user() -> None:
    """The ensemble has looked for modes that NUTS may have missed."""
    apart = Disagreement("x", "mean", Estimate(4.0, 0.1), Estimate(1.6, 0.1), 0.6, 0.04)
    reference = replace(refused(), disagreement=apart)
    found = comparison(reference)
    assert next_command(found, found.models[0]).endswith("--reference ensemble")


def test_supplied_draws_that_are_too_few_give_way_to_nuts() -> None:
    """NUTS draws as many as it takes."""
    supplied = replace(refused(), kind="supplied", trusted=True, attempts=())
    found = comparison(supplied, finding("bias", beyond="supplied"))
    assert next_command(found, found.models[0]).endswith("--reference auto")


@pytest.mark.parametrize("level", ["pass", "warn", "fail", "reference"])
def test_decided_verdicts_need_no_command(level: Level) -> None:
    """There is nothing to type."""
    found = comparison(refused(), level=level)
    assert next_command(found, found.models[0]) == ""


def test_nobody_waits_for_nuts_where_all_approximations_are_decided() -> None:
    """An improper posterior has no reference; its fits have failed without one."""
    found = comparison(refused(), level="fail")
    nuts = Verdict("a", "nuts", "unknown", "unknown", 1, 0, "a reason", ())
    (entry,) = found.models
    entry = replace(entry, verdicts=(*entry.verdicts, nuts))
    assert next_command(found, entry) == ""
    assert next_command(found, replace(entry, verdicts=(nuts,)))


def test_from_python_the_command_names_program_and_data() -> None:
    """A call of Python is no command."""
    found = comparison(refused(), typed="harness.compare('a.stan', …)")
    words = shlex.split(next_command(found, found.models[0]))
    assert words[:4] == ["harness", "compare", "a.stan", "a.json"]


def test_a_page_made_again_gives_the_same_command(tmp_path: Path) -> None:
    """Results keep what the command is made from."""
    found = comparison(refused(finding(DIVERGENCES.id), finding(ESS_BULK.id)))
    files.write(found, tmp_path)
    again = files.read(tmp_path)
    assert next_command(again, again.models[0]) == next_command(found, found.models[0])


TOO_FEW = {
    "particles": ["--methods", "svgd", "--set", "svgd.particles=100"],
    "draws of others": ["--methods", "dadvi", "--reference", "few.nc"],
}


@pytest.mark.stan
@pytest.mark.parametrize("case", TOO_FEW)
def test_the_command_decides(
    case: str, fresh_results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed as it is given, two times at most."""
    assert fresh_results.is_dir()
    monkeypatch.chdir(tmp_path)
    Path("a.stan").write_text("parameters { real m; } model { m ~ normal(0, 1); }\n")
    draws = Draws(("m",), np.random.default_rng(1).normal(size=(4, 120, 1)))
    to_datatree(draws).to_netcdf("few.nc", engine="h5netcdf")
    command = ["harness", "compare", "a.stan", "--seeds", "2", "--no-why", "-q", *TOO_FEW[case]]
    for typed in range(3):
        monkeypatch.setattr("sys.argv", command)
        CliRunner().invoke(main, command[1:])
        found = files.read(tmp_path / "reports" / "a")
        command = shlex.split(next_command(found, found.models[0]))
        assert bool(command) or typed > 0
        if not command:
            return
    pytest.fail(f"still to type: {shlex.join(command)}")


@pytest.mark.parametrize("width", [70, 160])
def test_terminal_and_page_give_the_command_whole(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be copied from one line."""
    out = io.StringIO()
    monkeypatch.setattr(terminal, "make_console", lambda: Console(file=out, width=width))
    found = comparison(refused(finding(DIVERGENCES.id)))
    terminal.print_verdicts(found)
    command = next_command(found, found.models[0])
    assert f"next: {command}\n" in out.getvalue()
    assert html.summary.summarise(found).rows[0].command == command


def test_a_file_of_the_users_own_is_explained() -> None:
    """It is not there yet: the terminal says what it stands for, and only where it is named."""
    for reference, explained in (
        (CASES["chains apart"][0], True),
        (CASES["divergences"][0], False),
    ):
        out = io.StringIO()
        terminal.print_verdicts(comparison(reference), Console(file=out, width=200))
        assert ("(DRAWS.nc: draws that you trust" in out.getvalue()) is explained
