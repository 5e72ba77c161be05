"""CmdStan's output files: columns by name, comments anywhere, truncation detected."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import Trace
from harness.records.names import stan_name

if TYPE_CHECKING:
    from harness.records import FloatArray

_BLOCK = 2**21
"""Bytes of a file that are in memory at a time."""

_EXACT = (3, 1)
"""From this version on, pandas reads the double that was printed without being asked to."""


class CsvError(ValueError):
    """An output file is incomplete or unreadable, with the reason."""


class CutShortError(CsvError):
    """An output file ends in the middle of a line, as when a disk is full."""


@dataclass(frozen=True, slots=True, eq=False)
class StanTable:
    """A CmdStan CSV: ``values`` has shape ``(row, column)``."""

    columns: tuple[str, ...]
    values: FloatArray

    def column(self, name: str) -> FloatArray:
        """Return one column by its CmdStan name.

        Raises
        ------
        CsvError
            If there is no such column.
        """
        return np.ascontiguousarray(self.values[:, _place(self.columns, name)])

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the program's scalars in Stan's form, ``beta[2,1]``."""
        return tuple(stan_name(self.columns[i]) for i in _quantity_columns(self.columns))

    def quantity_values(self) -> FloatArray:
        """Return the program's scalars, shape ``(row, quantity)``, constrained scale."""
        return np.ascontiguousarray(self.values[:, _quantity_columns(self.columns)])


@dataclass(frozen=True, slots=True, eq=False)
class StanChains:
    """The CSVs of several chains, read side by side without a second copy."""

    quantities: tuple[str, ...]
    """Names of the program's scalars in Stan's form, ``beta[2,1]``."""
    values: FloatArray
    """The program's scalars, shape ``(chain, draw, quantity)``, constrained scale."""
    statistics: Mapping[str, FloatArray]
    """What the sampler says of each draw by CmdStan's names, ``lp__``; shape ``(chain, draw)``."""


def _place(columns: Sequence[str], name: str) -> int:
    if name not in columns:
        raise CsvError(f"no column {name!r}; found {', '.join(columns[:8])}")
    return columns.index(name)


def _quantity_columns(columns: Sequence[str]) -> list[int]:
    return [i for i, c in enumerate(columns) if not c.endswith("__")]


def read_stan_csv(path: Path) -> StanTable:
    """Read a CmdStan CSV.

    Raises
    ------
    CsvError
        If it has no header or no rows, or a row is ragged or unreadable.
    """
    with path.open("rb") as file:
        most = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    columns, blocks = _read(path)
    # Memory that no row is written to, for the comments, is never taken.
    values = np.empty((most, len(columns)))
    n = 0
    for block in blocks:
        values[n : n + len(block)] = block
        n += len(block)
    return StanTable(columns, values[:n])


def read_chains(paths: Sequence[Path], draws: int, statistics: Sequence[str]) -> StanChains:
    """Read the CSVs of chains that have as many draws each and the same columns.

    Raises
    ------
    CsvError
        As :func:`read_stan_csv`, and if a chain has fewer or more draws, or other columns.
    """
    names: tuple[str, ...] | None = None
    for chain, path in enumerate(paths):
        columns, blocks = _read(path)
        if names is None:
            names, own = columns, _quantity_columns(columns)
            values = np.empty((len(paths), draws, len(own)))
            at = {name: _place(columns, name) for name in statistics}
            found = {name: np.empty((len(paths), draws)) for name in statistics}
        if columns != names:
            raise CsvError(f"{path.name} has other columns than {paths[0].name}")
        n = 0
        for block in blocks:
            upto = n + len(block)
            if upto <= draws:
                values[chain, n:upto] = block[:, own]
                for name, place in at.items():
                    found[name][chain, n:upto] = block[:, place]
            n = upto
        if n != draws:
            msg = f"{path.name} has {n} draws where {draws} were asked for: truncated"
            raise CsvError(msg)
    if names is None:
        raise CsvError("there is no output file")
    return StanChains(tuple(stan_name(names[i]) for i in own), values, found)


def _read(path: Path) -> tuple[tuple[str, ...], Iterator[FloatArray]]:
    """Return the columns of a file, and its rows in blocks of shape ``(row, column)``."""
    blocks = _lines(path)
    first = next(blocks, None)
    if first is None:
        raise CsvError(f"{path.name} is empty")
    header, *rows = first
    columns = tuple(header.decode("utf-8", errors="replace").strip().split(","))

    def parsed() -> Iterator[FloatArray]:
        if rows:
            yield _parse(rows, columns, path)
        some = bool(rows)
        for lines in blocks:
            some = True
            yield _parse(lines, columns, path)
        if not some:
            raise CsvError(f"{path.name} has a header and no rows")

    return columns, parsed()


def _lines(path: Path) -> Iterator[list[bytes]]:
    """Yield the lines of a file that are no comments, in lists that are not empty.

    A line that does not end is only taken where it is the first, the header.
    """
    rest, some = b"", False
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole, end, rest_of = (rest + block).rpartition(b"\n")
            rest = rest_of
            if end and (lines := _without_comments(whole)):
                some = True
                yield lines
    if rest and not some and (lines := _without_comments(rest)):
        yield lines
    elif rest:
        raise CutShortError(f"{path.name} ends in the middle of a line")


def _without_comments(text: bytes) -> list[bytes]:
    return [s for line in text.splitlines() if (s := line.strip()) and not line.startswith(b"#")]


def _parse(lines: list[bytes], columns: Sequence[str], path: Path) -> FloatArray:
    """Return the numbers of lines, exactly the doubles that were printed: ``(row, column)``."""
    per_row = {line.count(b",") + 1 for line in lines}
    if per_row == {len(columns)}:
        found = _quickly(lines)
        if found is not None and found.size == len(lines) * len(columns):
            return found.reshape(len(lines), len(columns))
    try:
        # It also takes the words nan and inf, and says where a line is bad.
        values = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        raise CsvError(f"{path.name} cannot be read: {error}") from error
    if values.shape[1] != len(columns):
        msg = f"{path.name} has {values.shape[1]} numbers per row for {len(columns)} columns"
        raise CsvError(msg)
    return values


def _quickly(lines: list[bytes]) -> FloatArray | None:
    """Return the numbers of good lines, one after another; None where one is no plain number.

    Pandas needs a third of the seconds of ``numpy.loadtxt``, if it gets a number a line: columns
    by the thousand cost it more than their numbers.
    """
    import pandas as pd

    text = b"\n".join([*lines, b""]).replace(b",", b"\n")
    if b"\0" in text:  # where it would stop reading
        return None
    try:
        table = pd.read_csv(
            io.BytesIO(text),
            engine="c",
            header=None,
            names=["x"],
            dtype=np.float64,
            na_filter=False,
            skip_blank_lines=False,
            quoting=csv.QUOTE_NONE,
            **_exactly(),
        )
    except ValueError:
        return None
    return np.asarray(table["x"], dtype=np.float64)


@cache
def _exactly() -> dict[str, Any]:
    import pandas as pd

    version = tuple(int(part) for part in pd.__version__.split(".")[:2])
    return {} if version >= _EXACT else {"float_precision": "round_trip"}


def read_elbo(scratch: Path) -> Trace | None:
    """Read ADVI's diagnostic file: the ELBO by iteration, in nats, larger is better.

    The header of that file is a comment; the columns are iteration, seconds and ELBO. The readable
    rows are kept, so that a run that ended badly still has its path.
    """
    found = list(scratch.glob("*diagnostic*.csv"))
    if len(found) != 1:
        return None
    rows = []
    for line in found[0].read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        try:
            iteration, elapsed_s, elbo = (float(v) for v in line.split(","))
        except ValueError:
            break
        rows.append((iteration, elapsed_s, elbo))
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return Trace(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())
