"""What others made becomes draws: every kind the same ones, with names as Stan writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz_base
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from harness.intake import DrawsError, Taken, is_fit, read_reference, take
from harness.intake.stan_output import KINDS, row_of
from harness.methods import METHODS, makes
from harness.metrics import sample_of
from harness.records import Draws
from harness.records.names import stan_names
from harness.report.files.netcdf import write_draws

if TYPE_CHECKING:
    from scripts import Compiled

VALUES = np.random.default_rng(1).normal(size=(2, 500, 3))
NAMES = ("m", "b[1,1]", "b[2,1]")
ARRAYS = {"m": VALUES[:, :, 0], "b": VALUES[:, :, 1:].reshape(2, 500, 2, 1)}


def one(given: Any, **how: Any) -> Taken:
    """Return the only fit that was taken."""
    (taken,) = take(given, **how)
    return taken


# --- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "stan"),
    [
        (["beta.2.1", "beta.1.1"], ["beta[2,1]", "beta[1,1]"]),
        (["beta[2, 1]", "beta[1, 1]"], ["beta[2,1]", "beta[1,1]"]),
        (["beta[2][1]"], ["beta[2,1]"]),
        (["beta[0]", "beta[1]"], ["beta[1]", "beta[2]"]),
        (["beta[1,0]", "beta[0,1]", "s"], ["beta[2,1]", "beta[1,2]", "s"]),
        (["beta[1]", "beta[2]"], ["beta[1]", "beta[2]"]),
        (["t:1.3", "z.1.real"], ["t:1[3]", "z[1].real"]),
        (["μ", "β[10]"], ["μ", "β[10]"]),
    ],
)
def test_names_are_written_as_stan_writes_them(written: list[str], stan: list[str]) -> None:
    """With dots, spaces or two brackets, and from 0 where some index of a variable is 0."""
    assert stan_names(written) == tuple(stan)


def test_a_vector_of_one_element_is_a_scalar() -> None:
    """Beside names to be compared with it gets the name it has there; longer ones stay apart."""
    assert stan_names(["s[1]", "m"], ["s", "m"]) == ("s", "m")
    assert stan_names(["s", "m"], ["s[1]", "m"]) == ("s[1]", "m")
    assert stan_names(["s"], ["s[1]", "s[2]"]) == ("s",)
    assert stan_names(["s[1]", "s[2]"], ["s"]) == ("s[1]", "s[2]")
    assert stan_names(["s[2]"], ["s"]) == ("s[2]",)


# --- arrays, tables, trees -------------------------------------------------------------------


class InferenceData:
    """Called as ArviZ's object was before it became a DataTree, with the same attributes."""

    def __init__(self, tree: xr.DataTree) -> None:
        """Hold the groups of a tree as Datasets."""
        self.attrs: dict[str, Any] = {}
        self._groups = list(tree.children)
        for name, child in tree.children.items():
            setattr(self, name, child.to_dataset())

    def groups(self) -> list[str]:
        """Return the names of the groups."""
        return self._groups


def tree() -> xr.DataTree:
    """Return the draws as ArviZ keeps them."""
    return arviz_base.from_dict({"posterior": ARRAYS})


def table() -> pd.DataFrame:
    """Return the draws as a table with a column for each scalar, as R's posterior writes it."""
    flat = VALUES.reshape(1000, 3)
    frame = pd.DataFrame(flat, columns=["m", "b[1,1]", "b[2,1]"])
    frame[".chain"] = np.repeat([1, 2], 500)
    frame[".iteration"] = np.tile(np.arange(1, 501), 2)
    return frame.sample(frac=1, random_state=1).sort_values([".iteration"], kind="stable")


def posteriordb(folder: Path) -> str:
    """Write posteriordb's JSON."""
    chains = [{n: VALUES[c, :, i].tolist() for i, n in enumerate(NAMES)} for c in range(2)]
    (folder / "p.json").write_text(json.dumps(chains), encoding="utf-8")
    return str(folder / "p.json")


def turing(folder: Path) -> str:
    """Write a table as Turing's chains write theirs."""
    columns = ["iteration", "chain", "m", "b[1, 1]", "b[2, 1]", "lp", "n_steps", "tree_depth",
               "numerical_error", "hamiltonian_energy"]  # fmt: skip
    rows = [
        [i + 1, c + 1, *VALUES[c, i], -1.0, 7, 3, 0.0, 2.5] for c in range(2) for i in range(500)
    ]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "t.csv", index=False)
    return str(folder / "t.csv")


@pytest.mark.parametrize(
    "make",
    [
        lambda _: ARRAYS,
        lambda _: tree(),
        lambda _: InferenceData(tree()),
        lambda _: table(),
        lambda _: tree()["posterior"].to_dataset(),
        posteriordb,
        turing,
        lambda folder: Path(posteriordb(folder)),
    ],
)
def test_every_kind_gives_the_same_draws(make: Callable[[Path], Any], tmp_path: Path) -> None:
    """Arrays, trees old and new, tables and files, chain by chain."""
    taken = one(make(tmp_path))
    draws = taken.draws
    assert sorted(draws.names) == sorted(NAMES)
    assert all(np.array_equal(draws.quantity(n), VALUES[:, :, i]) for i, n in enumerate(NAMES))
    assert not draws.iid
    assert one(make(tmp_path), independent=True).draws.iid


def test_turings_table_brings_its_samplers_statistics(tmp_path: Path) -> None:
    """Its internals are no quantities, and what diverged is known."""
    taken = one(turing(tmp_path))
    assert taken.kind == "sampler"
    assert set(taken.draws.stats) == {"diverging", "energy", "tree_depth"}


def test_a_zarr_folder_is_read_or_says_what_it_needs(tmp_path: Path) -> None:
    """Without the package zarr the message names it."""
    (tmp_path / "draws.zarr").mkdir()
    (tmp_path / "draws.zarr/zarr.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DrawsError, match=r"draws.zarr cannot be read as Zarr.*zarr"):
        read_reference(str(tmp_path / "draws.zarr"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (pd.DataFrame({"a": ["x", "y"]}), "a has type"),
        (pd.DataFrame({"chain": [1, 1, 2], "a": [1.0, 2, 3]}), "the chains differ .*: 2 and 1"),
        (pd.DataFrame({"chain": [1, 2]}), "no draws of a quantity"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column is called a"),
        (({"a": np.zeros(9)}, np.zeros(8), np.zeros(9)), r"log_p has shape \(1, 8\)"),
        ({"a[1]": np.zeros(9), "a.1": np.zeros(9)}, r"called a\[1\]"),
        ({"a": np.zeros(9), "log_weights": np.full(9, np.nan)}, "log_weights must be numbers"),
        ({"a": np.zeros(9), "log_weights": np.full(9, -np.inf)}, "not all of them"),
        ({"a": np.zeros(9), "log_weights": np.full(9, np.inf)}, "log_weights must be numbers"),
    ],
)
def test_what_does_not_fit_together_is_an_error(given: Any, says: str) -> None:
    """Nothing is guessed, and no weight is lost."""
    with pytest.raises((ValueError, TypeError), match=says):
        take(given)


def test_draws_with_both_densities_are_an_approximations() -> None:
    """They are independent, and keep their densities for the importance weights."""
    rng = np.random.default_rng(2)
    x, log_p, log_q = rng.normal(size=(3, 400))
    taken = one(({"x": x}, log_p, log_q))
    assert (taken.kind, taken.draws.iid) == ("approximation", True)
    assert taken.draws.log_p is not None
    assert taken.draws.log_q is not None
    assert np.array_equal(taken.draws.log_p - taken.draws.log_q, (log_p - log_q)[None])


def test_a_list_is_a_fit_for_each_seed_and_an_array_is_none() -> None:
    """A mapping of fits is told from a dict of arrays by its values."""
    assert len(take([ARRAYS, ARRAYS])) == 2
    for fit in (ARRAYS, tree(), table(), "draws.nc", (ARRAYS, 1, 2), [ARRAYS]):
        assert is_fit(fit)
    for array in (VALUES, [1.0, 2.0], 3.0, tree()["posterior"]["m"], [], table()["m"]):
        assert not is_fit(array)


# --- weights ---------------------------------------------------------------------------------


def test_weighted_draws_have_the_posteriors_moments_and_their_error() -> None:
    """From N(0, 1.5²) to N(.5, 1): z-scores of the mean over 100 repetitions have sd 1 within 4 se.

    The standard error of that sd is 1/√200.
    """
    z = []
    for seed in range(100):
        x = np.random.default_rng(seed).normal(0, 1.5, 2000)
        log_w = -0.5 * (x - 0.5) ** 2 + 0.5 * (x / 1.5) ** 2 + 7
        taken = one({"x": x, "log_weights": log_w}, independent=True)
        assert not taken.doubt
        sample = sample_of(taken.draws, "x")
        z.append((sample.mean - 0.5) / sample.mean_mcse)
    assert abs(np.std(z) - 1) < 4 / np.sqrt(200)
    assert abs(np.mean(z)) < 4 / np.sqrt(100)


def test_weights_that_few_draws_carry_are_doubted() -> None:
    """From N(0, 1) to N(4, 1) few proposals count, and that is said."""
    x = np.random.default_rng(1).normal(size=2000)
    taken = one({"x": x, "log_weights": 4 * x}, independent=True)
    assert "effective sample size" in taken.doubt
    assert taken.diagnostics["weight_ess"] < 100


def test_weights_on_a_chain_count_for_less_than_on_independent_draws() -> None:
    """A chain that repeats every draw five times has five times the variance, within 30%."""
    x = np.random.default_rng(1).normal(size=2000)
    log_w = 0.3 * x
    plain = sample_of(one({"x": x, "log_weights": log_w}, independent=True).draws, "x")
    slow = {"x": np.repeat(x, 5), "log_weights": np.repeat(log_w, 5)}
    chain = sample_of(one(slow).draws, "x")
    assert chain.mean_mcse / plain.mean_mcse == pytest.approx(1.0, rel=0.3)
    # Taken as independent, five copies would shrink the error by √5.
    assert sample_of(one(slow, independent=True).draws, "x").mean_mcse < 0.6 * plain.mean_mcse


# --- CmdStan's output ------------------------------------------------------------------------

LAPLACE = """# stan_version_major = 2
# stan_version_minor = 33
# stan_version_patch = 0
# model = shifted_model
# method = laplace
#   laplace
#     mode = mode.csv
#     jacobian = 1 (Default)
#     draws = 1000 (Default)
# id = 1 (Default)
log_p__,log_q__,mu,beta.1,beta.2
"""

PATHFINDER = """# method = pathfinder
#   pathfinder
#     num_psis_draws = 1000 (Default)
#     num_paths = {paths} (Default)
#     psis_resample = 1 (Default)
#     calculate_lp = 1 (Default)
#     num_draws = 1000 (Default)
lp_approx__,lp__,mu,beta.1,beta.2
"""


def output(path: Path, head: str, rows: np.ndarray[Any, Any]) -> str:
    """Write what CmdStan writes, with rows of our own."""
    lines = [",".join(f"{x:.9g}" for x in row) for row in rows]
    path.write_text(head + "\n".join(lines) + "\n", "utf-8")
    return str(path)


def test_a_file_of_laplace_is_an_approximation_with_densities(tmp_path: Path) -> None:
    """With independent draws; one that is cut short is refused."""
    rows = np.random.default_rng(3).normal(size=(1000, 5))
    taken = one(output(tmp_path / "l.csv", LAPLACE, rows))
    assert (taken.kind, taken.method, taken.draws.iid) == ("approximation", "laplace", True)
    assert taken.draws.names == ("mu", "beta[1]", "beta[2]")
    assert taken.draws.log_q is not None
    assert np.allclose(taken.draws.log_q[0], rows[:, 1], rtol=1e-8)
    with pytest.raises(DrawsError, match="999 draws of 1000"):
        take(output(tmp_path / "l.csv", LAPLACE, rows[1:]))


def test_draws_that_pathfinder_chose_by_weight_know_their_copies(tmp_path: Path) -> None:
    """And have no densities to weight them by again; those of one path do."""
    rows = np.random.default_rng(3).normal(size=(500, 5)).repeat(2, axis=0)
    several = one(output(tmp_path / "p.csv", PATHFINDER.format(paths=4), rows)).draws
    assert several.copies is not None
    assert np.all(several.copies == 2)
    assert several.log_q is None
    alone = one(output(tmp_path / "p.csv", PATHFINDER.format(paths=1), rows)).draws
    assert alone.copies is None
    assert alone.log_q is not None


def test_an_approximations_file_is_no_reference(tmp_path: Path) -> None:
    """Whatever its draws look like."""
    rows = np.random.default_rng(3).normal(size=(1000, 5))
    with pytest.raises(DrawsError, match=r"an approximation \(laplace\), and no reference"):
        read_reference(output(tmp_path / "l.csv", LAPLACE, rows))


PROGRAM = """
parameters { real mu; vector[2] beta; real<lower=0> sigma; }
model { mu ~ normal(1, 1); beta ~ normal(0, 1); sigma ~ lognormal(0, 0.5); }
"""


@pytest.fixture(scope="module")
def fits(compiled: Compiled, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Run CmdStan's methods once, each into a folder of its own."""
    folder = tmp_path_factory.mktemp("fits")
    program = folder / "shifted.stan"
    program.write_text(PROGRAM, "utf-8")
    model = compiled(program)
    quiet: dict[str, Any] = {"seed": 1}
    return {
        "sample": model.sample(
            **quiet, iter_sampling=500, parallel_chains=1, show_progress=False,
            output_dir=folder / "sample",
        ),
        "variational": model.variational(
            **quiet, require_converged=False, output_dir=folder / "variational"
        ),
        "optimize": model.optimize(**quiet, output_dir=folder / "optimize"),
    }  # fmt: skip


@pytest.mark.stan
@pytest.mark.parametrize(
    ("method", "kind", "row"),
    [
        ("sample", "sampler", "nuts"),
        ("variational", "approximation", "meanfield"),
        ("optimize", "point", "optimize"),
    ],
)
def test_a_fit_of_cmdstanpy_and_its_files_are_the_same(
    fits: dict[str, Any], method: str, kind: str, row: str
) -> None:
    """Same names, draws to the printed digits, statistics, densities, and what made them."""
    fit = fits[method]
    runs = vars(fit).get("runset") or vars(fit)["_runset"]
    here, there = one(fit), one(str(Path(runs.csv_files[0]).parent))
    for taken in (here, there):
        assert (taken.kind, taken.method, taken.draws.iid) == (kind, row, method != "sample")
    assert here.draws.names == there.draws.names == ("mu", "beta[1]", "beta[2]", "sigma")
    assert np.allclose(here.draws.values, there.draws.values, rtol=1e-8)
    assert set(here.draws.stats) == set(there.draws.stats)
    assert (here.draws.log_q is None) == (there.draws.log_q is None) == (method != "variational")
    if method == "sample":
        assert {"diverging", "energy", "tree_depth", "max_tree_depth"} == set(here.draws.stats)
        assert here.seconds == pytest.approx(there.seconds)
    if method == "variational":
        assert here.diagnostics["eta"] == there.diagnostics["eta"] == fit.eta
    if method == "optimize":
        assert here.draws.values.shape == (1, 1, 4)
        assert here.draws.values[0, 0, 0] == pytest.approx(1.0, abs=0.01)


def test_the_harness_own_files_of_an_approximation_are_no_reference(tmp_path: Path) -> None:
    """They say what made them: independent draws of q are not those of the posterior."""
    draws = Draws(("x",), np.random.default_rng(1).normal(size=(1, 400, 1)))
    write_draws(tmp_path, "meanfield-1", "key", draws, None, makes("meanfield"))
    assert one(tmp_path / "meanfield-1.nc").kind == "approximation"
    with pytest.raises(DrawsError, match=r"meanfield-1.nc: draws of an approximation, and no ref"):
        read_reference(str(tmp_path / "meanfield-1.nc"))
    chains = replace(draws, values=draws.values.reshape(4, 100, 1), iid=False)
    write_draws(tmp_path, "nuts-1", "key", chains, None, makes("nuts"))
    assert one(tmp_path / "nuts-1.nc").kind == "sampler"


@pytest.mark.parametrize("method", ["meanfield", "fullrank"])
def test_rows_are_called_as_the_table_of_methods_calls_them(method: str) -> None:
    """What made a fit is a row of the table, or CmdStan's own word."""
    rows = {row_of(m, {"algorithm": method}) for m in KINDS}
    assert rows - set(METHODS) == {"optimize"}
