"""The table of methods holds together: every row has all its parts, and they fit the others."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest

import harness
from harness.methods import DEFAULT_METHODS, METHODS, title
from harness.methods.options import from_words
from harness.methods.settings import OptionError
from harness.models import folders
from harness.records import FAMILY_NAMES, SAMPLED_BY, Model
from harness.report.figures.looks import look

ROWS = tuple(METHODS.values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_has_all_its_parts(row: object) -> None:
    """A name that can be typed, words that read well, options, figures and a look."""
    method = METHODS[row.name]  # type: ignore[attr-defined]
    assert re.fullmatch(r"[a-z_]+", method.name)
    assert method.title == title(method.name) == look(method.name).title
    assert method.what
    assert not method.what.endswith(".")
    assert method.version >= 1
    assert method.draws >= 1
    assert method.seeds >= 1
    assert method.family in {None, *FAMILY_NAMES}
    assert look(method.name).approximate is method.approximate
    for other in (method.full_rank, method.tuned):
        assert not other or type(METHODS[other].options) is type(method.options)
    if method.full_rank:
        assert METHODS[method.full_rank].family_of(METHODS[method.full_rank].defaults) == "fullrank"


def test_names_titles_and_looks_differ() -> None:
    """No two methods can be mistaken for each other, and each has its own marker."""
    assert all(name == row.name for name, row in METHODS.items())
    for of in (
        lambda row: row.title,
        lambda row: row.what,
        lambda row: (row.look.colour, row.look.dash),
        lambda row: row.look.marker,
    ):
        assert len({of(row) for row in ROWS}) == len(ROWS)


PACKAGE = Path(harness.__file__).parent

NAMED = {
    "why/remedies/settings.py",
    *(f"intake/{name}.py" for name in ("files", "fits", "stan_output")),
}
"""Remedies that are runs of another method, and CmdStan's own names in its files."""

SERVICES = "intake/"
"""Here they are CmdStan's words for its own services."""


def test_only_the_table_names_methods() -> None:
    """Other code reads METHODS; two methods may be the reference, two names are also families."""
    ids = set(METHODS) - {*SAMPLED_BY.values(), *FAMILY_NAMES}
    found = set()
    for path in PACKAGE.rglob("*.py"):
        where = path.relative_to(PACKAGE).as_posix()
        if where.startswith(("methods/", SERVICES)) or where in NAMED:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in ids:
                found.add(f"{where}: {node.value}")
    assert not found


def test_an_unknown_method_keeps_its_own_name() -> None:
    """A results folder of a newer harness can still be read."""
    assert title("gibbs") == "gibbs"
    assert look("gibbs").title == "gibbs"


def test_options_are_plain_and_have_values() -> None:
    """They are part of a run's key, and reading them back changes nothing."""
    for method in ROWS:
        plain = method.defaults
        assert json.loads(json.dumps(plain)) == plain, method.name
        assert all(isinstance(v, (bool, int, float, str)) for v in plain.values())
        assert type(method.options).read(plain).plain() == plain


WRONG = [
    f"{method.name}.{name}={value}"
    for method in ROWS
    for name in method.defaults
    for value in ("", "nan", "-5", "several", "inf")
    if not (isinstance(method.defaults[name], str) and value == "several")
]


@pytest.mark.parametrize("word", WRONG)
def test_no_option_takes_nonsense(word: str) -> None:
    """NaN, infinity, negative numbers and other words are errors that say what is allowed."""
    with pytest.raises(OptionError, match=r"is '.*'; allowed: "):
        from_words([word])


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("dadvi.base_draws=-5", "a whole number from 0 up to 1\u202f048\u202f576, such as 0"),
        ("dadvi.base_draws=2.5", "a whole number from 0 up to 1\u202f048\u202f576, such as 0"),
        ("dadvi.error=0", "a number above 0, such as 0.05"),
        ("nuts.adapt_delta=1", "a number above 0 below 1, such as 0.8"),
        ("svi.kappa=0.5", "a number above 0.5 up to 1, such as 1.0"),
        ("svi.tau=0.9", "a number from 1, such as 1.0"),
        ("advi.average=2", "true or false"),
        ("advi.family=cauchy", "meanfield or fullrank"),
        ("minibatch.elbo_pairs=1", "a whole number from 2 up to 100\u202f000\u202f000, such as 50"),
    ],
)
def test_ranges_are_checked_when_words_are_read(word: str, allowed: str) -> None:
    """An error before anything runs says what is allowed, with an example."""
    with pytest.raises(OptionError, match=re.escape(f"allowed: {allowed}")):
        from_words([word])


def test_a_runs_options_are_checked_again() -> None:
    """A spec made by hand with an unknown option or a wrong value is refused, too."""
    kind = type(METHODS["dadvi"].options)
    with pytest.raises(OptionError, match="no option 'errors'; did you mean error"):
        kind.read({"errors": 0.1})
    with pytest.raises(OptionError, match="error is nan"):
        kind(error=float("nan"))  # type: ignore[call-arg]
    with pytest.raises(dataclasses.FrozenInstanceError):
        METHODS["dadvi"].options.error = 1.0  # type: ignore[attr-defined]


def test_what_the_harness_hands_over_cannot_be_set() -> None:
    """The batch table is the model's, NUTS's starts are q's draws."""
    for word in ("minibatch.batch=1", "nuts.inits=1", "nuts.inv_metric=1"):
        with pytest.raises(OptionError, match="no option"):
            from_words([word])
    assert [m.name for m in ROWS if m.batch] == ["minibatch"]


def test_the_default_methods_are_fit_for_any_program(lecture: list[Model]) -> None:
    """Methods that run by default do not depend on a model."""
    assert "nuts" in DEFAULT_METHODS
    for name in DEFAULT_METHODS:
        assert all(METHODS[name].unfit(model) is None for model in lecture), name


def test_a_models_own_methods_exist_and_fit_it(lecture: list[Model]) -> None:
    """A lecture model names no method that would be left out."""
    for model in lecture:
        for name in model.methods:
            assert name in METHODS, (model.name, name)
            assert METHODS[name].unfit(model) is None, (model.name, name)


def test_unfit_methods_say_why(lecture: list[Model]) -> None:
    """A sentence says what the model lacks."""
    mixture = next(m for m in lecture if m.name == "mixture")
    for name, words in (("minibatch", "batch"), ("cavi", "inverse_gamma_normal")):
        why = METHODS[name].unfit(mixture)
        assert why is not None
        assert words in why


@pytest.fixture(scope="module")
def lecture() -> list[Model]:
    """Return the lecture's models."""
    return [folders.load(name) for name in folders.lecture_models()]
