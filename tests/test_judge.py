"""Fits that exist are judged by draws that exist, with the verdicts and reports of a comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz_base
import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness import cli
from harness.intake import Taken, take
from harness.report import files
from harness.study import judging

if TYPE_CHECKING:
    from scripts import Compiled


def exact(
    seed: int, n: int = 4000, chains: int = 4, *, shift: float = 0.0, scale: float = 1.0
) -> dict[str, Any]:
    """Return independent draws of a normal posterior, perhaps moved or scaled."""
    rng = np.random.default_rng(seed)
    return {
        "mu": shift + scale * rng.normal(1, 1, (chains, n)),
        "beta": scale * rng.normal(size=(chains, n, 2)),
    }


def level(approximation: Any, reference: Any, **how: Any) -> str:
    """Return the level of the only row."""
    (verdict,) = harness.judge(approximation, reference, **how).verdicts.values()
    return verdict.level


# --- levels ----------------------------------------------------------------------------------


def test_the_right_draws_pass_and_the_wrong_ones_do_not() -> None:
    """Half a sd off, or sds of half the size, is wrong; a fifth of a sd is off."""
    reference = exact(1)
    assert level(exact(2), reference) == "pass"
    assert level(exact(2, shift=0.7), reference) == "fail"
    assert level(exact(2, scale=0.5), reference) == "fail"
    assert level(exact(2, shift=0.25), reference) == "warn"


def test_an_untrusted_reference_decides_nothing() -> None:
    """Chains in two places are none, and neither are the draws of an approximation."""
    apart = exact(1)
    apart["mu"][0] += 3
    result = harness.judge(exact(2), apart)
    assert {v.level for v in result.verdicts.values()} == {"unknown"}
    assert not result.comparison.models[0].reference.trusted
    x, log_p, log_q = np.random.default_rng(1).normal(size=(3, 4000))
    reference = harness.judge({"x": x}, ({"x": x}, log_p, log_q)).comparison.models[0].reference
    assert not reference.trusted
    assert "approximation" in reference.why


def test_correlated_draws_of_an_approximation_are_worth_less() -> None:
    """A chain that moves slowly is undecided where as many independent draws pass.

    With a correlation of .998 the 8000 draws are worth about 8.
    """
    rng = np.random.default_rng(3)
    noise = rng.normal(size=8000)
    x = np.empty(8000)
    x[0] = noise[0]
    for i in range(1, 8000):
        x[i] = 0.998 * x[i - 1] + np.sqrt(1 - 0.998**2) * noise[i]
    reference = {"x": rng.normal(size=(4, 4000))}
    x = (x - x.mean()) / x.std()
    assert level({"x": noise}, reference) == "pass"
    assert level({"x": x}, reference) == "unknown"


def test_correlated_draws_of_the_reference_are_worth_less() -> None:
    """Errors of the reference follow from its effective size, not from its number of draws."""
    rng = np.random.default_rng(4)
    few = {"x": np.repeat(rng.normal(size=(4, 500)), 20, axis=1)}
    result = harness.judge({"x": rng.normal(size=10_000)}, few)
    table = result.table
    error = table[(table.method == "reference") & (table.metric == "mean")].mcse.iloc[0]
    # 2000 draws that count: 1/√2000 = .0224, within 25%.
    assert error == pytest.approx(0.0224, rel=0.25)


def test_weights_are_used() -> None:
    """Draws of N(0, 1.5²) fail against N(.3, 1), and pass with their log weights."""
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1.5, 20_000)
    log_weights = -0.5 * (x - 0.3) ** 2 + 0.5 * (x / 1.5) ** 2
    reference = {"x": rng.normal(0.3, 1, (4, 5000))}
    assert level({"x": x}, reference) == "fail"
    assert level({"x": x, "log_weights": log_weights}, reference) == "pass"


def test_a_weighted_reference_is_trusted_if_its_proposals_are_independent() -> None:
    """Which only the user knows; and if its weights are believed."""
    rng = np.random.default_rng(8)
    x = rng.normal(0, 1.5, 20_000)
    log_weights = -0.5 * (x - 0.3) ** 2 + 0.5 * (x / 1.5) ** 2
    weighted, right = {"x": x, "log_weights": log_weights}, {"x": rng.normal(0.3, 1, 10_000)}
    assert level(right, weighted, reference_iid=True) == "pass"
    assert level({"x": rng.normal(1, 1, 10_000)}, weighted, reference_iid=True) == "fail"
    assert level(right, weighted) == "unknown"
    few = {"x": x, "log_weights": 4 * x}
    assert level(right, few, reference_iid=True) == "unknown"


def test_weights_that_few_draws_carry_never_pass() -> None:
    """And the note says why they are not believed."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=4000)
    reference = {"x": rng.normal(4, 1, (4, 2000))}
    (verdict,) = harness.judge({"x": x, "log_weights": 4 * x}, reference).verdicts.values()
    assert verdict.level in {"fail", "warn", "unknown"}
    assert any("effective sample size" in note for note in verdict.notes)


def test_both_densities_give_k_hat() -> None:
    """It is among the measures, and an alarm where q's tails are too light."""
    rng = np.random.default_rng(7)
    x = rng.normal(0, 0.3, 4000)
    triple = ({"x": x}, -0.5 * x**2, -0.5 * (x / 0.3) ** 2)
    table = harness.judge(triple, {"x": rng.normal(size=(4, 1000))}).table
    khat = table[table.metric == "khat"].value.iloc[0]
    assert khat > 0.7


def test_what_is_the_same_in_the_reference_must_be_the_same_in_a_fit() -> None:
    """A fit that gives a copy other draws fails, although the copy is not compared by itself."""
    reference = exact(1)
    reference["copy"] = 2 * reference["mu"]
    fit = exact(2)
    assert level({**fit, "copy": 2 * fit["mu"]}, reference) == "pass"
    assert level({**fit, "copy": 5 * exact(3)["mu"]}, reference) == "fail"


def test_nan_is_never_close() -> None:
    """One draw that is not finite is a failure."""
    bad = exact(2)
    bad["mu"][0, 3] = np.nan
    assert level(bad, exact(1)) == "fail"


# --- rows and names --------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 10, 99])
def test_few_draws_of_the_right_posterior_are_not_called_wrong(n: int) -> None:
    """Ten draws of it were called a fail in 14 of 30 cases, for their tails and widths."""
    few = {name: a[:1, :n] for name, a in exact(2).items()}
    with pytest.raises(harness.DrawsError, match=rf"has {n} draws?; at least 100"):
        harness.judge({"few": few}, exact(1))
    with pytest.raises(harness.DrawsError, match=r"the reference \(dict\) has"):
        harness.judge(exact(1), few, reference_iid=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_density_that_is_no_number_is_an_error(bad: float) -> None:
    """A k-hat without it would say nothing, and the draws alone may be close."""
    draws = {name: a.reshape(1, -1, *a.shape[2:]) for name, a in exact(2).items()}
    log_q = np.zeros(draws["mu"].size)
    log_p = np.where(np.arange(log_q.size) == 3, bad, 0.0)
    with pytest.raises(ValueError, match="log_p is NaN or ∞ at 1 draw"):
        harness.judge({"x": (draws, log_p, log_q)}, exact(1))


def test_an_undecided_fit_is_not_promised_draws_that_nobody_takes() -> None:
    """Nothing is run: what is too few are the draws that were given."""
    # Each draw stands ten times: more than the harness takes of NUTS would decide.
    limit = {name: np.repeat(a[:, :1000] + 0.12, 10, axis=1) for name, a in exact(2).items()}
    verdict = harness.judge({"limit": limit}, exact(1)).verdicts["limit"]
    assert verdict.level == "unknown"
    assert {f.beyond for f in verdict.findings} & {"given"}
    assert not {f.beyond for f in verdict.findings} & {"run", "nuts"}
    said = [verdict.headline, *(f.sentence for f in verdict.findings)]
    assert "harness takes" not in " ".join(said)


def test_several_fits_are_rows_and_a_list_is_seeds() -> None:
    """A row for each name; of a list the worst seed counts, and the share stands beside it."""
    good, bad = exact(2), exact(3, shift=2)
    result = harness.judge({"one": good, "two": [good, bad], "three": bad}, exact(1))
    assert {m: (v.level, v.seeds) for m, v in result.verdicts.items()} == {
        "one": ("pass", 1),
        "two": ("fail", 2),
        "three": ("fail", 1),
    }
    assert result.verdicts["two"].seeds_failed == 1
    assert any(m.metric == "seed_spread" for m in result.comparison.models[0].measures)


def test_a_name_of_the_harness_own_methods_says_nothing_of_a_fit() -> None:
    """What the table of methods says of its row is not said of somebody else's."""
    result = harness.judge({"svi": exact(2), "mine": exact(3)}, exact(1))
    assert set(result.verdicts) == {"svi (given)", "mine"}


def test_names_are_aligned_and_what_has_no_partner_is_listed() -> None:
    """``beta.2`` and ``beta[1]`` from 0 are ``beta[2]``, and a scalar is its own vector."""
    rng = np.random.default_rng(11)
    reference = {**exact(1), "s": rng.normal(size=(4, 4000, 1)), "extra": exact(1)["mu"]}
    draws = exact(2)
    flat = {
        "mu": draws["mu"],
        "beta.1": draws["beta"][:, :, 0],
        "beta[2]": draws["beta"][:, :, 1],
        "s": rng.normal(size=(4, 4000)),
        "z": draws["mu"],
    }
    result = harness.judge(flat, reference)
    entry = result.comparison.models[0]
    assert {m.quantity for m in entry.measures if m.quantity} == {
        "mu", "beta[1]", "beta[2]", "s[1]",
    }  # fmt: skip
    assert "only in the reference, so not compared: extra" in entry.notes
    assert "not in the reference, so not compared: z" in entry.notes
    assert [v.level for v in entry.verdicts] == ["pass"]


def test_a_quantity_that_was_asked_for_must_be_there() -> None:
    """If the fit lacks it, the verdict is not a pass; if both sides lack it, the error names it."""
    fit = {"mu": exact(2)["mu"]}
    assert level(fit, exact(1)) == "pass"
    assert level(fit, exact(1), quantities=["mu"]) == "pass"
    assert level(fit, exact(1), quantities=["mu", "beta"]) == "unknown"
    with pytest.raises(harness.DrawsError, match=r"no quantity tau \(there are mu and beta\)"):
        harness.judge(fit, exact(1), quantities=["tau"])


@pytest.mark.parametrize(
    ("approximation", "reference", "says"),
    [
        ({"a": np.zeros(100)}, {"b": np.zeros(100)}, "no quantity in common: the fits have a, the"),
        ({}, {"b": np.zeros(9)}, "nothing to check"),
        ([], {"b": np.zeros(9)}, "an empty list"),
        ({"a/b": exact(1)}, exact(1), "'a/b' cannot be a row's name"),
        (exact(1), [exact(1), exact(2)], "2 fits are no reference"),
        (exact(1), "auto", "judge runs nothing"),
        (exact(1), "gone.nc", "no such reference: gone.nc"),
        ("gone.nc", exact(1), "no such approximation: gone.nc"),
    ],
)
def test_what_cannot_be_judged_is_an_error(approximation: Any, reference: Any, says: str) -> None:
    """It says what was found."""
    with pytest.raises(ValueError, match=says):
        harness.judge(approximation, reference)


def test_data_need_a_program() -> None:
    """Alone they would be read by nothing."""
    with pytest.raises(ValueError, match="data belong to a program"):
        harness.judge(exact(1), exact(2), data={"n": 1})


def point(at: float) -> Taken:
    """Return a point where the means of exact draws lie, mu moved."""
    (taken,) = take({"mu": np.array([[1 + at]]), "beta": np.zeros((1, 1, 2))})
    return Taken(taken.draws, "CmdStanMLE", "point", "optimize")


@pytest.mark.parametrize(("at", "expected"), [(0.0, "unknown"), (0.3, "warn"), (1.0, "fail")])
def test_of_a_point_only_the_location_is_judged(at: float, expected: str) -> None:
    """It can fail by it, and never pass, because it has no widths."""
    (truth,) = take(exact(1))
    found = judging.judge(judging.Request({"mode": [point(at)]}, truth))
    (verdict,) = found.comparison.models[0].verdicts
    assert verdict.level == expected
    assert verdict.notes[0] == ("A single point: only its location was judged; it has no widths.")
    with pytest.raises(harness.DrawsError, match="a single point, and no reference"):
        judging.judge(judging.Request({"x": [truth]}, point(0)))


# --- results ---------------------------------------------------------------------------------


def test_the_result_is_that_of_a_comparison(tmp_path: Path) -> None:
    """Table, draws, page, text and files come from it, and say that nothing was run."""
    result = harness.judge({"mine": [exact(2), exact(3)]}, exact(1))
    assert set(result.draws) == {"mine"}
    tree = result.draws["mine", 2]
    assert np.array_equal(tree["posterior"]["mu"].to_numpy(), exact(3)["mu"])
    # They cannot serve as a reference afterwards.
    assert not harness.judge(exact(4), tree).comparison.models[0].reference.trusted
    with pytest.raises(KeyError, match="no run 'other'"):
        result.draws["other"]
    page = result.to_html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "mine" in page
    assert "draws were judged without it" in page
    assert "mine" in str(result)
    assert set(result.summary()["method"]) == {"mine"}
    files.write(result.comparison, tmp_path)
    again = files.read(tmp_path)
    assert [v.level for v in again.models[0].verdicts] == ["pass"]
    assert not again.models[0].model.has_program
    assert json.loads((tmp_path / "results.json").read_text())["provenance"]["runs_made"] == 0


def test_the_next_step_is_a_comparison_if_there_is_a_program() -> None:
    """Draws that were handed over cannot be made longer; without a program nothing is proposed."""
    from harness.report.next_step import next_command

    few = {"x": np.random.default_rng(1).normal(size=(4, 150))}
    undecided = harness.judge({"x": np.random.default_rng(2).normal(size=300)}, few)
    comparison = undecided.comparison
    assert next_command(comparison, comparison.models[0]) == ""


# --- with CmdStan ----------------------------------------------------------------------------

PROGRAM = """
data { real shift; }
parameters { vector[2] x; }
model { x ~ multi_normal([shift, 0]', [[1, 0.95], [0.95, 1]]); }
generated quantities { real twice = 2 * x[1]; }
"""


@pytest.fixture(scope="module")
def fits(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Run CmdStan on a correlated normal posterior."""
    folder = tmp_path_factory.mktemp("fits")
    program = folder / "pair.stan"
    program.write_text(PROGRAM, "utf-8")
    model = compiled(program)
    data = {"shift": 1.0}

    def advi(seed: int, algorithm: str) -> Any:
        return model.variational(
            data=data, seed=1000 + seed, algorithm=algorithm, eta=0.1, adapt_engaged=True,
            draws=4000, require_converged=False, output_dir=folder / f"{algorithm}-{seed}",
        )  # fmt: skip

    return {
        "program": program,
        "data": data,
        "nuts": model.sample(
            data=data, seed=1, iter_sampling=2000, parallel_chains=1, show_progress=False,
            output_dir=folder / "nuts",
        ),
        "again": model.sample(
            data=data, seed=2, iter_sampling=2000, parallel_chains=1, show_progress=False,
            output_dir=folder / "again",
        ),
        "meanfield": [advi(seed, "meanfield") for seed in (1, 2)],
        "mode": model.optimize(data=data, seed=1, output_dir=folder / "mode"),
        "folder": folder,
    }  # fmt: skip


@pytest.mark.stan
def test_fits_of_cmdstanpy_are_judged_with_causes(fits: Mapping[str, Any]) -> None:
    """Mean-field's sds are too small, because it has no correlation; NUTS again passes."""
    rows = {"meanfield": fits["meanfield"], "nuts": fits["again"], "mode": fits["mode"]}
    where = {"program": fits["program"], "data": fits["data"]}
    result = harness.judge(rows, fits["nuts"], **where)
    entry = result.comparison.models[0]
    assert entry.reference.trusted, entry.reference.why
    levels = {m: v.level for m, v in result.verdicts.items()}
    assert levels["meanfield"] == "fail"
    assert levels["nuts"] == "pass", result.verdicts["nuts"].headline
    assert levels["mode"] == "unknown"
    causes = [c.cause.name for c in result.verdicts["meanfield"].causes]
    assert "correlation" in causes, entry.explanation
    assert result.verdicts["meanfield"].seeds == 2
    assert result.verdicts["meanfield"].remedies


@pytest.mark.stan
def test_a_row_with_a_name_of_its_own_has_causes_too(fits: Mapping[str, Any]) -> None:
    """What made it is known from the fit, whatever the row is called."""
    where = {"program": fits["program"], "data": fits["data"]}
    result = harness.judge({"mine": fits["meanfield"][0]}, fits["nuts"], **where)
    assert "correlation" in [c.cause.name for c in result.verdicts["mine"].causes]
    assert "mine" in result.to_html(fits["folder"] / "mine.html").read_text("utf-8")


@pytest.mark.stan
def test_a_fit_and_its_files_are_judged_alike(fits: Mapping[str, Any]) -> None:
    """A folder of CSV files on either side gives the verdicts of the objects."""
    by_object = harness.judge(fits["meanfield"][0], fits["nuts"]).verdicts
    folder = fits["folder"]
    by_file = harness.judge(str(folder / "meanfield-1"), folder / "nuts").verdicts
    assert set(by_object) == set(by_file) == {"meanfield"}
    assert by_object["meanfield"].headline == by_file["meanfield"].headline


@pytest.mark.stan
def test_a_parameter_of_the_program_that_a_fit_lacks_is_no_pass(fits: Mapping[str, Any]) -> None:
    """With the program it is known that it belongs to the posterior; else it is listed."""
    (nuts,) = take(fits["again"])
    fit = {"x[1]": nuts.draws.quantity("x[1]"), "twice": nuts.draws.quantity("twice")}
    assert level(fit, fits["nuts"]) == "pass"
    where = {"program": fits["program"], "data": fits["data"], "why": False}
    assert level(fit, fits["nuts"], **where) == "unknown"


@pytest.mark.stan
def test_a_reference_without_a_parameter_of_the_program_says_so(fits: Mapping[str, Any]) -> None:
    """One in which a parameter is not finite is damaged, and vouches for nothing."""
    (nuts,) = take(fits["nuts"])
    both = {n: np.array(nuts.draws.quantity(n)) for n in ("x[1]", "x[2]", "twice")}
    where = {"program": fits["program"], "data": fits["data"], "why": False}
    lacking = harness.judge(fits["again"], {"twice": both["twice"]}, **where)
    assert "not in the reference, so not compared: x" in lacking.comparison.models[0].notes
    assert level(fits["again"], both, **where) == "pass"
    for broken, expected in (("x[2]", "unknown"), ("twice", "pass")):
        damaged = {n: np.where(np.arange(both[n].size) == 7, np.nan, both[n].ravel()) for n in both}
        reference = {**both, broken: damaged[broken].reshape(both[broken].shape)}
        assert level(fits["again"], reference, **where) == expected


@pytest.mark.stan
def test_a_comparison_takes_a_fit_as_its_reference(
    fits: Mapping[str, Any], fresh_results: Path
) -> None:
    """Its draws and statistics are kept under their content; an approximation is refused."""
    assert fresh_results.is_dir()
    result = harness.compare(
        fits["program"], fits["data"], methods=["meanfield"], seeds=1,
        reference=fits["nuts"], why=False,
    )  # fmt: skip
    reference = result.comparison.models[0].reference
    assert (reference.kind, reference.trusted) == ("supplied", True), reference.why
    assert "share of divergent transitions" in reference.why
    assert "not known" not in reference.why
    with pytest.raises(ValueError, match="CmdStanVB: draws of an approximation, and no reference"):
        harness.compare(fits["program"], fits["data"], reference=fits["meanfield"][0])


# --- the command line ------------------------------------------------------------------------


def invoke(*args: str) -> tuple[int, str]:
    """Run the command in process; return exit code and everything it printed."""
    done = CliRunner().invoke(cli.main, ["judge", *args])
    return done.exit_code, done.output


def written(folder: Path, name: str, draws: Mapping[str, Any]) -> str:
    """Write draws as another program's NetCDF."""
    path = folder / name
    arviz_base.from_dict({"posterior": dict(draws)}).to_netcdf(path)
    return str(path)


def test_files_are_judged_on_the_command_line(tmp_path: Path) -> None:
    """Rows are called as was asked, or as their files; the report is written as by compare."""
    reference = written(tmp_path, "r.nc", exact(1))
    good, bad = written(tmp_path, "good.nc", exact(2)), written(tmp_path, "b.nc", exact(3, shift=2))
    out = tmp_path / "out"
    code, said = invoke(
        good, f"mine={bad}", f"mine={good}", "--against", reference, "--out", str(out), "--draws",
        "--markdown", str(tmp_path / "m.md"),
    )  # fmt: skip
    assert code == 0, said
    assert f"report: {out / 'index.html'}" in said
    comparison = files.read(out)
    assert {v.method: (v.level, v.seeds) for v in comparison.models[0].verdicts} == {
        "good": ("pass", 1),
        "mine": ("fail", 2),
    }
    assert (out / "draws/draws/mine-2.nc").is_file()
    assert (out / "draws/draws/reference.nc").is_file()
    assert "mine" in (tmp_path / "m.md").read_text(encoding="utf-8")
    code, said = invoke(good, "--against", reference, "--out", str(out), "--fail-on", "unknown")
    assert code == 0, said
    assert not list((out / "draws").rglob("*.nc"))
    code, _ = invoke(bad, "--against", reference, "--out", str(out), "--fail-on", "fail")
    assert code == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("gone.nc", "--against", "GOOD"), "no such approximation: gone.nc"),
        (("GOOD", "--against", "gone.nc"), "no such reference: gone.nc"),
        (("GOOD", "--against", "nuts"), "judge runs nothing"),
        (("GOOD", "--against", "GOOD", "--data", "d.json"), "--data belong to a program"),
        (("GOOD", "--against", "GOOD", "--program", "gone.stan"), "no such Stan program"),
        (("GOOD", "--against", "GOOD", "--quantities", "tau"), "no quantity tau"),
        (("BROKEN", "--against", "GOOD"), "the approximation x.nc cannot be read"),
        (("a/b=GOOD", "--against", "GOOD"), "cannot be a row's name"),
        (("GOOD",), "--against"),
        (("--against", "GOOD"), "NAME=]FILE"),
    ],
)
def test_mistakes_are_one_line_and_exit_with_2(
    args: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    """No traceback, and nothing is written."""
    (tmp_path / "x.nc").write_bytes(b"\x89HDF broken")
    names = {"GOOD": written(tmp_path, "g.nc", exact(1, 200)), "BROKEN": str(tmp_path / "x.nc")}
    words = [w.replace("GOOD", names["GOOD"]).replace("BROKEN", names["BROKEN"]) for w in args]
    code, said = invoke(*words, "--out", str(tmp_path / "out"))
    assert code == 2, said
    assert says in said
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert said.endswith(f"{errors[0]}\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.stan
def test_cmdstans_folders_are_judged_on_the_command_line(
    fits: Mapping[str, Any], tmp_path: Path
) -> None:
    """With the program the reason is printed too."""
    folder = fits["folder"]
    (tmp_path / "d.json").write_text(json.dumps(fits["data"]), encoding="utf-8")
    code, said = invoke(
        str(folder / "meanfield-1"), str(folder / "meanfield-2"),
        "--against", str(folder / "nuts"), "--program", str(fits["program"]),
        "--data", str(tmp_path / "d.json"), "--out", str(tmp_path / "out"),
    )  # fmt: skip
    assert code == 0, said
    assert "mean-field" in said
    assert "correlation" in said
    (verdict,) = files.read(tmp_path / "out").models[0].verdicts
    assert (verdict.level, verdict.seeds) == ("fail", 2)


def test_draws_whose_squares_overflow_are_judged_and_drawn_without_a_warning() -> None:
    """Laplace at a mode that runs away writes such draws; warnings fail a test."""
    far = exact(3)
    far["mu"] = far["mu"] * 1e165
    assert level(far, exact(4)) == "fail"
