"""Data of the programs in benchmarks/fits/: kinds that people fit, of 10 to 500 parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "fits"

Data = dict[str, Any]

ZERO = 0.35  # of the counts of zero_inflated


def _grouped(rng: np.random.Generator, groups: int, rows: int) -> tuple[Any, Any]:
    group = np.repeat(np.arange(groups), rows)
    return group, rng.normal(size=groups)[group]


def poisson_mixed(rng: np.random.Generator, patients: int = 40, rows: int = 6) -> Data:
    """236 counts of 40 patients, as in brms' example."""
    group, effect = _grouped(rng, patients, rows)
    X = rng.normal(size=(len(group), 3))
    y = rng.poisson(np.exp(1.4 + 0.5 * effect + X @ [0.3, -0.2, 0.1]))
    return {"N": len(y), "y": y, "K": 3, "X": X, "J": patients, "group": group + 1}


def logit_mixed(rng: np.random.Generator, rows: int = 8) -> Data:
    """2400 answers of 300 groups."""
    group, effect = _grouped(rng, 300, rows)
    X = rng.normal(size=(len(group), 4))
    y = rng.random(len(group)) < 1 / (1 + np.exp(-(effect + X @ [0.8, -0.5, 0.3, 0.0])))
    return {"N": len(y), "y": y.astype(int), "K": 4, "X": X, "J": 300, "group": group + 1}


def slopes(rng: np.random.Generator, groups: int = 30, rows: int = 8) -> Data:
    """30 groups whose intercepts and slopes correlate."""
    group = np.repeat(np.arange(groups), rows)
    effect = rng.normal(size=(groups, 2)) @ np.array([[0.8, 0.3], [0.0, 0.4]])
    x = rng.normal(size=len(group))
    y = 1 + effect[group, 0] + (0.5 + effect[group, 1]) * x + 0.7 * rng.normal(size=len(x))
    return {"N": len(y), "y": y, "x": x, "J": groups, "group": group + 1}


def radon(rng: np.random.Generator) -> Data:
    """60 counties with 2 to 15 houses each."""
    group = np.repeat(np.arange(60), rng.integers(2, 16, size=60))
    x = rng.integers(0, 2, size=len(group))
    level = 1.5 + 0.35 * rng.normal(size=60)
    y = level[group] - 0.7 * x + 0.75 * rng.normal(size=len(x))
    return {"N": len(y), "y": y, "x": x, "J": 60, "group": group + 1}


def schools(_: np.random.Generator) -> Data:
    """Eight schools."""
    return {
        "J": 8,
        "y": np.array([28, 8, -3, 7, -1, 1, 18, 12]),
        "s": np.array([15, 10, 16, 11, 9, 11, 10, 18]),
    }


def level(rng: np.random.Generator) -> Data:
    """100 values around a random walk."""
    y = np.cumsum(0.5 * rng.normal(size=100)) + rng.normal(size=100)
    return {"T": 100, "y": y}


def volatility(rng: np.random.Generator) -> Data:
    """150 returns."""
    h = np.zeros(150)
    for t in range(1, 150):
        h[t] = 0.95 * h[t - 1] + 0.3 * rng.normal()
    return {"T": 150, "y": np.exp((h - 1) / 2) * rng.normal(size=150)}


def gp_counts(rng: np.random.Generator) -> Data:
    """Return counts along 24 places."""
    x = np.linspace(-2, 2, 24)
    return {"N": 24, "x": x, "k": rng.poisson(np.exp(1 + np.sin(2 * x)))}


def gp_binary(rng: np.random.Generator) -> Data:
    """Answers along 50 places."""
    x = np.linspace(-2, 2, 50)
    return {"N": 50, "x": x, "k": (rng.random(50) < 1 / (1 + np.exp(-2 * np.sin(2 * x)))) * 1}


def _answers(rng: np.random.Generator, items: int, persons: int, slope: Any) -> Data:
    item = np.tile(np.arange(items), persons)
    person = np.repeat(np.arange(persons), items)
    theta, hard = rng.normal(size=persons), rng.normal(size=items)
    y = rng.random(len(item)) < 1 / (1 + np.exp(-slope[item] * (theta[person] - hard[item])))
    return {"I": items, "J": persons, "y": y * 1, "item": item + 1, "person": person + 1}


def rasch(rng: np.random.Generator, items: int = 20, persons: int = 100) -> Data:
    """20 items, 100 persons."""
    return _answers(rng, items, persons, np.ones(items))


def two_pl(rng: np.random.Generator, items: int = 15, persons: int = 80) -> Data:
    """15 items with slopes, 80 persons."""
    return _answers(rng, items, persons, np.exp(0.4 * rng.normal(size=items)))


def mixture4(rng: np.random.Generator) -> Data:
    """300 values of four ordered components."""
    which = rng.choice(4, size=300, p=[0.2, 0.3, 0.3, 0.2])
    y = np.array([-6.0, -2, 2, 6])[which] + np.array([0.7, 1, 0.6, 1])[which] * rng.normal(size=300)
    return {"N": 300, "K": 4, "y": y}


def mixture3d(rng: np.random.Generator) -> Data:
    """200 points of three components without order: each optimum has five twins."""
    which = rng.choice(3, size=200, p=[0.3, 0.3, 0.4])
    place = np.array([[-2.0, 0, 1], [2, 1, -1], [0, -2, 0]])
    return {"N": 200, "K": 3, "D": 3, "y": place[which] + 0.8 * rng.normal(size=(200, 3))}


def zero_inflated(rng: np.random.Generator, rows: int = 400) -> Data:
    """400 counts, a third of them zero for another reason."""
    X = rng.normal(size=(rows, 5))
    y = rng.poisson(np.exp(0.8 + X @ [0.4, -0.3, 0.2, 0.0, 0.1]))
    return {"N": rows, "K": 5, "X": X, "y": y * (rng.random(rows) > ZERO)}


def horseshoe(rng: np.random.Generator) -> Data:
    """Four of 30 coefficients matter."""
    X = rng.normal(size=(100, 30))
    y = X[:, :4] @ [2.0, -1.5, 1.0, 0.7] + rng.normal(size=100)
    return {"N": 100, "K": 30, "X": X, "y": y}


def logistic(rng: np.random.Generator, rows: int = 400, columns: int = 24) -> Data:
    """24 coefficients, correlated columns."""
    X = rng.normal(size=(rows, columns)) + 0.7 * rng.normal(size=(rows, 1))
    y = rng.random(rows) < 1 / (1 + np.exp(-X @ rng.normal(size=columns) * 0.3))
    return {"N": rows, "K": columns, "X": X, "y": y * 1}


def overdispersed(rng: np.random.Generator) -> Data:
    """480 counts with an effect each."""
    X = rng.normal(size=(480, 5))
    y = rng.poisson(np.exp(1 + X @ [0.3, 0.2, 0, -0.2, 0.1] + 0.6 * rng.normal(size=480)))
    return {"N": 480, "K": 5, "X": X, "y": y}


def dynamic(rng: np.random.Generator) -> Data:
    """200 counts with a season and a level that moves."""
    eta = 2 + np.cumsum(0.1 * rng.normal(size=200)) + 0.3 * rng.normal(size=12)[np.arange(200) % 12]
    return {"T": 200, "S": 12, "y": rng.poisson(np.exp(eta))}


PROGRAMS: dict[str, Callable[[np.random.Generator], Data]] = {
    make.__name__: make
    for make in (
        schools, mixture4, zero_inflated, mixture3d, logistic, gp_counts, poisson_mixed, gp_binary,
        radon, horseshoe, slopes, level, two_pl, rasch, volatility, dynamic, logit_mixed,
        overdispersed,
    )
}  # fmt: skip
"""By name, the fewest parameters first."""


LARGER: dict[str, Callable[[np.random.Generator], Data]] = {
    "logistic": partial(logistic, rows=3000, columns=50),
    "zero_inflated": partial(zero_inflated, rows=4000),
    "two_pl": partial(two_pl, items=20, persons=250),
    "logit_mixed": partial(logit_mixed, rows=30),
    "rasch": partial(rasch, items=40, persons=300),
    "poisson_mixed": partial(poisson_mixed, patients=400, rows=10),
    "slopes": partial(slopes, groups=300, rows=20),
}
"""The same programs with more data, so that NUTS needs over 10 s."""


def data_of(name: str, programs: Mapping[str, Callable[..., Data]] = PROGRAMS) -> Data:
    """Return a program's data."""
    return programs[name](np.random.default_rng(20))
