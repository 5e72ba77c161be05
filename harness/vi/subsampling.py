"""A target whose data are split by rows: it sees one batch at a time, or all rows.

With n rows, a batch of B rows and its likelihood scaled by n / B, the log density of the batch is
an unbiased estimate of that of all rows (Hoffman et al. 2013, section 2.3), provided the scale
multiplies exactly the terms that are a sum over rows. That is checked here, never assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import FloatArray
from harness.records.text import number
from harness.vi.target import Target, finite_rows

Data = Mapping[str, NDArray[Any]]
Rebind = Callable[[Mapping[str, Any]], None]

_ROUNDING = 1e-7
"""The relative difference that rounding may cause between two sums over the same rows."""

_POINTS = 20  # points to try before a density counts as finite nowhere
_FOUND = 2  # finite points used for the checks


class SubsamplingError(ValueError):
    """The data cannot be split by rows, or the program does not scale its likelihood."""


@dataclass(frozen=True, slots=True)
class Split:
    """The data variables that concern rows."""

    rows: tuple[str, ...]  # variables whose first axis runs over rows
    size: str  # the integer variable with the number of rows
    scale: str  # the real variable by which the program multiplies its likelihood; 1 for all rows


def split_of(table: Mapping[str, Any] | None, data: Data) -> Split:
    """Read a model's ``[batch]`` table and check it against the data.

    Raises
    ------
    SubsamplingError
        If the table, a key or a variable is missing, if rows differ in length, or if the size or
        the scale is not that of all rows.
    """
    example = '[batch] with rows = ["y"], size = "N", scale = "likelihood_scale"'
    if not table:
        msg = f"the model does not say how to split its data by rows; model.toml needs {example}"
        raise SubsamplingError(msg)
    rows, size, scale = _names(table.get("rows")), table.get("size"), table.get("scale")
    if not rows or not isinstance(size, str) or not isinstance(scale, str):
        raise SubsamplingError(f"[batch] holds {dict(table)}; needed: {example}")
    split = Split(rows, size, scale)
    for name in (*split.rows, size, scale):
        if name not in data:
            msg = f"[batch] names {name}, which is not in the data; found {', '.join(data)}"
            raise SubsamplingError(msg)
    lengths = {name: data[name].shape[0] if data[name].ndim else 0 for name in split.rows}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise SubsamplingError(f"the rows of [batch] have different lengths: {found}")
    n = next(iter(lengths.values()))
    if data[size].ndim or int(data[size]) != n:
        raise SubsamplingError(f"{size} is {data[size]}, but {split.rows[0]} has {n} rows")
    if data[scale].ndim or float(data[scale]) != 1:
        raise SubsamplingError(f"{scale} is {data[scale]}; it must be 1 in the data of all rows")
    return split


class Subsampled:
    """A target that sees one batch of rows at a time, at first all rows.

    Batches are the parts of a shuffled epoch: every row appears once before any row appears
    again, so that the mean over a whole epoch has no subsampling noise. Batch sizes differ by at
    most one row.

    Parameters
    ----------
    target
        Evaluates with the data last passed to ``rebind``.
    rebind
        Takes all data by name; the arrays are overwritten at the next batch.
    batch
        Rows in a batch; all rows if there are fewer.

    Raises
    ------
    ValueError
        If ``batch`` is less than 1.
    """

    def __init__(
        self, target: Target, rebind: Rebind, data: Data, split: Split, batch: int = 500
    ) -> None:
        if batch < 1:
            raise ValueError(f"a batch of {batch} rows; allowed: 1 or more")
        self._target, self._rebind, self._all, self._split = target, rebind, dict(data), split
        self.dimension = target.dimension
        self.rows = int(self._all[split.size])
        self.shards = -(-self.rows // batch)
        self.batch = -(-self.rows // self.shards)
        """Rows in the largest batch."""
        self._bound = dict(data)
        # Stan stores matrices by columns: 40 000 x 100 numbers are read in half the time.
        self._whole = self._all | {name: np.asfortranarray(self._all[name]) for name in split.rows}
        self._buffers = {
            name: np.empty((self.batch, *self._all[name].shape[1:]), self._all[name].dtype)
            for name in split.rows
        }
        self._epoch: list[NDArray[np.intp]] = []

    def log_density(self, z: FloatArray) -> FloatArray:
        """See :meth:`harness.vi.target.Target.log_density`; for the current rows."""
        return self._target.log_density(z)

    def log_density_gradient(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """See :meth:`harness.vi.target.Target.log_density_gradient`; for the current rows."""
        return self._target.log_density_gradient(z)

    def see_all(self) -> None:
        """See all rows, with scale 1."""
        self._rebind(self._whole)

    def see(self, rows: NDArray[np.intp], scale: float | None = None) -> None:
        """See these rows, at most ``batch``, with the scale n / B or the given one."""
        count = len(rows)
        for name, buffer in self._buffers.items():
            self._bound[name] = np.take(
                self._all[name], rows, axis=0, out=buffer[:count], mode="clip"
            )
        self._bound[self._split.size] = np.asarray(count)
        self._bound[self._split.scale] = np.asarray(self.rows / count if scale is None else scale)
        self._rebind(self._bound)

    def epoch(self, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """Return the shuffled rows in parts, one batch each."""
        return list(np.array_split(rng.permutation(self.rows), self.shards))

    def advance(self, rng: np.random.Generator) -> None:
        """See the next batch; after the last batch of an epoch the rows are shuffled again."""
        if not self._epoch:
            self._epoch = self.epoch(rng)
        self.see(self._epoch.pop())

    def check(self, rng: np.random.Generator) -> None:
        """Check that batches estimate the density of all rows, at the cost of one epoch.

        Raises
        ------
        SubsamplingError
            If the density does not depend linearly on the scale, or if the mean of the batches'
            gradients is not the gradient of all rows.
        """
        points = self._finite_points(rng)
        shards = self.epoch(rng)
        self._check_scale(points, shards[0])
        slope, size = np.zeros_like(points), np.zeros_like(points)
        for shard in shards:
            self.see(shard)
            part = self.log_density_gradient(points)[1] * (len(shard) / self.rows)
            slope += part
            size += np.abs(part)
        self.see_all()
        whole = self.log_density_gradient(points)[1]
        gap = np.abs(slope - whole) / (np.maximum(size, np.abs(whole)) + 1e-300)
        if not np.max(gap) <= _ROUNDING:
            # NaN is a difference too.
            where = np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)
            scale = self._split.scale
            raise SubsamplingError(
                f"for unconstrained parameter {int(where[1]) + 1} the mean of the batches' "
                f"gradients is {number(slope[where], 6)}, the gradient of all rows "
                f"{number(whole[where], 6)}: {scale} must multiply the whole likelihood of the "
                f"rows and nothing else (no prior), and the likelihood must be a sum over rows"
            )

    def _check_scale(self, points: FloatArray, shard: NDArray[np.intp]) -> None:
        value = []
        for scale in (1.0, 2.0, 3.0):
            self.see(shard, scale)
            value.append(self.log_density(points))
        first, second = value[1] - value[0], value[2] - value[1]
        size = np.max(np.abs(value), axis=0)
        name = self._split.scale
        # A log likelihood may be 0 by chance at one point, but not at all of them.
        if not np.any(np.abs(first) > _ROUNDING * size):
            raise SubsamplingError(
                f"the log density is the same with {name} at 1 and at 2: the program does not "
                f"declare {name} or does not multiply its likelihood by it, so every batch would "
                f"count as all the data; write target += {name} * …_lpdf(…)"
            )
        if not np.all(np.abs(second - first) <= _ROUNDING * size):
            raise SubsamplingError(
                f"the log density is not linear in {name}: from 1 to 2 it changes by "
                f"{number(first[0], 6)}, from 2 to 3 by {number(second[0], 6)}; write "
                f"target += {name} * …_lpdf(…)"
            )

    def _finite_points(self, rng: np.random.Generator) -> FloatArray:
        self.see_all()
        found: list[FloatArray] = []
        # Stan's own inits, uniform on (−2, 2), then closer and closer to zero.
        for width in np.geomspace(2.0, 0.02, _POINTS):
            point = width * rng.uniform(-1, 1, size=(1, self.dimension))
            if finite_rows(*self.log_density_gradient(point))[0]:
                found.append(point)
            if len(found) == _FOUND:
                break
        if not found:
            msg = f"the log density or its gradient is not finite at {_POINTS} points around zero"
            raise SubsamplingError(msg)
        return np.concatenate(found)


def _names(value: object) -> tuple[str, ...]:
    """Return the names of a list, or none for any other value."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        return ()
    return tuple(value) if all(isinstance(name, str) for name in value) else ()
