"""What a check accepts and what it refuses, with fits of the real CmdStan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz_base
import cmdstanpy
import numpy as np
import pytest
import xarray as xr
from plugin_suite import Run, files, passed, runner

from harness.check.pytest_plugin.intake import take
from harness.records import Draws
from harness.report.files.netcdf import to_datatree
from harness.stan.csv import read_stan_csv

if TYPE_CHECKING:
    from scripts import Compiled

    from harness.stan import CmdStan

pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what writes and runs a user's suite."""
    return runner(pytester, monkeypatch)


# --- arrays and trees -----------------------------------------------------------------------


def test_a_dict_of_arrays_is_taken_apart_as_stan_names_it() -> None:
    """Axes are chain, draw, and the variable's own; counted from 1."""
    rng = np.random.default_rng(5)
    arrays = {"mu": rng.normal(size=(4, 50)), "b": rng.normal(size=(4, 50, 2, 3))}
    taken = take(arrays)
    draws = taken.runs[0]
    assert draws.names == ("mu", "b[1,1]", "b[1,2]", "b[1,3]", "b[2,1]", "b[2,2]", "b[2,3]")
    assert np.array_equal(draws.quantity("b[2,1]"), arrays["b"][:, :, 1, 0])
    assert (draws.iid, taken.several, taken.moves, taken.size) == (False, False, False, 200)
    assert take(arrays, independent=True).runs[0].iid


def test_one_axis_is_one_chain() -> None:
    """Integers and booleans count as numbers, and masked values as missing."""
    draws = take({"n": np.arange(9), "yes": np.arange(9) > 3}).runs[0]
    assert draws.values.shape == (1, 9, 2)
    masked = np.ma.masked_greater(np.arange(9.0), 7)
    assert np.isnan(take({"x": masked}).runs[0].values[0, 8, 0])


def test_named_axes_are_put_in_order() -> None:
    """An xarray Dataset, or arrays of one, may have chain and draw anywhere."""
    values = np.random.default_rng(5).normal(size=(3, 2, 50))
    there = xr.Dataset({"b": (("k", "chain", "draw"), values)})
    for given in (there, {"b": there["b"]}, xr.DataTree.from_dict({"posterior": there})):
        draws = take(given).runs[0]
        assert draws.names == ("b[1]", "b[2]", "b[3]")
        assert np.array_equal(draws.quantity("b[3]"), values[2])
    assert take({"b": there["b"].isel(chain=0)}).runs[0].values.shape == (1, 50, 3)


def test_a_tree_says_whether_its_draws_are_independent() -> None:
    """The harness's own trees do; others count as chains unless the test says otherwise."""
    own = Draws(("mu", "b[1]"), np.random.default_rng(5).normal(size=(1, 50, 2)), iid=True)
    assert take(to_datatree(own, {"iid": True})).runs[0].iid
    assert not take(to_datatree(own)).runs[0].iid
    assert take(to_datatree(own), independent=True).runs[0].iid


def test_quantities_are_chosen_by_variable_or_element() -> None:
    """``b`` stands for all its elements, ``b[2]`` for one, and a text is one name."""
    rng = np.random.default_rng(5)
    arrays = {"b": rng.normal(size=(4, 50, 3)), "bb": rng.normal(size=(4, 50))}
    assert take(arrays, quantities=["b"]).runs[0].names == ("b[1]", "b[2]", "b[3]")
    assert take(arrays, quantities=("bb", "b[2]")).runs[0].names == ("b[2]", "bb")
    assert take(arrays, quantities="bb").runs[0].names == ("bb",)
    with pytest.raises(
        ValueError, match=r"unknown quantities: b\[4\] and c; the draws have b and bb"
    ):
        take(arrays, quantities=["b[4]", "c"])


@pytest.mark.parametrize("given", [None, 3.0, np.zeros((4, 9)), [np.zeros(9)], object])
def test_what_is_not_taken_is_a_type_error_that_lists_what_is(given: object) -> None:
    """Bare arrays have no names, so they are refused too."""
    with pytest.raises(TypeError, match=r"cannot take a .*DataTree .*, a CmdStanMCMC, .*a dict of"):
        take(given)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({}, ValueError, "nothing to check"),
        ([], ValueError, "empty list"),
        ({"mu": 3.0}, ValueError, "mu is a single number"),
        ({"mu": []}, ValueError, "mu has no draws"),
        ({"mu": np.zeros((4, 0))}, ValueError, "mu has no draws"),
        ({"mu": np.zeros((4, 9, 0))}, ValueError, "no quantities of a positive size"),
        ({"mu": np.zeros((4, 9)), "s": np.zeros(9)}, ValueError, r"mu: 4 × 9 and s: 1 × 9"),
        ({"b": np.zeros((4000, 3))}, ValueError, "that is 4000 chains of 3 draws"),
        ({"z": np.zeros(9, complex)}, TypeError, "complex128.*real and imaginary"),
        ({"z": np.array(["a"] * 9)}, TypeError, "no moments"),
        ({"z": np.array([None] * 9)}, TypeError, "no moments"),
        ({"b": np.zeros((4, 9, 1)), "b[1]": np.zeros((4, 9))}, ValueError, r"called b\[1\]"),
        ([{"a": np.zeros(9)}, {"b": np.zeros(9)}], ValueError, "not all seeds have.*a and b"),
        (xr.DataTree(), ValueError, "no group 'posterior'; its groups: none"),
        ("fit", ValueError, "no such draws: fit; allowed: NetCDF"),
    ],
)  # fmt: skip
def test_draws_that_cannot_be_read_are_an_error(
    given: object, error: type[Exception], match: str
) -> None:
    """Nothing is guessed."""
    with pytest.raises(error, match=match):
        take(given)


def test_too_few_independent_draws_are_refused(run: Run, pytester: pytest.Pytester) -> None:
    """So are chains with an effective sample size under 100."""
    few = "draws = {'mu': rng.normal(size=99)}"
    result = run("--posterior-regen", change=few, arguments=", independent=True")
    assert not passed(result)
    result.stdout.fnmatch_lines(["*99 draws: at least 100 are needed*"])
    assert files(pytester) == []


SEEDS = """draws = [
    {"mu": rng.normal(0.2 * rng.normal() + SHIFT, 1, 4000), "s": np.full(4000, 2.0)}
    for _ in range(20)
]"""


def test_several_seeds_carry_the_error_of_an_approximation_that_moves(run: Run) -> None:
    """Approximations 0.2 sd apart are the same as a list of twenty, and differ one by one."""
    same = SEEDS.replace("SHIFT", "0")
    assert passed(run("--posterior-regen", change=same))
    assert [seed for seed in range(2, 12) if not passed(run(change=same, seed=seed))] == []
    assert not passed(run(change=SEEDS.replace("SHIFT", "1"), seed=2))
    result = run(change=f"{same}; draws = draws[0]", seed=2, arguments=", independent=True")
    assert not passed(result)
    result.stdout.fnmatch_lines(
        ["*the baseline is of runs of several seeds, now there are independent draws*"]
    )
    single = {"change": f"{same}; draws = draws[0]", "arguments": ", independent=True"}
    assert passed(run("--posterior-regen", **single))
    assert not all(passed(run(seed=seed, **single)) for seed in range(2, 7))


def test_a_seed_with_nan_is_not_set_aside(run: Run, pytester: pytest.Pytester) -> None:
    """One bad seed of twenty fails, and the message says which."""
    bad = SEEDS.replace("SHIFT", "0") + "; draws[6]['mu'][3] = np.nan"
    result = run("--posterior-regen", change=bad)
    assert not passed(result)
    result.stdout.fnmatch_lines(["*mu: 1 of 4000 draws are not finite (fit 7 of 20)*"])
    assert files(pytester) == []


# --- Pathfinder -----------------------------------------------------------------------------

PATHFINDER = """\
# stan_version_major = 2
# stan_version_minor = 33
# stan_version_patch = 0
# model = shifted_model
# method = pathfinder
#   pathfinder
#     num_psis_draws = 1000 (Default)
#     num_paths = {paths} (Default)
#     num_draws = 1000 (Default)
# id = 1 (Default)
lp_approx__,lp__,mu,beta.1,beta.2
"""


def pathfinder(folder: Path, seed: int, shift: float = 0.0, paths: int = 4) -> Path:
    """Write what CmdStan's Pathfinder writes, with draws of our own."""
    rows = np.random.default_rng(seed).normal(size=(1000, 5))
    rows[:, 2] += shift
    lines = [", ".join(f"{x:.6g}" for x in row) for row in rows]
    path = folder / f"shifted-{seed}-{shift:g}.csv"
    path.write_text(PATHFINDER.format(paths=paths) + "\n".join(lines) + "\n", "utf-8")
    return path


FROM_CSV = """
import cmdstanpy

def test_fit(posterior_regression):
    fit = cmdstanpy.from_csv({paths})
    posterior_regression.check(fit)
"""


def from_csv(paths: list[Path]) -> str:
    """Return a suite that checks the fit of these files."""
    return FROM_CSV.format(paths=[str(p) for p in paths])


@pytest.mark.parametrize("paths", [1, 4])
def test_cmdstanpys_pathfinder_fit(run: Run, pytester: pytest.Pytester, paths: int) -> None:
    """Files in CmdStan's format: the same passes, a shift fails, and half a file fails.

    CmdStan has Pathfinder since 2.33; its own run is the next test.
    """
    at = pytester.path
    fit = cmdstanpy.from_csv(str(pathfinder(at, 1, paths=paths)))
    taken = take(fit)
    assert taken.runs[0].names == ("mu", "beta[1]", "beta[2]")
    assert taken.runs[0].values.shape == (1, 1000, 3)
    assert (taken.source, taken.moves, taken.runs[0].iid) == ("CmdStanPathfinder", True, True)
    assert passed(run("--posterior-regen", text=from_csv([pathfinder(at, 1, paths=paths)])))
    assert passed(run(text=from_csv([pathfinder(at, 2, paths=paths)])))
    result = run(text=from_csv([pathfinder(at, 3, 0.5, paths=paths)]))
    assert not passed(result)
    result.stdout.fnmatch_lines(["*a single CmdStanPathfinder*only moved with its seed*list*"])
    cut = pathfinder(at, 4, paths=paths)
    whole = cut.read_bytes()
    for end in (len(whole) // 2, whole.rindex(b"\n", 0, -1) + 1, len(whole) - 2):
        cut.write_bytes(whole[:end])
        assert not passed(run(text=from_csv([cut])))


# --- CmdStan --------------------------------------------------------------------------------

PROGRAM = """
data { real shift; }
parameters { real mu; vector[2] beta; real<lower=0> sigma; }
model { mu ~ normal(shift, 1); beta ~ normal(0, 1); sigma ~ lognormal(0, 0.5); }
generated quantities { matrix[2, 2] z = [[mu, 2], [3, beta[1]]]; }
"""

NAMES = ("mu", "beta[1]", "beta[2]", "sigma", "z[1,1]", "z[2,1]", "z[1,2]", "z[2,2]")

Fit = Callable[..., Any]


@pytest.fixture(scope="module")
def model(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> cmdstanpy.CmdStanModel:
    """Compile a program whose posterior is known, moved by its data."""
    program = tmp_path_factory.mktemp("program") / "shifted.stan"
    program.write_text(PROGRAM, "utf-8")
    return compiled(program)


@pytest.fixture
def sample(model: cmdstanpy.CmdStanModel, tmp_path: Path) -> Fit:
    """Return what runs NUTS into a folder of its own."""

    def run(seed: int, shift: float = 0.0, **options: Any) -> Any:
        return model.sample(
            data={"shift": shift}, seed=seed, iter_warmup=500, iter_sampling=2000,
            parallel_chains=1, show_progress=False,
            output_dir=tmp_path / f"nuts-{seed}-{shift:g}", **options,
        )  # fmt: skip

    return run


@pytest.fixture
def advi(model: cmdstanpy.CmdStanModel, tmp_path: Path) -> Fit:
    """Return what runs mean-field ADVI into a folder of its own."""

    def run(seed: int, shift: float = 0.0) -> Any:
        return model.variational(
            data={"shift": shift}, seed=seed, algorithm="meanfield",
            draws=2000, require_converged=False,
            output_dir=tmp_path / f"advi-{seed}-{shift:g}",
        )  # fmt: skip

    return run


@pytest.mark.stan
def test_a_nuts_fit_is_its_draws_after_warm_up(sample: Fit) -> None:
    """Chain by chain as CmdStan wrote them, without the warm-up that was saved."""
    fit = sample(1, save_warmup=True, thin=2)
    draws = take(fit).runs[0]
    assert draws.names == NAMES
    assert draws.values.shape == (4, 1000, len(NAMES))
    assert not draws.iid
    for chain, file in zip(draws.values, fit.runset.csv_files, strict=True):
        table = read_stan_csv(Path(file))
        assert len(table.values) == 250 + 1000
        assert np.array_equal(chain, table.quantity_values()[250:])
    tree = take(arviz_base.from_cmdstanpy(posterior=fit, save_warmup=True)).runs[0]
    assert set(tree.names) == set(NAMES)
    assert all(np.array_equal(tree.quantity(n), draws.quantity(n)) for n in NAMES)


@pytest.mark.stan
def test_an_advi_fit_is_its_draws_without_the_mean(advi: Fit) -> None:
    """The first row of CmdStan's output is the mean of q, not a draw."""
    fit = advi(1)
    taken = take(fit)
    assert (taken.source, taken.moves, taken.runs[0].iid) == ("CmdStanVB", True, True)
    assert taken.runs[0].names == NAMES
    rows = read_stan_csv(Path(fit.runset.csv_files[0])).quantity_values()
    assert len(rows) == 2001
    assert np.array_equal(taken.runs[0].values, rows[None, 1:])
    assert np.array_equal(rows[0, :3], fit.variational_params_np[3:6])


@pytest.mark.stan
def test_an_advi_fit_reads_alike_whatever_stan_variable_returns(
    advi: Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of cmdstanpy 1.3 it is the mean of q unless draws are asked for; 2.0 turns this round."""
    fit = advi(1)
    before = take(fit).runs[0]
    name = NAMES[0].partition("[")[0]
    first = type(fit).stan_variable

    def newer(self: Any, var: str, *, mean: bool = False) -> Any:
        return first(self, var, mean=mean)

    old = np.asarray(fit.stan_variable(name))
    monkeypatch.setattr(type(fit), "stan_variable", newer)
    assert np.asarray(fit.stan_variable(name)).shape == (2000, *old.shape)
    assert np.array_equal(take(fit).runs[0].values, before.values)


@pytest.mark.stan
def test_a_nuts_fit_in_a_suite(run: Run, pytester: pytest.Pytester, sample: Fit) -> None:
    """Other seeds pass, data that move the posterior by 0.3 sd fail, half a file fails."""

    def suite(fit: Any) -> str:
        return from_csv([Path(f) for f in fit.runset.csv_files])

    first = sample(1)
    assert not passed(run(text=suite(first)))
    assert passed(run("--posterior-regen", text=suite(first)))
    written = json.loads((pytester.path / "posterior_baselines/test_fit/test_fit.json").read_text())
    assert written["request"]["from"] == "CmdStanMCMC"
    assert [*written["methods"]["draws"]["quantities"]] == sorted(NAMES)
    assert all(passed(run(text=suite(sample(seed)))) for seed in (2, 3))
    result = run(text=suite(sample(4, shift=0.3)))
    assert not passed(result)
    result.stdout.re_match_lines([r"E +changed +mu +mean "])
    other = sample(5)
    chain = Path(other.runset.csv_files[3])
    whole = chain.read_bytes()
    last = whole.index(b"# \n#  Elapsed")
    ends = [len(whole) // 2, whole.rindex(b"\n", 0, last - 1) + 1, last - 2, last, last + 5]
    for end in ends:
        chain.write_bytes(whole[:end])
        assert not passed(run(text=suite(other)))
    chain.write_bytes(whole)
    assert passed(run(text=suite(other)))


@pytest.mark.stan
def test_advi_fits_in_a_suite(run: Run, advi: Fit) -> None:
    """Ten seeds equal ten others, a single one is found to differ, and half a file fails."""
    text = (
        "import cmdstanpy\n"
        "def test_fit(posterior_regression):\n"
        "    fits = [cmdstanpy.from_csv(p) for p in {paths}]\n"
        "    posterior_regression.check({check})\n"
    )

    def suite(fits: list[Any], check: str) -> str:
        return text.format(paths=[f.runset.csv_files[0] for f in fits], check=check)

    first = [advi(seed) for seed in range(1, 11)]
    others = [advi(seed) for seed in range(11, 21)]
    assert passed(run("--posterior-regen", text=suite(first, "fits")))
    assert passed(run(text=suite(others, "fits")))
    moved = [advi(seed, shift=2) for seed in range(1, 11)]
    assert not passed(run(text=suite(moved, "fits")))
    assert passed(run("--posterior-regen", text=suite(first, "fits[0]")))
    alone = [run(text=suite([fit], "fits[0]")) for fit in others]
    failed = [r for r in alone if not passed(r)]
    assert failed
    for result in failed:
        result.stdout.fnmatch_lines(["*a single CmdStanVB*only moved with its seed*"])
    file = Path(first[0].runset.csv_files[0])
    whole = file.read_bytes()
    end = len(whole.rstrip())
    for cut in (len(whole) // 2, whole.rindex(b"\n", 0, end) + 1, end - 1, end):
        file.write_bytes(whole[:cut])
        assert not passed(run(text=suite(first, "fits[0]")))
    file.write_bytes(whole)
    assert passed(run(text=suite(first, "fits[0]")))


@pytest.mark.stan
def test_cmdstans_own_pathfinder(
    cmdstan: CmdStan, model: cmdstanpy.CmdStanModel, tmp_path: Path
) -> None:
    """A CmdStan with Pathfinder gives the draws in its file; an older one refuses."""

    def start() -> Any:
        return model.pathfinder(
            data={"shift": 0.0}, seed=1, show_console=False, output_dir=tmp_path
        )

    if cmdstan.version < (2, 33):
        with pytest.raises(ValueError, match=r"(?i)pathfinder"):
            start()
        return
    fit = start()
    taken = take(fit)
    assert taken.runs[0].names == NAMES
    rows = read_stan_csv(Path(fit._runset.csv_files[0])).quantity_values()
    assert np.array_equal(taken.runs[0].values, rows[None])
