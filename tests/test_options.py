"""Options of methods: known, of the right type, or an error that says what is allowed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from engine_builders import engines

from harness.cli import main
from harness.methods.options import checked, from_words, own_options, refuse_unused
from harness.methods.settings import OptionError
from harness.models import folders
from harness.study.plan import Plan, methods_run
from harness.study.planner import Planner
from harness.study.store import Store


def test_words_become_the_defaults_types() -> None:
    """Text from a command line is a number, a truth value or a word as the default is."""
    found = from_words([
        "meanfield.iter=2e4", "meanfield.eta=1", "meanfield.adapt_engaged=False", "nuts.chains=2",
    ])  # fmt: skip
    assert found == {
        "meanfield": {"iter": 20_000, "eta": 1.0, "adapt_engaged": False},
        "nuts": {"chains": 2},
    }
    assert type(found["meanfield"]["eta"]) is float


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("meanfield.iters=3", "no option 'iters'; did you mean iter?"),
        ("meanfeld.iter=3", "did you mean meanfield"),
        ("meanfield.iter", "not of the form"),
        ("iter=3", "not of the form"),
        (
            "meanfield.iter=2.5",
            "allowed: a whole number from 1 up to 100\u202f000\u202f000",
        ),
        ("meanfield.iter=many", "allowed: a whole number"),
        ("meanfield.adapt_engaged=1", "allowed: true or false"),
        ("meanfield.seeds=3", "no option 'seeds'"),
    ],
)
def test_what_cannot_be_set_is_an_error(word: str, says: str) -> None:
    """The error has the nearest name, or what is allowed."""
    with pytest.raises(OptionError, match=says.replace("?", r"\?")):
        from_words([word])


def test_options_from_python_are_checked_too() -> None:
    """The same errors, and an unknown method is one."""
    assert checked(None) == {}
    assert checked({"meanfield": {"iter": 5}}) == {"meanfield": {"iter": 5}}
    with pytest.raises(OptionError, match="no method 'gibbs'"):
        checked({"gibbs": {}})
    with pytest.raises(OptionError, match="allowed: a whole number"):
        checked({"meanfield": {"iter": True}})


def test_an_unknown_option_in_a_models_folder_is_the_models_error(tmp_path: Path) -> None:
    """A misspelt setting in model.toml is an error."""
    model = folders.load("normal_mean")
    misspelt = dataclasses.replace(model, settings={"meanfield": {"itr": 5}})
    plan = Plan(models=(misspelt,), methods=("meanfield",))
    work = Planner(plan, engines(), Store(tmp_path)).work(misspelt)
    assert work.error is not None
    assert "model.toml of normal_mean" in work.error
    assert "did you mean iter?" in work.error


def test_what_is_set_goes_before_the_models_own(tmp_path: Path) -> None:
    """Command line, then model.toml, then the method's defaults."""
    model = dataclasses.replace(
        folders.load("normal_mean"), settings={"meanfield": {"iter": 5, "grad_samples": 2}}
    )
    given: dict[str, dict[str, Any]] = {"meanfield": {"iter": 7}}
    plan = Plan(models=(model,), methods=("meanfield",), options=given)
    options = Planner(plan, engines(), Store(tmp_path)).work(model).specs[0].options
    assert (options["iter"], options["grad_samples"], options["eval_elbo"]) == (7, 2, 100)


def test_the_command_line_says_what_was_wrong() -> None:
    """Exit code 2 and the sentence, before anything is run."""
    found = CliRunner().invoke(main, ["compare", "normal_mean", "--set", "meanfield.foo=1"])
    assert found.exit_code == 2
    assert "no option 'foo'" in found.output


def test_settings_are_options_or_reserved() -> None:
    """Seeds, draws and skip are read elsewhere."""
    assert own_options("meanfield", {"seeds": 3, "draws": 5, "skip": "why"}, "x") == {}


def test_options_that_would_change_nothing_are_refused() -> None:
    """Options of methods that do not run are refused, and so are seeds and draws as options."""
    model = folders.load("normal_mean")
    refuse_unused({"advi": {}}, methods_run((model,), ("advi",)))
    # NUTS is run as the reference wherever there is no other.
    refuse_unused({"nuts": {}}, methods_run((model,), ("advi",)))
    for named in (("dadvi",), None):
        with pytest.raises(OptionError, match="options of advi, which is not among"):
            refuse_unused({"advi": {}}, methods_run((model,), named))
    with pytest.raises(OptionError, match="no option 'draws'"):
        checked({"advi": {"draws": 5}})
