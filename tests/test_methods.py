"""The table of methods holds together: names, titles, looks, options."""

from __future__ import annotations

import json

import pytest

from harness.methods import DEFAULT_METHODS, METHODS
from harness.models import folders
from harness.records import Model
from harness.records.method_titles import TITLES, title
from harness.report.figures.looks import LOOKS


def test_every_method_has_one_title_and_one_look() -> None:
    """The name in sentences is the table's and the figures'; no two are the same."""
    assert set(METHODS) == set(TITLES) == set(LOOKS)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.title == title(name) == LOOKS[name].title
        assert LOOKS[name].approximate is method.approximate
    assert len(set(TITLES.values())) == len(TITLES)
    assert len({(x.colour, x.dash) for x in LOOKS.values()}) == len(LOOKS)
    assert len({x.marker for x in LOOKS.values()}) == len(LOOKS)


def test_an_unknown_method_keeps_its_own_name() -> None:
    """A results folder of a newer harness can still be read."""
    assert title("gibbs") == "gibbs"


def test_options_are_plain_and_have_values() -> None:
    """They are part of a run's key, and ``--set`` takes their type from the default."""
    for method in METHODS.values():
        assert json.loads(json.dumps(dict(method.defaults))) == dict(method.defaults), method.name
        assert all(isinstance(v, (bool, int, float, str)) for v in method.defaults.values())


def test_the_default_methods_are_fit_for_any_program(lecture: list[Model]) -> None:
    """What runs unless something else is named must not depend on a model."""
    assert set(DEFAULT_METHODS) <= set(METHODS)
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
    """In a sentence that names what is missing."""
    mixture = next(m for m in lecture if m.name == "mixture")
    for name, words in (("minibatch", "batch"), ("cavi", "inverse_gamma_normal")):
        why = METHODS[name].unfit(mixture)
        assert why is not None
        assert words in why


@pytest.fixture(scope="module")
def lecture() -> list[Model]:
    """Return the lecture's models."""
    return [folders.load(name) for name in folders.lecture_models()]
