"""Options of methods as users set them: known by name, of the default's type, or an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.methods import METHODS

RESERVED = ("seeds", "draws", "skip")
"""Settings of model.toml that are not options of the method."""


class ChoiceError(ValueError):
    """An option that a method does not have, or cannot take."""


def own_options(method: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the options among a method's settings, each of the type of its default.

    Raises
    ------
    ChoiceError
        For an option that the method does not have, or a value that it cannot take; ``where``
        says where it was set.
    """
    defaults = METHODS[method].defaults
    found = {}
    for name, value in given.items():
        if name in RESERVED:
            continue
        if name not in defaults:
            near = difflib.get_close_matches(name, defaults, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            msg = f"{where}: {method} has no option {name!r}{hint} (it has: {', '.join(defaults)})"
            raise ChoiceError(msg)
        found[name] = _as(defaults[name], value, f"{where}: {method}.{name}")
    return found


def _as(default: Any, value: Any, what: str) -> Any:
    """Return a value, perhaps text from a command line, as the default's type."""
    kind = type(default)
    wrong = ChoiceError(f"{what} is {value!r}; allowed: {_allowed(default)}")
    if kind is bool:
        words = {"true": True, "false": False}
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise wrong
        return words[str(value).lower()]
    if isinstance(value, bool):
        raise wrong
    try:
        if kind is int:
            number = float(value)
            if not number.is_integer():
                raise wrong
            return int(number)
        return kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise wrong from error


def _allowed(default: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word"}
    return f"{names.get(type(default), type(default).__name__)}, such as {default}"


def from_words(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ``method.option=value`` words.

    Raises
    ------
    ChoiceError
        For a word of another form, an unknown method, or as :func:`own_options`.
    """
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        left, equals, value = word.partition("=")
        method, dot, option = left.strip().partition(".")
        if not equals or not dot:
            msg = f"{word!r} is not of the form METHOD.OPTION=VALUE, such as advi.iterations=20000"
            raise ChoiceError(msg)
        if method not in METHODS:
            near = difflib.get_close_matches(method, METHODS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            msg = f"{word!r}: no method {method!r}{hint} (known: {', '.join(METHODS)})"
            raise ChoiceError(msg)
        if option in RESERVED:
            hint = "; use --seeds" if option == "seeds" else ""
            msg = f"--set: {method} has no option {option!r}{hint}"
            raise ChoiceError(msg)
        found.setdefault(method, {}).update(own_options(method, {option: value.strip()}, "--set"))
    return found


def checked(given: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Check options given from Python.

    Raises
    ------
    ChoiceError
        As :func:`from_words`.
    """
    for method in given or {}:
        if method not in METHODS:
            msg = f"options for {method!r}, which is no method (known: {', '.join(METHODS)})"
            raise ChoiceError(msg)
    for method, its in (given or {}).items():
        for name in RESERVED:
            if name in its:
                msg = f"options: {method} has no option {name!r}"
                raise ChoiceError(msg)
    return {m: own_options(m, its, "options") for m, its in (given or {}).items()}


def refuse_unused(options: Mapping[str, Any], methods: Iterable[str]) -> None:
    """Refuse options of methods that are not run: they would change nothing.

    Raises
    ------
    ChoiceError
        Naming them.
    """
    run = set(methods)
    unused = [m for m in options if m not in run]
    if unused:
        msg = f"options of {', '.join(unused)}, which is not among the methods to run"
        raise ChoiceError(msg)
