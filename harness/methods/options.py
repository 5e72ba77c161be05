"""Options of methods as users set them, on the command line, from Python or in model.toml."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.methods import METHODS
from harness.methods.settings import OptionError
from harness.records import Model
from harness.records.text import clip

RESERVED = ("seeds", "draws", "skip", "engine")
"""Settings of model.toml that are not options of the method."""


def own_options(method: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options among a method's settings, each as its type.

    Raises OptionError as :meth:`~harness.methods.settings.Options.checked`, saying ``where`` the
    option was set.
    """
    options = METHODS[method].options
    try:
        return {n: options.checked(n, value) for n, value in given.items() if n not in RESERVED}
    except OptionError as error:
        raise OptionError(f"{where}: {method}: {error}") from error


def check_own(model: Model) -> None:
    """Check what a model folder sets, also for methods that are not run.

    Raises OptionError for a method that there is not, or as :func:`own_options`.
    """
    where = f"model.toml of {model.name}"
    for method in [*model.settings, *model.methods]:
        if method not in METHODS:
            raise OptionError(f"{where}: no method {_unknown(method)}")
    for method, given in model.settings.items():
        own_options(method, given, where)


def _unknown(method: str) -> str:
    near = difflib.get_close_matches(method, METHODS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{clip(repr(method), 60)}{hint} (known: {', '.join(METHODS)})"


def planned(method: str, model: Model, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a method on a model: its defaults, the model's own, those given.

    Raises OptionError as :func:`own_options`.
    """
    row = METHODS[method]
    own = own_options(method, model.settings.get(method, {}), f"model.toml of {model.name}")
    options = {**row.defaults, **own, **given}
    if row.batch and model.batch is not None:
        options["batch"] = dict(model.batch)
    return options


def from_words(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``method.option=value`` words.

    Raises
    ------
    OptionError
        For a word of another form, an unknown method, or as :func:`own_options`.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        left, equals, value = word.partition("=")
        method, dot, option = left.strip().partition(".")
        if not equals or not dot:
            raise OptionError(
                f"{clip(repr(word), 100)} is not of the form METHOD.OPTION=VALUE, such as "
                "advi.iterations=20000"
            )
        found.setdefault(method, {})[option] = value.strip()
    return checked(found, "--set")


def checked(
    given: Mapping[str, Mapping[str, Any]] | None, where: str = "options"
) -> dict[str, dict[str, Any]]:
    """Check options by method, given from Python unless ``where`` says otherwise.

    Raises
    ------
    OptionError
        For an unknown method, for a setting that is no option, or as :func:`own_options`.
    """
    found = {}
    for method, own in (given or {}).items():
        if method not in METHODS:
            raise OptionError(f"{where}: no method {_unknown(method)}")
        for name in RESERVED:
            if name in own:
                hint = "; use --seeds" if name == "seeds" else ""
                raise OptionError(f"{where}: {method}: no option {name!r}{hint}")
        found[method] = own_options(method, own, where)
    return found


def refuse_unused(options: Mapping[str, Any], methods: Iterable[str]) -> None:
    """Raise OptionError for options of methods that are not run: they would change nothing."""
    run = set(methods)
    unused = [m for m in options if m not in run]
    if unused:
        raise OptionError(f"options of {', '.join(unused)}, which is not among the methods to run")
