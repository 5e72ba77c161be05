"""CmdStan's output files: columns by name, comments anywhere, truncation detected."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.records import Trace
from harness.records.names import stan_name

if TYPE_CHECKING:
    from harness.records import FloatArray


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
        if name not in self.columns:
            raise CsvError(f"no column {name!r}; found {', '.join(self.columns[:8])}")
        return np.ascontiguousarray(self.values[:, self.columns.index(name)])

    @property
    def _quantity_columns(self) -> list[int]:
        return [i for i, c in enumerate(self.columns) if not c.endswith("__")]

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the program's scalars in Stan's form, ``beta[2,1]``."""
        return tuple(stan_name(self.columns[i]) for i in self._quantity_columns)

    def quantity_values(self) -> FloatArray:
        """Return the program's scalars, shape ``(row, quantity)``, constrained scale."""
        return np.ascontiguousarray(self.values[:, self._quantity_columns])


def read_stan_csv(path: Path) -> StanTable:
    """Read a CmdStan CSV.

    Raises
    ------
    CsvError
        If it has no header or no rows, or a row is ragged or unreadable.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise CsvError(f"{path.name} is empty")
    columns = tuple(lines[0].strip().split(","))
    if len(lines) == 1:
        raise CsvError(f"{path.name} has a header and no rows")
    if not text.endswith("\n"):
        raise CutShortError(f"{path.name} ends in the middle of a line")
    try:
        # NumPy's reader returns exactly the double that was printed.
        values = np.loadtxt(lines[1:], delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise CsvError(f"{path.name} cannot be read: {error}") from error
    if values.shape[1] != len(columns):
        msg = f"{path.name} has {values.shape[1]} numbers per row for {len(columns)} columns"
        raise CsvError(msg)
    return StanTable(columns, values)


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
