"""References that users bring: every kind of file gives the same draws, or says what is wrong."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import arviz_base
import numpy as np
import pytest
from scripts import Compiled

from harness import judgement
from harness.intake import DrawsError, files_of, read_reference
from harness.metrics.measure import chain_measures
from harness.models import folders
from harness.records import Cost, Draws, Model, RunResult, RunSpec
from harness.report.files.netcdf import write_draws
from harness.stan import CmdStan
from harness.study import comparing
from harness.study.plan import Plan
from harness.study.reference import choose_reference

VALUES = np.random.default_rng(1).normal(size=(2, 500, 3))
NAMES = ("m", "b[1,1]", "b[2,1]")
STATS = {"diverging": np.zeros((2, 500)), "tree_depth": np.full((2, 500), 3.0)}

COMMENTS = """# stan_version_major = 2
# method = {method} (Default)
#   sample
#     num_samples = {samples} (Default)
#     num_warmup = {warmup}
#     save_warmup = {save}
#     thin = 1 (Default)
#         max_depth = 10 (Default)
"""


def netcdf(folder: Path) -> str:
    """Write a plain ArviZ file: a posterior, and nothing else."""
    b = VALUES[:, :, 1:].reshape(2, 500, 2, 1)
    arviz_base.from_dict({"posterior": {"m": VALUES[:, :, 0], "b": b}}).to_netcdf(folder / "a.nc")
    return str(folder / "a.nc")


def own(folder: Path) -> str:
    """Write the harness's own file of a run of NUTS."""
    write_draws(folder, "nuts-1", "key", Draws(NAMES, VALUES, stats=STATS, iid=False), None)
    return str(folder / "nuts-1.nc")


def posteriordb(folder: Path) -> str:
    """Write posteriordb's JSON."""
    chains = [{n: VALUES[c, :, i].tolist() for i, n in enumerate(NAMES)} for c in range(2)]
    (folder / "p.json").write_text(json.dumps(chains), encoding="utf-8")
    return str(folder / "p.json")


def zipped(folder: Path) -> str:
    """Write it as posteriordb stores it."""
    with zipfile.ZipFile(folder / "p.json.zip", "w") as archive:
        archive.write(posteriordb(folder), "p.json")
    return str(folder / "p.json.zip")


def csv(folder: Path, *, warmup: int = 0, rows: int = 500, method: str = "sample") -> str:
    """Write CmdStan's files, a chain each, perhaps with the warm-up among them."""
    save = int(warmup > 0)
    for c in range(2):
        said = COMMENTS.format(method=method, samples=500, warmup=warmup, save=save)
        lines = ["lp__,divergent__,treedepth__,m,b.1.1,b.2.1"]
        lines += ["0,0,3,9,9,9"] * warmup
        lines += [",".join(["-1", "0", "3", *map(repr, row)]) for row in VALUES[c, :rows].tolist()]
        (folder / f"out-{c}.csv").write_text(said + "\n".join(lines) + "\n# seconds\n", "utf-8")
    return str(folder / "out-*.csv")


@pytest.mark.parametrize("write", [netcdf, own, posteriordb, zipped, csv])
def test_every_kind_of_file_gives_the_same_draws(
    write: Callable[[Path], str], tmp_path: Path
) -> None:
    """With Stan's names, as Markov chains unless they are stated to be independent."""
    draws = read_reference(write(tmp_path))
    assert sorted(draws.names) == sorted(NAMES)
    for i, name in enumerate(NAMES):
        assert np.array_equal(draws.quantity(name), VALUES[:, :, i])
    assert not draws.iid
    stated = read_reference(write(tmp_path), iid=True)
    assert stated.iid
    assert stated.values.shape == (1, 1000, 3)


def test_several_csv_files_are_named_by_commas_stars_or_their_folder(tmp_path: Path) -> None:
    """And the warm-up that was saved is left out."""
    star = csv(tmp_path, warmup=7)
    both = [tmp_path / "out-0.csv", tmp_path / "out-1.csv"]
    assert files_of(star) == files_of(str(tmp_path)) == both
    assert files_of(f"{both[1]}, {both[0]}") == both[::-1]
    assert read_reference(star).values.shape == (2, 500, 3)
    assert read_reference(str(both[0])).values.shape == (1, 500, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"x y\n1 2\n", "no kind of file that can be read; allowed: NetCDF"),
        (b'{"m": 3}', "a list of chains, each an object of name"),
        (b'[{"m": [1, 2]}, {"b": [1, 2]}]', "not all chains have the same quantities"),
        (b'[{"m": [1, 2]}, {"m": [1]}]', "not all chains have as many draws of m"),
        (b"[[1, 2]]", "a list of chains"),
        (b'[{"m": ["one"]}]', "cannot be read"),
        (b"\x89HDF broken", "cannot be read"),
        (b"PK broken", "cannot be read"),
        (b"# method = sample\nlp__,m\n", "a header and no rows"),
        (b" \n", "file is empty"),
        (b"a,b\n", "names of columns and no draws"),
        (b"a,b,a\n1,2,3\n4,5,6\n", "more than one column is called a"),
        (b"a,b\n1,2\n1;2,3\n", "draw 2 of a is '1;2', which is no number"),
    ],
)
def test_what_cannot_be_read_is_an_error(content: bytes, says: str, tmp_path: Path) -> None:
    """It names the file, what is in it, and what is allowed."""
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DrawsError, match=says):
        read_reference(str(tmp_path / "file"))


def test_output_of_other_methods_and_lost_rows_are_errors(tmp_path: Path) -> None:
    """ADVI's draws are no reference, and neither is a chain that was cut short."""
    with pytest.raises(DrawsError, match=r"an approximation \(meanfield\), and no ref"):
        read_reference(csv(tmp_path, method="variational"))
    with pytest.raises(DrawsError, match="499 draws of 500"):
        read_reference(csv(tmp_path, rows=499))
    with pytest.raises(DrawsError, match="no such reference"):
        read_reference(str(tmp_path / "gone.nc"))
    (tmp_path / "tree.nc").unlink(missing_ok=True)
    arviz_base.from_dict({"prior": {"m": VALUES[:, :, 0]}}).to_netcdf(tmp_path / "tree.nc")
    with pytest.raises(DrawsError, match="no group 'posterior'; its groups: prior"):
        read_reference(str(tmp_path / "tree.nc"))


def test_what_was_not_recorded_is_not_known_and_refuses_nothing() -> None:
    """But what was recorded counts, and R-hat can always be computed."""
    spec = RunSpec("m", "supplied", {}, 1, 0)

    def judged(draws: Draws) -> judgement.ChainJudgement:
        run = RunResult(spec, "", "ok", "", draws, None, {}, Cost(1.0), {})
        measures = chain_measures(run, draws.names, "supplied")
        return judgement.judge_chains(measures, recorded=draws.stats)

    plain = judged(Draws(NAMES, VALUES, iid=False))
    assert plain.trusted
    assert "share of divergent transitions not known" in plain.sentence("these chains")
    diverged = {"diverging": np.ones((2, 500))}
    assert not judged(Draws(NAMES, VALUES, stats=diverged, iid=False)).trusted
    apart = VALUES + np.array([0.0, 3.0])[:, None, None]
    assert not judged(Draws(NAMES, apart, iid=False)).trusted


# --- with a program --------------------------------------------------------------------------

PROGRAM = """
parameters { vector[2] x; matrix[2, 2] b; }
model { x ~ normal(0, 1); to_vector(b) ~ normal(1, 2); }
generated quantities { real twice = 2 * x[1]; }
"""


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Return a program with a vector and a matrix."""
    (tmp_path / "p.stan").write_text(PROGRAM, encoding="utf-8")
    return folders.user_model(tmp_path / "p.stan", None)


@pytest.mark.stan
def test_cmdstanpys_fit_is_a_reference(compiled: Compiled, model: Model, tmp_path: Path) -> None:
    """Through ArviZ's own converter, with the names that Stan writes."""
    fit = compiled(model.stan_file).sample(
        seed=1, output_dir=str(tmp_path / "csv"), show_progress=False
    )
    arviz_base.from_cmdstanpy(fit).to_netcdf(tmp_path / "fit.nc")
    tree, files = (read_reference(str(tmp_path / name)) for name in ("fit.nc", "csv"))
    assert set(tree.names) == set(files.names)
    assert {"x[2]", "b[2,1]", "twice"} <= set(tree.names)
    for name in files.names:
        assert np.allclose(tree.quantity(name), files.quantity(name), rtol=1e-5)
    for file in ("fit.nc", "csv"):
        chosen = choose_reference(model, (), str(tmp_path / file))
        assert chosen.reference.trusted, chosen.reference.why
        assert set(chosen.selection.names) == set(tree.names)


@pytest.mark.stan
@pytest.mark.parametrize(
    ("quantities", "reference", "says"),
    [
        (("twise",), "auto", r"no quantity 'twise'; did you mean twice\? \(there are x, b and"),
        ((), "other.json", "the reference has draws of z, and none of the program's"),
        ((), "csv.txt", "no kind of file"),
    ],
)
def test_names_are_checked_before_anything_runs(
    fresh_results: Path,
    model: Model,
    tmp_path: Path,
    quantities: tuple[str, ...],
    reference: str,
    says: str,
) -> None:
    """A typo, or a reference of another program, costs no run."""
    assert fresh_results.is_dir()
    (tmp_path / "other.json").write_text('[{"z": [1, 2, 3]}]', encoding="utf-8")
    (tmp_path / "csv.txt").write_text("z\n1\n", encoding="utf-8")
    where = reference if reference == "auto" else str(tmp_path / reference)
    asked = Plan((replace(model, quantities=quantities),), reference=where)
    with pytest.raises(comparing.NothingToRunError, match=says):
        comparing.compare(asked)


@pytest.mark.stan
def test_what_the_program_does_not_have_is_left_out(
    cmdstan: CmdStan, model: Model, tmp_path: Path
) -> None:
    """A column of the reference's own is a note, not a missing figure."""
    assert cmdstan.path.is_dir()
    rng = np.random.default_rng(2)
    draws = {n: rng.normal(size=2000).tolist() for n in ("x[1]", "x[2]", "weight")}
    (tmp_path / "r.json").write_text(json.dumps([draws]), encoding="utf-8")
    chosen = choose_reference(model, (), str(tmp_path / "r.json"))
    assert chosen.selection.names == ("x[1]", "x[2]")
    assert "not of the program, so not compared: weight" in chosen.selection.notes


@pytest.mark.stan
def test_each_of_several_models_may_have_some_of_the_quantities(
    fresh_results: Path, model: Model, tmp_path: Path
) -> None:
    """A name is wrong only if no model has it."""
    assert fresh_results.is_dir()
    (tmp_path / "q.stan").write_text("parameters { real z; } model { z ~ normal(0, 1); }")
    both = (model, folders.user_model(tmp_path / "q.stan", None))

    def errors(*quantities: str) -> list[bool]:
        models = tuple(replace(m, quantities=quantities) for m in both)
        asked = Plan(models, methods=("nuts",), explain=False, figures=False)
        return [m.error is not None for m in comparing.run(asked)[0].models]

    assert errors("x", "z") == [False, False]
    assert errors("x", "zed") == [True, True]
