"""The user's own reference draws, from files of ArviZ, CmdStan or posteriordb."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.records import Draws
from harness.records.text import listed
from harness.report.files.netcdf import draws_from_datatree, draws_of
from harness.stan.csv import CsvError, StanTable, read_stan_csv

TAKEN = (
    "NetCDF of ArviZ, CSV files of CmdStan's sampler (one, a folder, several with commas or *), "
    "or posteriordb's JSON (also zipped)"
)

_NAMED = 8


class SuppliedError(ValueError):
    """A reference that cannot be read: what was found, and what is allowed."""


def files_of(reference: str) -> list[Path]:
    """Return the files that a reference names.

    Raises
    ------
    SuppliedError
        If there are none.
    """
    path = Path(reference)
    found = [path] if path.is_file() else sorted(path.glob("*.csv"))
    if not found:
        named = [Path(word.strip()) for word in reference.split(",") if word.strip()]
        found = [p for pattern in named for p in sorted(pattern.parent.glob(pattern.name or "*"))]
    if not found or not all(p.is_file() for p in found):
        raise SuppliedError(f"no such reference: {reference}; allowed: auto, nuts, or {TAKEN}")
    return found


def read_supplied(reference: str, *, iid: bool = False) -> Draws:
    """Read reference draws; ``iid`` states that they are independent.

    Raises
    ------
    SuppliedError
        If a file is of no kind that can be read, or is damaged.
    """
    files = files_of(reference)
    try:
        draws = _read(files)
    except SuppliedError:
        raise
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        names = listed([p.name for p in files], _NAMED)
        raise SuppliedError(f"the reference {names} cannot be read: {error}") from error
    if not iid or draws.iid:
        return draws
    values = draws.values.reshape(1, -1, len(draws.names))
    return Draws(draws.names, values, iid=True)


def _read(files: Sequence[Path]) -> Draws:
    path = files[0]
    with path.open("rb") as file:
        begin = file.read(512)
    if begin.startswith(b"\x89HDF") and len(files) == 1:
        import xarray as xr

        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return draws_from_datatree(tree)
    if begin.startswith(b"PK") and len(files) == 1:
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.endswith(".json")]
            if len(inside) != 1:
                raise SuppliedError(f"{path.name} holds {len(inside)} JSON files; allowed: one")
            return _of_json(path, archive.read(inside[0]))
    if begin.lstrip()[:1] in {b"[", b"{"} and len(files) == 1:
        return _of_json(path, path.read_bytes())
    if begin.startswith(b"#") or b"lp__" in begin:
        return _of_csv(files)
    several = f" and {len(files) - 1} more" if len(files) > 1 else ""
    raise SuppliedError(f"{path.name}{several}: no kind of file that can be read; allowed: {TAKEN}")


def _of_json(path: Path, content: bytes) -> Draws:
    """Read posteriordb's form: a list of chains, each a dict of name → draws."""
    chains: Any = json.load(io.BytesIO(content))
    chains = [chains] if isinstance(chains, dict) else chains
    whole = isinstance(chains, list) and chains and all(isinstance(c, dict) for c in chains)
    if not whole or not all(isinstance(v, list) for c in chains for v in c.values()):
        allowed = "a list of chains, each an object of name → list of draws"
        raise SuppliedError(f"{path.name} holds other JSON than posteriordb's; allowed: {allowed}")
    if len({frozenset(c) for c in chains}) > 1:
        raise SuppliedError(f"{path.name}: not all chains have the same quantities")
    # Null, which stands for what JSON cannot hold, becomes NaN.
    named = {n: [np.asarray(c[n], dtype=np.float64) for c in chains] for n in chains[0]}
    uneven = [n for n, parts in named.items() if len({p.shape for p in parts}) > 1]
    if uneven:
        told = listed(uneven, _NAMED)
        raise SuppliedError(f"{path.name}: not all chains have as many draws of {told}")
    return draws_of({n.replace(" ", ""): np.stack(parts) for n, parts in named.items()}, iid=False)


_STATS = {"diverging": "divergent__", "energy": "energy__", "tree_depth": "treedepth__"}


def _of_csv(files: Sequence[Path]) -> Draws:
    """Read chains of CmdStan's sampler, without their warm-up."""
    tables = [_chain(path) for path in files]
    first, limit = tables[0]
    for path, (table, _) in zip(files, tables, strict=True):
        if table.columns != first.columns or table.values.shape != first.values.shape:
            told = [f"{p.name} {t.values.shape}" for p, (t, _) in zip(files, tables, strict=True)]
            raise SuppliedError(
                f"{path.name} is no chain of the same run as {files[0].name}: rows and columns "
                f"are {listed(told, _NAMED)}"
            )
    stats = {
        name: np.stack([t.column(column) for t, _ in tables])
        for name, column in _STATS.items()
        if column in first.columns
    }
    if limit is not None and "tree_depth" in stats:
        stats["max_tree_depth"] = np.full_like(stats["tree_depth"], limit)
    values = np.stack([t.quantity_values() for t, _ in tables])
    return Draws(first.quantities, values, stats=stats, iid=False)


def _chain(path: Path) -> tuple[StanTable, float | None]:
    """Return a chain's draws, and the largest tree depth that was allowed if that is known."""
    text = path.read_text(encoding="utf-8", errors="replace")
    said: dict[str, str] = {}
    for name, value in re.findall(r"^#\s*(\w+) = (\S+)", text, flags=re.MULTILINE):
        said.setdefault(name, value)
    try:
        table = read_stan_csv(path)
    except CsvError as error:
        raise SuppliedError(str(error)) from error
    method = said.get("method", "sample")
    if method != "sample" or "lp__" not in table.columns or "log_g__" in table.columns:
        got = f"CmdStan's {method}" if method != "sample" else "no output of CmdStan's sampler"
        raise SuppliedError(f"{path.name}: {got}; allowed: the files of its method sample")
    thin = int(said.get("thin", 1))
    warmup = 0
    if said.get("save_warmup", "0") in {"1", "true"}:
        warmup = -(-int(said.get("num_warmup", 0)) // thin)
    values = table.values[warmup:]
    asked = -(-int(said["num_samples"]) // thin) if "num_samples" in said else len(values)
    if len(values) != asked:
        raise SuppliedError(f"{path.name} has {len(values)} draws of {asked}: it was cut short")
    limit = float(said["max_depth"]) if "max_depth" in said else None
    return StanTable(table.columns, values), limit
