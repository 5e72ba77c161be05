"""CmdStan's output files: columns by name, comments anywhere, truncation detected."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.records import Trace
from harness.records.cores import cores
from harness.records.names import kept_places, stan_name

if TYPE_CHECKING:
    from harness.records import FloatArray

_BLOCK = 2**20
"""Bytes of a file that are in memory at a time."""

_KEPT = 2**25 - 2**16
"""Less than 32 MiB: see :func:`_keep_memory`."""

_EXACT = (3, 1)
"""From this version on, pandas reads the double that was printed without being asked to."""


_NOT_PLAIN = (b"#", b"\r", b"\0")
"""Comments, other ends of lines, and what ends pandas' reading."""

_COMMA, _NEW_LINE = b",\n"

_NOTHING: Mapping[str, tuple[str, ...]] = {}


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


def read_stan_csv(path: Path, left_out: Mapping[str, tuple[str, ...]] = _NOTHING) -> StanTable:
    """Read a CmdStan CSV, without the quantities that a run leaves out (``RunSpec.left_out``).

    Raises
    ------
    CsvError
        If it has no header or no rows, or a row is ragged or unreadable.
    """
    _keep_memory()
    with path.open("rb") as file:
        most = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    columns, blocks = _read(path, left_out)
    # Memory that no row is written to, for the comments, is never taken.
    values = np.empty((most, len(columns)))
    n = 0
    for block in blocks:
        values[n : n + len(block)] = block
        n += len(block)
    return StanTable(columns, values[:n])


def read_chains(
    paths: Sequence[Path],
    draws: int,
    statistics: Sequence[str],
    left_out: Mapping[str, tuple[str, ...]] = _NOTHING,
) -> StanChains:
    """Read the CSVs of chains that have as many draws each and the same columns.

    The quantities that a run leaves out (``RunSpec.left_out``) are not read.

    Raises
    ------
    CsvError
        As :func:`read_stan_csv`, and if a chain has fewer or more draws, or other columns.
    """
    if not paths:
        raise CsvError("there is no output file")
    names, _ = _read(paths[0], left_out)
    own = _quantity_columns(names)
    at = {name: _place(names, name) for name in statistics}
    values = np.empty((len(paths), draws, len(own)))
    found = {name: np.empty((len(paths), draws)) for name in statistics}

    def fill(chain: int) -> None:
        path, n = paths[chain], 0
        columns, blocks = _read(path, left_out)
        if columns != names:
            raise CsvError(f"{path.name} has other columns than {paths[0].name}")
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

    _keep_memory()
    # Pandas and NumPy let other threads work meanwhile.
    with ThreadPoolExecutor(min(len(paths), cores())) as pool:
        list(pool.map(fill, range(len(paths))))
    return StanChains(tuple(stan_name(names[i]) for i in own), values, found)


def _keep_memory() -> None:
    """Have memory that a block needed used again for the next one.

    Glibc's allocator gives pieces back to the kernel, which clears each page when it is asked for
    again: half of the seconds of reading. It keeps pieces smaller than the largest that was ever
    freed, up to 32 MiB (``M_MMAP_THRESHOLD`` in mallopt(3)). Elsewhere this does nothing, and no
    page of it is ever touched.
    """
    np.empty(_KEPT, dtype=np.uint8)


def _read(
    path: Path, left_out: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[str, ...], Iterator[FloatArray]]:
    """Return the wanted columns of a file, and its rows in blocks of shape ``(row, column)``."""
    texts = _whole_lines(path)
    header, first = b"", b""
    for text in texts:
        first = text
        while first and not header:
            line, _, first = first.partition(b"\n")
            header = next(iter(_without_comments(line)), b"")
        if header:
            break
    else:
        raise CsvError(f"{path.name} is empty")
    columns = header.decode("utf-8", errors="replace").split(",")
    places = kept_places([stan_name(c) for c in columns], left_out) if left_out else None

    def parsed() -> Iterator[FloatArray]:
        some = False
        for text in itertools.chain([first], texts):
            values = _parse(text, len(columns), places, path)
            if len(values):
                some = True
                yield values
        if not some:
            raise CsvError(f"{path.name} has a header and no rows")

    return tuple(columns if places is None else [columns[i] for i in places]), parsed()


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Yield the text of a file in pieces of whole lines, without the newline that ends a piece.

    A line that does not end is only taken where it is the first that is no comment, the header.
    """
    rest, some = b"", False
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            whole, end, rest_of = block.rpartition(b"\n")
            if end:
                yield (whole := rest + whole)
                some = some or bool(_without_comments(whole))
                rest = rest_of
            else:
                rest += block
    if rest and some:
        raise CutShortError(f"{path.name} ends in the middle of a line")
    yield rest


def _without_comments(text: bytes) -> list[bytes]:
    return [s for line in text.splitlines() if (s := line.strip()) and not line.startswith(b"#")]


def _parse(text: bytes, width: int, places: list[int] | None, path: Path) -> FloatArray:
    """Return the numbers of lines, exactly the doubles that were printed: ``(row, column)``.

    Of the ``width`` columns, those at ``places``, or all.
    """
    found = _quickly(text, width, places)
    if found is not None:
        return found
    lines = _without_comments(text)
    if not lines:
        return np.empty((0, width if places is None else len(places)))
    found = _quickly(b"\n".join(lines), width, places)
    if found is not None:
        return found
    try:
        # It also takes the words nan and inf, and says where a line is bad.
        values = np.loadtxt(lines, delimiter=",", dtype=np.float64, ndmin=2, comments=None)
    except ValueError as error:
        raise CsvError(f"{path.name} cannot be read: {error}") from error
    if values.shape[1] != width:
        msg = f"{path.name} has {values.shape[1]} numbers per row for {width} columns"
        raise CsvError(msg)
    return values if places is None else values[:, places]


def _quickly(text: bytes, width: int, places: list[int] | None) -> FloatArray | None:
    """Return the numbers of good lines; None where a line is no row of plain numbers.

    Pandas needs a third of the seconds of ``numpy.loadtxt``, if it gets a number a line: columns
    by the thousand cost it more than their numbers. What is not wanted is cut before.
    """
    import pandas as pd

    if not text or any(mark in text for mark in _NOT_PLAIN):
        return None
    letters = np.frombuffer(bytearray(text) + b"\n", dtype=np.uint8)
    new_line = letters == _NEW_LINE
    ends = np.flatnonzero(new_line | (letters == _COMMA))
    rows, left = divmod(len(ends), width)
    if left or rows != np.count_nonzero(new_line) or not new_line[ends[width - 1 :: width]].all():
        return None
    letters[ends] = _NEW_LINE
    if places is not None:
        wanted = np.zeros(width, dtype=bool)
        wanted[places] = True
        letters = letters[np.repeat(np.tile(wanted, rows), np.diff(ends, prepend=-1))]
    try:
        table = pd.read_csv(
            io.BytesIO(letters.tobytes()),
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
    found = np.asarray(table["x"], dtype=np.float64)
    per_row = width if places is None else len(places)
    return found.reshape(rows, per_row) if found.size == rows * per_row else None


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
