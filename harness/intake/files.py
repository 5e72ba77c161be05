"""Files of draws: ArviZ's NetCDF and Zarr, CmdStan's CSV, posteriordb's JSON, plain tables."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.intake import netcdf
from harness.intake.arrays import draws_of, of_table
from harness.intake.stan_output import KINDS, is_resampled, of_columns, on
from harness.intake.taken import DrawsError, Taken
from harness.intake.trees import of_tree
from harness.records import Draws
from harness.records.names import repeated, stan_names
from harness.records.text import clip, listed, one_line
from harness.records.untrusted import is_file, parse_json, read_bytes, unpacked
from harness.stan.csv import CsvError, StanTable, read_stan_csv

if TYPE_CHECKING:
    from harness.records import FloatArray

TAKEN_FILES = (
    "NetCDF or Zarr of ArviZ, CSV files of CmdStan (one, a folder, several with commas or *), "
    "posteriordb's JSON (also zipped), or a CSV table with a column for each quantity"
)

NO_REFERENCE = {
    "approximation": "draws of an approximation",
    "weighted": "weighted draws",
    "point": "a single point",
}
"""Kinds that a comparison does not take as its reference."""

_NAMED = 8

_ZARR = ("zarr.json", ".zgroup", ".zmetadata")


def files_of(named: str, role: str = "reference") -> list[Path]:
    """Return the files that a path, a folder, a pattern or a list with commas names.

    ``role`` is what they are wanted for, for the message.

    Raises
    ------
    DrawsError
        If there are none.
    """
    path = Path(named)
    if is_file(path) or _is_zarr(path):
        return [path]
    try:
        found = sorted(path.glob("*.csv"))
        if not found:
            words = [Path(word.strip()) for word in named.split(",") if word.strip()]
            found = [p for word in words for p in sorted(word.parent.glob(word.name or "*"))]
    except (OSError, ValueError):  # no file can have this name
        found = []
    # ADVI writes its path beside its draws.
    found = [p for p in found if "diagnostic" not in p.stem] or found
    if not found or not all(is_file(p) for p in found):
        allowed = f"auto, nuts, ensemble, or {TAKEN_FILES}" if role == "reference" else TAKEN_FILES
        raise DrawsError(f"no such {role}: {clip(one_line(named), 300)}; allowed: {allowed}")
    return found


def content_of(named: str) -> list[str]:
    """Return the hash of each file that a reference names; of a Zarr folder, of all in it."""
    found = []
    for path in files_of(named):
        inside = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        digest = hashlib.sha256()
        for file in inside:
            name = file.relative_to(path).as_posix() if path.is_dir() else ""
            digest.update(name.encode() + file.read_bytes())
        found.append(digest.hexdigest())
    return found


def read_reference(reference: str, *, iid: bool = False) -> Draws:
    """Read the draws of a reference; ``iid`` states that they are independent.

    Raises
    ------
    DrawsError
        If a file is of no kind that can be read, is damaged, or is an approximation's.
    """
    (taken, *more) = read_draws_files(reference, iid=iid)
    if taken.kind in NO_REFERENCE:
        what = NO_REFERENCE[taken.kind]
        by = f" ({taken.method})" if taken.method else ""
        raise DrawsError(f"{taken.source}: {what}{by}, and no reference; allowed: {TAKEN_FILES}")
    if more:
        raise DrawsError(f"{taken.source} and {len(more)} more: several fits are no reference")
    return taken.draws


def read_draws_files(
    named: str, *, iid: bool = False, role: str = "reference"
) -> tuple[Taken, ...]:
    """Read every fit that some files hold; the chains of one run of a sampler are one fit.

    ``iid`` states that the draws are independent.

    Raises
    ------
    DrawsError
        If a file is of no kind that can be read, or is damaged.
    """
    files = files_of(named, role)
    try:
        found = _read(files)
    except DrawsError:
        raise
    except Exception as error:  # h5py, pandas and zarr raise whatever a damaged file brings about
        names = listed([p.name for p in files], _NAMED)
        said = clip(one_line(str(error)), 300)
        raise DrawsError(f"the {role} {names} cannot be read: {said}") from error
    return tuple(_spelt(t, iid=iid) for t in found)


def _spelt(taken: Taken, *, iid: bool) -> Taken:
    draws = replace(taken.draws, names=stan_names(taken.draws.names))
    if twice := repeated(draws.names):
        told = listed(twice, _NAMED)
        raise DrawsError(f"{taken.source}: more than one quantity is called {told}")
    if iid and not draws.iid:
        values = draws.values.reshape(1, -1, len(draws.names))
        draws = Draws(draws.names, values, iid=True)
    return replace(taken, draws=draws)


def _is_zarr(path: Path) -> bool:
    return any(is_file(path / name) for name in _ZARR)


def _read(files: Sequence[Path]) -> list[Taken]:
    path = files[0]
    if _is_zarr(path):
        return [_of_zarr(path)]
    with path.open("rb") as file:
        begin = file.read(512)
    if begin.startswith(b"\x89HDF") and len(files) == 1:
        with netcdf.opened(path) as tree:
            return [of_tree(tree, path.name)]
    if begin.startswith(b"PK") and len(files) == 1:
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.endswith(".json")]
            if len(inside) != 1:
                raise DrawsError(f"{path.name} holds {len(inside)} JSON files; allowed: one")
            return [Taken(_of_json(path, unpacked(archive, inside[0])), path.name)]
    if begin.lstrip()[:1] in {b"[", b"{"} and len(files) == 1:
        return [Taken(_of_json(path, read_bytes(path)), path.name)]
    if begin.startswith(b"#") or b"lp__" in begin or b"log_p__" in begin:
        return _of_csv(files)
    if b"," in begin.partition(b"\n")[0] and b"\0" not in begin and len(files) == 1:
        return [_of_table(path)]
    if not begin.strip() and len(files) == 1:
        raise DrawsError(f"{path.name} is empty")
    several = f" and {len(files) - 1} more" if len(files) > 1 else ""
    raise DrawsError(
        f"{path.name}{several}: no kind of file that can be read; allowed: {TAKEN_FILES}"
    )


def _of_table(path: Path) -> Taken:
    """Read a CSV table as :func:`of_table` does; names what is no number."""
    import pandas as pd

    # read_csv would call the second column a "a.1", which is Stan's name of an element of a.
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    if twice := repeated([name.strip() for name in first.iloc[0]]):
        raise DrawsError(f"{path.name}: more than one column is called {listed(twice, _NAMED)}")
    table = pd.read_csv(path)
    if table.empty:
        raise DrawsError(f"{path.name} has names of columns and no draws")
    for name in table.columns[[t.kind not in "biuf" for t in table.dtypes]]:
        odd = table[name][pd.to_numeric(table[name], errors="coerce").isna() & table[name].notna()]
        if len(odd):
            value = clip(one_line(str(odd.iloc[0])), 40)
            raise DrawsError(
                f"{path.name}: draw {odd.index[0] + 1} of {name} is {value!r}, which is no number"
            )
    return of_table(table, path.name, iid=False)


def _of_zarr(path: Path) -> Taken:
    import xarray as xr

    try:
        with xr.open_datatree(path, engine="zarr") as tree:
            return of_tree(tree.load(), path.name)
    except (ImportError, ValueError) as error:
        from importlib.util import find_spec

        needs = "" if find_spec("zarr") else " (needs zarr: pip install zarr)"
        raise DrawsError(f"{path.name} cannot be read as Zarr{needs}: {error}") from error


def _of_json(path: Path, content: bytes) -> Draws:
    """Read posteriordb's form: a list of chains, each a dict of name → draws."""
    chains: Any = parse_json(content)
    chains = [chains] if isinstance(chains, dict) else chains
    whole = isinstance(chains, list) and chains and all(isinstance(c, dict) for c in chains)
    if not whole or not all(isinstance(v, list) for c in chains for v in c.values()):
        allowed = "a list of chains, each an object of name → list of draws"
        raise DrawsError(f"{path.name} holds other JSON than posteriordb's; allowed: {allowed}")
    if len({frozenset(c) for c in chains}) > 1:
        raise DrawsError(f"{path.name}: not all chains have the same quantities")
    # Null, which stands for what JSON cannot hold, becomes NaN.
    named = {n: [np.asarray(c[n], dtype=np.float64) for c in chains] for n in chains[0]}
    uneven = [n for n, parts in named.items() if len({p.shape for p in parts}) > 1]
    if uneven:
        told = listed(uneven, _NAMED)
        raise DrawsError(f"{path.name}: not all chains have as many draws of {told}")
    return draws_of({n: np.stack(parts) for n, parts in named.items()}, iid=False)


# --- CmdStan's CSV ---------------------------------------------------------------------------


def _of_csv(files: Sequence[Path]) -> list[Taken]:
    """Read CmdStan's output: chains of one run, or fits of other methods, a file each."""
    outputs = [_Output(path) for path in files]
    if all(o.method == "sample" for o in outputs):
        return [_chains(outputs)]
    if other := [o for o in outputs if o.method not in KINDS]:
        allowed = listed(list(KINDS), len(KINDS))
        got = f"{other[0].path.name}: CmdStan's {other[0].method}"
        raise DrawsError(f"{got}; allowed: the output of {allowed}")
    if len({o.method for o in outputs}) > 1:
        told = listed([f"{o.path.name} ({o.method})" for o in outputs], _NAMED)
        raise DrawsError(f"these files are not of one method: {told}")
    return [_fit(o) for o in outputs]


class _Output:
    """One file of CmdStan's: its table, and what its comments tell."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8", errors="replace")
        self.path = path
        self.settings: dict[str, Any] = {}
        for name, value in re.findall(r"^#\s*(\w+) = (\S+)", text, flags=re.MULTILINE):
            self.settings.setdefault(name, value)
        self.seconds = [float(s) for s in re.findall(r"([\d.e+-]+) seconds \(Total\)", text)]
        try:
            self.table: StanTable = read_stan_csv(path)
        except CsvError as error:
            raise DrawsError(str(error)) from error
        self.method = str(self.settings.get("method", self._by_columns()))
        eta = re.search(r"^# eta = (\S+)", text, re.MULTILINE)
        if self.method == "variational" and eta is not None:
            # What adaptation found goes before what was set.
            self.settings["eta"] = eta[1]

    def _by_columns(self) -> str:
        """Return the method of a file without comments."""
        columns = set(self.table.columns)
        if "log_g__" in columns:
            return "variational"
        if "lp_approx__" in columns:
            return "pathfinder"
        return "laplace" if "log_q__" in columns else "sample"

    def number(self, name: str, default: int = 0) -> int:
        return int(self.settings.get(name, default))


def _chains(outputs: Sequence[_Output]) -> Taken:
    """Read chains of CmdStan's sampler, without their warm-up."""
    first = outputs[0]
    values = [_draws_of_chain(o) for o in outputs]
    for output, own in zip(outputs, values, strict=True):
        if output.table.columns != first.table.columns or own.shape != values[0].shape:
            told = [f"{o.path.name} {v.shape}" for o, v in zip(outputs, values, strict=True)]
            raise DrawsError(
                f"{output.path.name} is no chain of the same run as {first.path.name}: rows and "
                f"columns are {listed(told, _NAMED)}"
            )
    told_s = [s for o in outputs for s in o.seconds]
    seconds = sum(told_s) if len(told_s) == len(outputs) else float("nan")
    name = first.path.name if len(outputs) == 1 else first.path.parent.name or first.path.name
    columns = first.table.columns
    return of_columns("sample", columns, np.stack(values), first.settings, name, seconds)


def _draws_of_chain(output: _Output) -> FloatArray:
    if "lp__" not in output.table.columns:
        raise DrawsError(
            f"{output.path.name}: no output of CmdStan's sampler; allowed: {TAKEN_FILES}"
        )
    thin = output.number("thin", 1)
    warmup = 0
    if on(output.settings, "save_warmup", "0"):
        warmup = -(-output.number("num_warmup") // thin)
    values = output.table.values[warmup:]
    asked = -(-output.number("num_samples", len(values) * thin) // thin)
    if len(values) != asked:
        name = output.path.name
        raise DrawsError(f"{name} has {len(values)} draws of {asked}: it was cut short")
    return values


def _fit(output: _Output) -> Taken:
    """Read the one file of a fit that is no sampler's."""
    rows, name = output.table.values, output.path.name
    asked, exact = len(rows), True
    if output.method == "variational":
        # The first row is the transform of q's mean, and no draw.
        rows = rows[1:]
        asked = output.number("output_samples", len(rows))
    elif output.method == "pathfinder":
        asked = output.number(
            "num_psis_draws" if is_resampled(output.settings) else "num_draws", len(rows)
        )
        exact = False
    elif output.method == "laplace":
        asked = output.number("draws", len(rows))
    else:
        rows = rows[-1:]
        asked = 1
    if len(rows) < asked or (exact and len(rows) != asked):
        raise DrawsError(f"{name} has {len(rows)} draws of {asked}: it was cut short")
    return of_columns(
        output.method, output.table.columns, rows[None], output.settings, name,
        sum(output.seconds) if output.seconds else float("nan"),
    )  # fmt: skip
