"""What Python callers hand over, checked before anything is read or run.

Words and ranges are those of the command line. A value out of range raises OptionError, which is a
ValueError, and one of another kind TypeError.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.methods.settings import Allowed, OptionError
from harness.records.text import clip
from harness.records.untrusted import MOST_GB, MOST_JOBS, MOST_SECONDS, MOST_SEED, MOST_SEEDS

_NUMBERS: Mapping[str, tuple[Allowed, Any]] = {
    "seeds": (Allowed(int, 1, MOST_SEEDS), 5),
    "jobs": (Allowed(int, 1, MOST_JOBS), 2),
    "timeout_s": (Allowed(float, 0, MOST_SECONDS, open_low=True), 600.0),
    "compile_timeout_s": (Allowed(float, 0, MOST_SECONDS, open_low=True), 1800.0),
    "memory_gb": (Allowed(float, 0, MOST_GB, open_low=True), 4.0),
    "seed": (Allowed(int, 1, MOST_SEED), 1),
    "engine": (Allowed(str, choices=("auto", "embedded", "cmdstan")), "auto"),
}
"""Arguments with a range or a list of words, and an example of each."""

_MAY_BE_NONE = frozenset({"seeds", "jobs", "why", "memory_gb"})


def checked(**given: Any) -> None:
    """Check numbers, words and switches of a call by their names.

    Raises
    ------
    harness.OptionError
        If a number is out of range, or a word none of those allowed.
    TypeError
        If a number is text, or a switch is not True or False.
    """
    for name, value in given.items():
        if value is None and name in _MAY_BE_NONE:
            continue
        if name == "dask":
            if not isinstance(value, str):
                raise _other(name, value, "the address of a Dask scheduler, or its file")
            continue
        if name not in _NUMBERS:
            if not isinstance(value, bool | np.bool_):
                raise _other(name, value, "True or False")
            continue
        allowed, example = _NUMBERS[name]
        words = allowed.words(example)
        text = allowed.kind is str
        if isinstance(value, str) is not text or isinstance(value, bool | None):
            raise _other(name, value, words)
        try:
            allowed.read(value)
        except TypeError as error:
            raise _other(name, value, words) from error
        except (ValueError, OverflowError) as error:
            said = clip(repr(value), 60)
            raise OptionError(f"{name} is {said}; allowed: {words}") from error


def names(what: str, given: Any) -> tuple[str, ...]:
    """Return names: one, or several in a sequence.

    Raises
    ------
    TypeError
        If they are something else.
    """
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise _other(what, given, "a list of names")
    found = tuple(given)
    for name in found:
        if not isinstance(name, str):
            raise _other(f"a name in {what}", name, "text")
    return found


def by_method(given: Any) -> None:
    """Check that options are a mapping of mappings by text.

    Raises
    ------
    TypeError
        If they are something else.
    """
    form = 'a mapping by method, such as {"advi": {"iterations": 20_000}}'
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise _other("options", given, form)
    for method, own in given.items():
        if not isinstance(own, Mapping) or not all(isinstance(k, str) for k in (method, *own)):
            raise _other(f"options of {method!r:.60}", own, form)


def program_and_data(program: Any, data: Any) -> None:
    """Check the kinds of a program and of its data.

    Raises
    ------
    TypeError
        If a program is no path or name, or data are no mapping, path or None.
    """
    if not isinstance(program, str | Path):
        raise _other("program", program, "a path or a name of a model")
    if data is not None and not isinstance(data, Mapping | str | Path):
        raise _other("data", data, "a mapping of numbers, lists and arrays, a path, or None")


def _other(name: str, value: Any, words: str) -> TypeError:
    return TypeError(f"{name} is {type(value).__name__}; allowed: {words}")
