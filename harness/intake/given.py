"""Whatever a Python caller hands over, as fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.intake.arrays import array_of, of_arrays, of_table
from harness.intake.files import read_draws_files
from harness.intake.fits import FITS, of_fit
from harness.intake.taken import Taken
from harness.intake.trees import of_tree
from harness.records import Draws
from harness.records.names import repeated, stan_names
from harness.records.text import count, listed

TAKEN = (
    "an ArviZ DataTree or InferenceData, a CmdStanMCMC, CmdStanVB, CmdStanPathfinder, "
    "CmdStanLaplace or CmdStanMLE of cmdstanpy, a pandas DataFrame, a dict of arrays (chain, draw, "
    "…), a tuple (draws, log_p, log_q), a path to files of draws, or a list of these: one for each "
    "seed"
)

_NAMED = 8

_TRIPLE = 3


def take(given: Any, *, independent: bool = False, role: str = "draws") -> tuple[Taken, ...]:
    """Take one fit, or a list of fits of one method.

    Parameters
    ----------
    given
        One of :data:`TAKEN`. Plain arrays are constrained and shaped ``(chain, draw, …)``; one
        axis is the draws of one chain. The variable ``log_weights`` holds the log weights of
        weighted draws. ``log_p`` and ``log_q`` of a tuple have shape ``(draw,)`` or
        ``(chain, draw)``, nats, both on the same scale.
    independent
        Whether draws whose origin is not known are independent rather than Markov chains.
    role
        What they are wanted for, for messages about files.

    Returns
    -------
    tuple of Taken
        A fit each, with names as Stan writes them.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If it has no draws, odd shapes, truncated output, or two quantities of one name.
    DrawsError
        If files cannot be read.
    """
    __tracebackhide__ = True
    if isinstance(given, list):
        if not given:
            raise ValueError("an empty list has no draws; give one fit for each seed")
        return tuple(t for g in given for t in take(g, independent=independent, role=role))
    if isinstance(given, (str, Path)):
        return read_draws_files(str(given), iid=independent, role=role)
    if isinstance(given, tuple) and len(given) != _TRIPLE:
        return take(list(given), independent=independent, role=role)
    taken = _one(given, independent=independent)
    names = stan_names(taken.draws.names)
    if twice := repeated(names):
        raise ValueError(f"more than one quantity is called {listed(twice, _NAMED)}")
    return (replace(taken, draws=replace(taken.draws, names=names)),)


def is_fit(given: Any) -> bool:
    """Tell whether something is a fit by itself, and not the array of one variable."""
    if isinstance(given, list):
        return bool(given) and all(is_fit(g) for g in given)
    if isinstance(given, (str, Path, Mapping)):
        return True
    if isinstance(given, tuple):
        return len(given) == _TRIPLE and is_fit(given[0])
    return bool(_classes(given) & {*FITS, "DataTree", "InferenceData", "DataFrame"})


def _classes(given: Any) -> set[str]:
    return {c.__name__ for c in type(given).__mro__}


def _one(given: Any, *, independent: bool) -> Taken:
    __tracebackhide__ = True
    classes = _classes(given)
    if isinstance(given, tuple):
        return _with_densities(*given)
    for name in FITS:
        if name in classes:
            taken = of_fit(given, name)
            if independent and not taken.draws.iid:
                taken = replace(taken, draws=replace(taken.draws, iid=True))
            return taken
    if classes & {"DataTree", "InferenceData"}:
        source = "DataTree" if "DataTree" in classes else "InferenceData"
        return of_tree(given, source, iid=independent)
    if "DataFrame" in classes:
        return of_table(given, "DataFrame", iid=independent)
    if isinstance(given, Mapping):
        return of_arrays(given, "dict", iid=independent)
    raise TypeError(
        f"cannot take a {type(given).__module__}.{type(given).__name__}; taken: {TAKEN}"
    )


def _with_densities(given: Any, log_p: Any, log_q: Any) -> Taken:
    """Take draws that an approximation made, with both their log densities."""
    __tracebackhide__ = True
    # Draws of a q whose density is known are independent.
    (taken, *more) = take(given, independent=True)
    if more:
        raise ValueError("a tuple (draws, log_p, log_q) holds the draws of one fit")
    draws = taken.draws
    if draws.copies is not None:
        raise ValueError("weighted draws have no log_q of their own; leave log_weights out")
    both = {name: array_of(name, a) for name, a in {"log_p": log_p, "log_q": log_q}.items()}
    shape = draws.values.shape[:2]
    for name, array in both.items():
        if array.ndim != 2 or array.shape != shape:  # noqa: PLR2004 - chain and draw
            raise ValueError(f"{name} has shape {array.shape}, and the draws {shape}")
        if np.isnan(array).any() or np.isposinf(array).any():
            bad = int(np.count_nonzero(np.isnan(array) | np.isposinf(array)))
            raise ValueError(f"{name} is NaN or ∞ at {count(bad, 'draw')}; a density is neither")
    found = Draws(draws.names, draws.values, np.array(both["log_p"]), np.array(both["log_q"]))
    return replace(taken, draws=found, kind="approximation")
