"""Every constraint type, and arrays of each, on both engines: transforms, Jacobians, gradients."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from harness.stan import CmdStan, cache_dir
from harness.stan.bridge import BridgeModel, library
from harness.stan.density import Density, Status
from harness.stan.embedded import EmbeddedModel

TYPES = {
    "free": "real",
    "low": "real<lower=-1>",
    "high": "real<upper=2>",
    "between": "real<lower=-1, upper=2>",
    "shifted": "real<offset=3, multiplier=2>",
    "vlow": "vector<lower=1>[2]",
    "vbetween": "vector<lower=-2, upper=1>[2]",
    "vshifted": "vector<offset=3, multiplier=2>[2]",
    "rhigh": "row_vector<upper=1>[2]",
    "mfree": "matrix[2, 3]",
    "mlow": "matrix<lower=0>[2, 2]",
    "mbetween": "matrix<lower=0, upper=1>[2, 2]",
    "s": "simplex[3]",
    "o": "ordered[3]",
    "p": "positive_ordered[3]",
    "u": "unit_vector[3]",
    "lcorr": "cholesky_factor_corr[3]",
    "lcov": "cholesky_factor_cov[2]",
    "ltall": "cholesky_factor_cov[3, 2]",
    "corr": "corr_matrix[3]",
    "cov": "cov_matrix[2]",
}
"""A parameter of every type; the program has an array of each as well."""

GRIDS = ("low", "vshifted", "s", "lcorr", "cov")
"""Those that it has a 2-D array of: one each of numbers, vectors and matrices would do, but for
the minutes that every array more takes to compile, all would be here."""

# Coordinates of a matrix that say all of it, by (row, column).
LOWER = {"lcov", "ltall", "cov"}
STRICTLY_LOWER = {"lcorr", "corr"}


BOUNDS = {
    "low": (-1, np.inf),
    "high": (-np.inf, 2),
    "between": (-1, 2),
    "vlow": (1, np.inf),
    "vbetween": (-2, 1),
    "rhigh": (-np.inf, 1),
    "mlow": (0, np.inf),
    "mbetween": (0, 1),
}


def names_of(suffix: str) -> Iterable[str]:
    """Return the types that are there as they are, as an array (_1), as a 2-D array (_2)."""
    return GRIDS if suffix == "_2" else TYPES


def terms() -> Iterator[tuple[float, str, tuple[int, ...]]]:
    """Yield weight, variable and array's index of each term of the density."""
    for number, name in enumerate(TYPES):
        cells = [(name, ()), (f"{name}_1", (0,)), (f"{name}_1", (1,))]
        if name in GRIDS:
            cells += [(f"{name}_2", (i, j)) for i in (0, 1) for j in (0, 1)]
        for k, (variable, index) in enumerate(cells):
            yield round(0.1 * (number + k + 1), 1), variable, index


def program() -> str:
    """Return a program that declares every type and arrays of it."""
    declared = [
        f"  {prefix}{TYPES[name]} {name}{suffix};"
        for prefix, suffix in (("", ""), ("array[2] ", "_1"), ("array[2, 2] ", "_2"))
        for name in names_of(suffix)
    ]
    # Stan's own densities would hide the transforms: fixed simple functions show them.
    used = []
    for weight, variable, index in terms():
        cell = variable + "".join(f"[{i + 1}]" for i in index)
        real = TYPES[variable.partition("_")[0]].startswith("real")
        used.append(f"{weight} * {cell}" if real else f"{weight} * sum({cell})")
    density = "    + ".join(f"{term}\n" for term in used)
    body = f"  target += -0.01 * square(\n    {density}  );"
    return "parameters {\n" + "\n".join(declared) + "\n}\nmodel {\n" + body + "\n}\n"


@pytest.fixture(scope="module", params=["embedded", pytest.param("bridge", marks=pytest.mark.stan)])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Density]:
    """Open the program of all constraints; the bridge does not optimise: that would take minutes.

    In a cache of its own, for a flag of the environment must not get into the real one.
    """
    file = tmp_path_factory.mktemp("programs") / "constraints.stan"
    file.write_text(program(), encoding="utf-8")
    if request.param == "embedded":
        yield EmbeddedModel(file)
        return
    cmdstan: CmdStan = request.getfixturevalue("cmdstan")
    folder = cache_dir() / "unoptimised"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_CACHE", str(folder))
        patch.setenv("CMDSTAN", str(cmdstan.path))
        patch.setenv("O", "0")
        yield BridgeModel(library(file, cmdstan), {})


def split(name: str) -> tuple[str, tuple[int, ...]]:
    """Return a variable and the index, from 0, of one of its cells: ``L.2.1``."""
    base, *index = name.split(".")
    return base, tuple(int(i) - 1 for i in index)


def variables(names: tuple[str, ...]) -> Iterator[tuple[str, list[int], list[tuple[int, ...]]]]:
    """Yield each variable with the positions and the indices of its cells."""
    cells = [split(n) for n in names]
    for base in dict.fromkeys(b for b, _ in cells):
        at = [i for i, (b, _) in enumerate(cells) if b == base]
        yield base, at, [cells[i][1] for i in at]


def arrays(names: tuple[str, ...], values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return flat values as arrays by name."""
    theta: dict[str, Any] = {}
    for base, at, index in variables(names):
        array = np.zeros(tuple(1 + max(axis) for axis in zip(*index, strict=True)))
        for position, cell in zip(at, index, strict=True):
            array[cell] = values[position]
        theta[base] = array
    return theta


def test_every_type_goes_there_and_back(model: Density) -> None:
    """Unconstrained, constrained, unconstrained again: the same point, for every type."""
    z = np.random.default_rng(3).normal(size=model.dimension) * 0.7
    names = model.constrained_names()
    out, status = model.constrain(z[None])
    assert status.tolist() == [Status.OK]
    theta = arrays(names, out[0])
    assert set(theta) == {f"{n}{s}" for s in ("", "_1", "_2") for n in names_of(s)}
    again = model.unconstrain(theta)
    there, _ = model.constrain(again[None])
    np.testing.assert_allclose(there[0], out[0], rtol=1e-9, atol=1e-9)
    # A unit vector's length on the unconstrained scale is free; everything else comes back.
    free = [not n.startswith(("u.", "u_")) for n in model.unconstrained_names()]
    np.testing.assert_allclose(again[free], z[free], rtol=1e-8, atol=1e-8)
    # Fortran order, strides and single precision's wider kin are all read as they are.
    turned = {n: np.asfortranarray(np.repeat(a, 2, axis=-1))[..., ::2] if a.ndim else a
              for n, a in theta.items()}  # fmt: skip
    np.testing.assert_array_equal(model.unconstrain(turned), again)


def test_every_type_holds_its_constraint(model: Density) -> None:
    """Bounds, sums, orders, lengths, triangles and definiteness, at a point drawn at random."""
    z = np.random.default_rng(4).normal(size=(1, model.dimension))
    theta = arrays(model.constrained_names(), model.constrain(z)[0][0])
    for full, t in theta.items():
        name = full.partition("_")[0]
        if name in BOUNDS:
            low, high = BOUNDS[name]
            assert ((t > low) & (t < high)).all()
        elif name == "s":
            assert (t > 0).all()
            np.testing.assert_allclose(t.sum(axis=-1), 1, rtol=1e-12)
        elif name in {"o", "p"}:
            assert (np.diff(t) > 0).all()
            assert name == "o" or (t > 0).all()
        elif name in {"u", "lcorr"}:
            np.testing.assert_allclose(np.linalg.norm(t, axis=-1), 1, rtol=1e-12)
        elif name == "corr":
            np.testing.assert_allclose(np.diagonal(t, axis1=-2, axis2=-1), 1, rtol=1e-12)
        if name in {"lcorr", "lcov", "ltall"}:
            np.testing.assert_array_equal(np.triu(t, 1), 0)
        if name in {"corr", "cov"}:
            assert (np.linalg.eigvalsh(t) > 0).all()


def test_affine_and_positive_transforms_have_their_formulas(model: Density) -> None:
    """exp, logistic and affine, cell by cell, in the same order in scalars and arrays."""
    z = np.random.default_rng(5).normal(size=model.dimension)
    names = model.constrained_names()
    theta = arrays(names, model.constrain(z[None])[0][0])
    inner = {base: at for base, at, _ in variables(model.unconstrained_names())}
    formulas: dict[str, Callable[[Any], Any]] = {
        "free": lambda x: x,
        "mfree": lambda x: x,
        "low": lambda x: np.exp(x) - 1,
        "vlow": lambda x: np.exp(x) + 1,
        "mlow": np.exp,
        "high": lambda x: 2 - np.exp(x),
        "rhigh": lambda x: 1 - np.exp(x),
        "between": lambda x: -1 + 3 / (1 + np.exp(-x)),
        "vbetween": lambda x: -2 + 3 / (1 + np.exp(-x)),
        "mbetween": lambda x: 1 / (1 + np.exp(-x)),
        "shifted": lambda x: 3 + 2 * x,
        "vshifted": lambda x: 3 + 2 * x,
    }
    for full, t in theta.items():
        name = full.partition("_")[0]
        if name in formulas:
            # On the unconstrained scale array elements come one after another, the cells of each
            # with the first index fastest; stanc's names of them are in another order.
            kind = TYPES[name]
            cells = 2 if kind.startswith("matrix") else int("vector" in kind)
            lead = t.ndim - cells
            flat = z[inner[full]].reshape(t.shape[:lead] + t.shape[lead:][::-1])
            turned = flat.transpose(*range(lead), *range(t.ndim - 1, lead - 1, -1))
            np.testing.assert_allclose(t, formulas[name](turned), rtol=1e-12, atol=1e-14)


def test_the_jacobian_is_the_transforms_log_determinant(model: Density) -> None:
    """The density has the sum of log |det dθ/dz|, taken by central differences, once.

    Of a simplex all but the last element, of a matrix its lower triangle; a unit vector has
    −|z|²/2 in its place. The differences are good to about 1e-9 a variable.
    """
    z = np.random.default_rng(6).normal(size=model.dimension) * 0.7
    step = 1e-5 * np.eye(model.dimension)
    slopes = ((model.constrain(z + step)[0] - model.constrain(z - step)[0]) / 2e-5).T
    inner = {base: at for base, at, _ in variables(model.unconstrained_names())}
    expected = 0.0
    for base, at, index in variables(model.constrained_names()):
        kind = base.partition("_")[0]
        if kind == "u":
            expected -= 0.5 * float(z[inner[base]] @ z[inner[base]])
            continue
        chosen = [
            position
            for position, cell in zip(at, index, strict=True)
            if not (kind in LOWER and cell[-1] > cell[-2])
            and not (kind in STRICTLY_LOWER and cell[-1] >= cell[-2])
            and not (kind == "s" and cell[-1] == 2)
        ]
        expected += float(np.linalg.slogdet(slopes[np.ix_(chosen, inner[base])])[1])
    theta = arrays(model.constrained_names(), model.constrain(z[None])[0][0])
    total = sum(weight * theta[variable][index].sum() for weight, variable, index in terms())
    found = model.log_density(z[None]).value[0]
    np.testing.assert_allclose(found + 0.01 * total**2, expected, rtol=1e-7)
    if isinstance(model, BridgeModel):
        for propto in (True, False):
            without = model.log_density(z[None], propto=propto, jacobian=False).value[0]
            np.testing.assert_allclose(found - without, expected, rtol=1e-7)


def test_gradients_agree_with_finite_differences(model: Density) -> None:
    """Through every transform; on the bridge for all combinations of propto and jacobian."""
    z = np.random.default_rng(7).normal(size=model.dimension) * 0.7
    step = 1e-5 * np.eye(model.dimension)
    flags: list[dict[str, bool]] = [{}]
    if isinstance(model, BridgeModel):
        both = itertools.product((True, False), repeat=2)
        flags = [{"propto": propto, "jacobian": jacobian} for propto, jacobian in both]
    for flag in flags:
        _, gradient = model.value_and_gradient(z, **flag)
        up = model.log_density(z + step, **flag).value
        down = model.log_density(z - step, **flag).value
        # Rounding: 1e-16 × |log density| of some hundreds / 1e-5, about 1e-8 at most.
        np.testing.assert_allclose((up - down) / 2e-5, gradient, rtol=1e-6, atol=1e-6)
