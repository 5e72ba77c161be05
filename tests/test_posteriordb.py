"""A posteriordb on disk: posteriors by name, their data, and reference draws that passed checks."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness import cli
from harness.cli import common
from harness.models import posteriordb
from harness.models.data import ModelError
from harness.stan import embedded

PROGRAM = """
data { int N; vector[N] y; }
parameters { real mu; }
model { mu ~ normal(0, 1); y ~ normal(mu, 1); }
"""

Y = [1.0, 0.0, 2.0]  # so that mu is N(0.75, 1/4)

CHECKS = {"ndraws_is_10k": True, "nchains_is_gte_4": True, "r_hat_below_1_01": [True, True]}


def write(path: Path, content: Any) -> None:
    """Write JSON where the database has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def pack(path: Path, content: Any) -> None:
    """Write JSON zipped, as the database keeps what is large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = path.with_name(f"{path.name}.zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(path.name, json.dumps(content))


def add(
    root: Path,
    name: str,
    *,
    program: str = PROGRAM,
    checks: Any = CHECKS,
    reference: bool = True,
    old: bool = False,
) -> None:
    """Add a posterior ``d-NAME`` of a program NAME to the database."""
    model = {"stan": f"models/stan/{name}.stan"}
    now = {"model_implementations": {"stan": {"model_code": model["stan"]}}, "title": f"A {name}"}
    write(root / "models/info" / f"{name}.info.json", {"model_code": model} if old else now)
    (root / "models/stan").mkdir(parents=True, exist_ok=True)
    (root / model["stan"]).write_text(program, encoding="utf-8")
    write(root / "data/info/d.info.json", {"data_file": "data/data/d.json"})
    pack(root / "data/data/d.json", {"N": len(Y), "y": Y})
    about: dict[str, Any] = {"model_name": name, "data_name": "d", "dimensions": {"mu": 1}}
    about["reference_posterior_name"] = f"d-{name}" if reference else None
    write(root / "posteriors" / f"d-{name}.json", about)
    if reference:
        draws = root / "reference_posteriors/draws"
        write(draws / "info" / f"d-{name}.info.json", {"checks_made": checks})
        z = np.random.default_rng(1).normal(0.75, 0.5, (10, 1000))
        pack(draws / "draws" / f"d-{name}.json", [{"mu": chain.tolist()} for chain in z])


@pytest.fixture
def root(tmp_path: Path, isolated_cache: Path) -> Path:
    """Return a checkout with a database of one posterior."""
    assert isolated_cache
    add(tmp_path / "db/posterior_database", "normal")
    return tmp_path / "db"


def load(root: Path, name: str) -> Any:
    """Load a posterior from a checkout."""
    return posteriordb.load(posteriordb.database(root), name)


@pytest.mark.parametrize("old", [False, True])
def test_a_posterior_has_its_program_its_data_and_its_reference(root: Path, old: bool) -> None:
    """In a checkout or in the database's own folder, with either form of the models' records."""
    inside = root / "posterior_database"
    add(inside, "normal", old=old)
    for path in (root, inside):
        model = load(path, "d-normal")
        assert (model.name, model.source) == ("d-normal", "posteriordb")
        assert model.stan_file.read_text(encoding="utf-8") == PROGRAM
        assert json.loads(model.data_file.read_text(encoding="utf-8")) == {"N": 3, "y": Y}
        assert model.draws_file.name == "d-normal.json.zip"
        assert model.notes == ()


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ({**CHECKS, "r_hat_below_1_01": False}, "1 recorded check not passed: r_hat_below_1_01"),
        ({**CHECKS, "r_hat_below_1_01": [True, False]}, "not passed: r_hat_below_1_01"),
        ({**CHECKS, "ess_within_bounds": None}, "not passed: ess_within_bounds"),
        ({}, "no checks of them are recorded"),
        (None, "no checks of them are recorded"),
    ],
)
def test_reference_draws_that_did_not_pass_are_not_used(
    root: Path, checks: Any, words: str
) -> None:
    """The posterior is compared with NUTS instead, and the report says why."""
    add(root / "posterior_database", "normal", checks=checks)
    model = load(root, "d-normal")
    assert model.draws_file is None
    assert words in model.notes[0]


def test_a_posterior_without_reference_draws_says_so(root: Path) -> None:
    """None recorded, or a file that is not there."""
    add(root / "posterior_database", "lone", reference=False)
    assert "has no reference draws" in load(root, "d-lone").notes[0]
    next(root.rglob("d-normal.json.zip")).unlink()
    assert "are not there: d-normal.json.zip" in load(root, "d-normal").notes[0]


def no_program(root: Path) -> None:
    """Remove a program."""
    next(root.rglob("normal.stan")).unlink()


def no_data(root: Path) -> None:
    """Remove the data."""
    next(root.rglob("d.json.zip")).unlink()


def damaged_data(root: Path) -> None:
    """Cut the archive short."""
    path = next(root.rglob("d.json.zip"))
    path.write_bytes(path.read_bytes()[:40])


def rotten_data(root: Path) -> None:
    """Turn bytes of what is packed, and leave the archive's table of contents whole."""
    path = next(root.rglob("d.json.zip"))
    content = bytearray(path.read_bytes())
    for i in range(40, 46):
        content[i] ^= 0xFF
    path.write_bytes(bytes(content))


def two_files(root: Path) -> None:
    """Put a second file into the archive, so that nothing says which are the data."""
    with zipfile.ZipFile(next(root.rglob("d.json.zip")), "a") as archive:
        archive.writestr("other.json", "{}")


def damaged_record(root: Path) -> None:
    """Write half of a JSON object."""
    next(root.rglob("d-normal.json")).write_text('{"model_name": ', encoding="utf-8")


def nameless(root: Path) -> None:
    """Leave out which program it is."""
    write(next(root.rglob("posteriors/d-normal.json")), {"data_name": "d"})


BROKEN = [
    no_program, no_data, damaged_data, rotten_data, two_files, damaged_record, nameless,
]  # fmt: skip


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_posterior_is_a_sentence(root: Path, damage: Callable[[Path], None]) -> None:
    """It says which file it is about, or what the record lacks."""
    damage(root)
    with pytest.raises(ModelError, match=r"normal|d\.json"):
        load(root, "d-normal")


def test_patterns_and_names_that_mean_nothing(root: Path, tmp_path: Path) -> None:
    """Near names are offered, and a folder that is no database is named."""
    inside = posteriordb.database(root)
    add(inside, "other")
    assert posteriordb.names(inside, "d-*") == ["d-normal", "d-other"]
    with pytest.raises(ModelError, match="did you mean d-normal"):
        posteriordb.names(inside, "d-normall")
    with pytest.raises(ModelError, match="is no posteriordb"):
        posteriordb.database(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["posteriordb:d-*"], "needs --posteriordb"),
        (["--all"], "needs --posteriordb"),
        (["--posteriordb", "DB"], "needs a posterior"),
        (["posteriordb:x", "--posteriordb", "DB"], "no posterior 'x'"),
        (["posteriordb:d-*", "--posteriordb", "/nowhere"], "is no posteriordb"),
    ],
)
def test_mistakes_are_one_line(root: Path, words: list[str], match: str) -> None:
    """Exit code 2, and what is missing."""
    args = [str(root) if word == "DB" else word for word in words]
    done = CliRunner().invoke(cli.main, ["compare", *args])
    assert done.exit_code == common.EXIT_UNUSABLE
    assert match in done.output


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_all_goes_on_past_what_is_broken(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for what cannot be read and for what the engine refuses; the rest has verdicts."""
    inside = root / "posterior_database"
    add(inside, "wrong", program="parameters { real x } model { }")
    add(inside, "torn")
    next(inside.rglob("torn.stan")).unlink()
    monkeypatch.chdir(tmp_path)
    words = ["--all", "--posteriordb", str(root), "--engine", "embedded", "--no-why", "--quiet"]
    words += ["--methods", "dadvi_lr", "--seeds", "1", "--out", "out"]
    done = CliRunner().invoke(cli.main, ["compare", *words])
    assert done.exit_code == 0, done.output
    assert "left out: d-torn: posteriordb has no Stan program models/stan/torn.stan" in done.output
    results = json.loads((tmp_path / "out/results.json").read_text(encoding="utf-8"))
    by_name = {model["model"]["name"]: model for model in results["models"]}
    assert set(by_name) == {"d-normal", "d-wrong"}
    assert by_name["d-normal"]["reference"]["kind"] == "supplied"
    (verdict,) = by_name["d-normal"]["verdicts"]
    assert (verdict["level"], verdict["evidence"]) == ("pass", "supplied")
    assert by_name["d-wrong"]["error"]
