"""Very many quantities: read in blocks, in single precision where that is enough."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from harness import metrics
from harness.metrics import block, joint, measure, pairs, samples, samples_of, threads
from harness.records import Cost, Draws, Model, Reference, RunResult, RunSpec

COUNT = 400
NAMES = ("mu", *(f"x[{i}]" for i in range(1, COUNT)))


def _draws(seed: int, draws: int, *, iid: bool, wide: float = 1.0) -> Draws:
    """Return normals with a common part, of which some are skewed and one is given twice."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, draws, COUNT)) + 0.7 * rng.normal(size=(2, draws, 1))
    x[:, :, 5] = np.exp(x[:, :, 5])
    x[:, :, 7] *= wide
    x[:, :, 9] = -3 * x[:, :, 8] + 1
    return Draws(NAMES, x, iid=iid)


def _run(draws: Draws) -> RunResult:
    spec = RunSpec("m", "meanfield", {}, 1, draws.values.shape[1])
    return RunResult(spec, "k", "ok", "", draws, None, {}, Cost(1.0), {})


def _measured() -> tuple[list[tuple[object, ...]], list[float]]:
    reference = _draws(1, 500, iid=False)
    selection = measure.select(Model("m", "m", Path("m.stan"), None), reference)
    yardstick = measure.Yardstick("m", Reference("nuts", True, "", reference), selection)
    found = [
        *yardstick.own_summaries(),
        *yardstick.run(_run(_draws(2, 600, iid=True, wide=2))).measures,
    ]
    figures = [v for m in found for v in (m.value, m.mcse)]
    assert not any(math.isnan(v) for v in figures)
    return [(m.method, m.quantity, m.metric) for m in found], figures


def test_blocks_and_released_arrays_change_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the size of blocks, and whether arrays are kept, figures are the same."""
    rows, whole = _measured()
    monkeypatch.setattr(samples, "LARGE_BYTES", 0)
    monkeypatch.setattr(threads, "BLOCK", 7)
    monkeypatch.setattr(threads, "LEAST", 1)
    monkeypatch.setattr(block, "PART", 33)
    same, parts = _measured()
    assert same == rows
    # Sums of single-precision products over columns depend on their order.
    assert parts == pytest.approx(whole, rel=1e-4, abs=1e-6)


def test_single_precision_is_enough_for_joint_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Joint figures in single precision are those in double precision to four digits."""
    q, ref = _draws(2, 600, iid=True, wide=2), _draws(1, 500, iid=False)
    own, theirs = (np.delete(d.values, 9, axis=2) for d in (q, ref))
    prepared = joint.JointReference(theirs, iid=True, seed=3)
    single = joint.Joint(own, prepared, iid=True)
    assert single.blocks is not None
    assert single.blocks[0].z.dtype == np.float32
    found = joint.rank_correlations(single.blocks[0], prepared)
    monkeypatch.setattr(joint, "LARGE", 1000)
    double = joint.Joint(own, joint.JointReference(theirs, iid=True, seed=3), iid=True)
    assert double.blocks is not None
    assert double.blocks[0].z.dtype == np.float64
    for one, two in zip(single.blocks, double.blocks, strict=True):
        np.testing.assert_allclose(one.z, two.z, rtol=1e-5, atol=1e-6)
    (whole,) = joint.rank_correlations(double.blocks[0], double.reference)
    assert np.max(np.abs((found[0] + found[1]) / 2 - whole)) < 0.01


def test_a_copy_is_found_among_many() -> None:
    """The quantity that is a linear function of another one is named with it, and no other."""
    assert pairs.copies(_draws(1, 500, iid=True).values) == {9: 8}
    some = np.arange(5, COUNT)
    assert pairs.copies(_draws(1, 500, iid=True).values, some) == {4: 3}


def test_partners_are_neighbours_or_scalars_where_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The strongest partner of all, or with very many the same if it is a scalar or near."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1, 500, 40))
    x[:, :, 20] += 3 * x[:, :, 0]
    x[:, :, 30] -= 3 * x[:, :, 31]
    which = np.arange(40)
    whole = pairs.partners(x, which, [0])
    monkeypatch.setattr(pairs, "PAIRED", 10)
    monkeypatch.setattr(block, "PART", 8)
    near = pairs.partners(x, which, [0])
    no_scalars = pairs.partners(x, which, [])
    assert [whole[i][0] for i in (0, 20, 30, 31)] == [20, 0, 31, 30]
    # Of the neighbours 24 to 31 and the scalar 0; the scalar itself sees only its neighbours.
    assert [near[i][0] for i in (20, 30, 31)] == [0, 31, 30]
    assert near[30][1] == pytest.approx(whole[30][1], rel=1e-12)
    assert all(0 <= j < 40 and j != i for i, (j, _) in enumerate(near))
    assert no_scalars[30] == near[30]


def test_released_samples_read_their_draws_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A released sample has its figures and, when asked, its draws; gone draws are an error."""
    monkeypatch.setattr(samples, "LARGE_BYTES", 0)
    draws = _draws(1, 500, iid=False)
    first, second = samples_of(draws, ["mu", "x[3]"], keep=True)
    assert first.released
    assert second.kind == "continuous"
    np.testing.assert_array_equal(second.values, draws.quantity("x[3]"))
    assert next(samples_of(draws, ["x[3]"], keep=True)) is second
    with pytest.raises(KeyError):
        list(samples_of(draws, ["nowhere"]))
    del draws
    with pytest.raises(ReferenceError, match="mu"):
        _ = first.values


def test_many_quantities_compared_together_have_the_figures_of_each_alone() -> None:
    """The metrics of a quantity do not depend on those beside it, however bad these are."""
    rng = np.random.default_rng(3)

    def samples_with(n: int, chains: int) -> list[metrics.Sample]:
        x = rng.normal(size=(11, chains, n // chains))
        x[1] *= 1e-200
        x[2, 0, 0] = 1e6  # bounded in errors
        x[3] = 7.0
        x[4, 0, 3] = np.nan if chains == 1 else 1.0
        x[5] = rng.poisson(2, x[5].shape)
        x[6] = rng.standard_cauchy(x[6].shape)
        x[7] *= 1e200
        x[8, 0, 3] = np.inf
        return [metrics.prepare(row, iid=chains == 1) for row in x]

    own, references = samples_with(900, 1), samples_with(400, 4)
    together = metrics.compare_quantities(own, references)
    alone = [metrics.compare_quantity(*pair) for pair in zip(own, references, strict=True)]
    assert [list(found) for found in together] == [list(found) for found in alone]
    assert sum("w1" in found for found in together) >= 7
    for found, expected in zip(together, alone, strict=True):
        for metric, figure in found.items():
            assert figure == pytest.approx(expected[metric], rel=1e-12, abs=1e-14, nan_ok=True)
