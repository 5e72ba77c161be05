"""Fits and draws that were handed over: which rows they make, and how a reference is kept."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness import stan
from harness.intake import NO_REFERENCE, DrawsError, Taken, copied
from harness.methods import METHODS
from harness.records import Draws
from harness.report.files.netcdf import to_datatree
from harness.stan.usage import forget, used

_NAMED = 8

_RELATIVE = re.compile(r"[\w .()+:@-]+")
"""What rows may be called: their names become those of files."""


def rows_of(fits: Sequence[tuple[str, Taken]]) -> dict[str, list[Taken]]:
    """Put fits into rows: by the name that was given, else by what made them, else by their file.

    Fits of one name are seeds of one method. A name that the table of methods has for another
    method gets ``(given)`` behind it: what the table says of that method is not known of this fit.

    Raises
    ------
    DrawsError
        If a name cannot be one of a row, or two fits of a row have the same draws.
    """
    rows: dict[str, list[Taken]] = {}
    for given, taken in fits:
        name = given or taken.method or Path(taken.source).stem
        if not _RELATIVE.fullmatch(name):
            raise DrawsError(f"{name!r} cannot be a row's name; allowed: letters, digits, .()+:@-")
        if name in METHODS and name != taken.method:
            name = f"{name} (given)"
        rows.setdefault(name, []).append(taken)
    for row, own in rows.items():
        if both := copied(t.draws.values.reshape(-1, len(t.draws.names)) for t in own):
            one, two = (own[i - 1].source for i in both)
            raise DrawsError(
                f"{row}: {one} and {two} have the same draws; a copy is no further seed"
            )
    return rows


def kept(reference: Sequence[Taken]) -> Path:
    """Keep the draws of a reference as a file, named by its content, for a comparison to read.

    Raises
    ------
    DrawsError
        If they are several fits, a point, or an approximation's.
    """
    if len(reference) > 1:
        raise DrawsError(f"{len(reference)} fits are no reference; give one")
    (taken,) = reference
    if taken.kind in NO_REFERENCE:
        raise DrawsError(f"{taken.source}: {NO_REFERENCE[taken.kind]}, and no reference")
    folder = stan.cache_dir() / "references"
    path = folder / f"{content_hash(taken.draws)[:24]}.nc"
    if path.is_file():
        used(path)
        return path
    folder.mkdir(parents=True, exist_ok=True)
    forget(folder)
    about = {"iid": taken.draws.iid, "taken_from": taken.source, "made_by": taken.kind}
    tree = to_datatree(taken.draws, about)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole = Path(scratch) / path.name
        tree.to_netcdf(whole, engine="h5netcdf")
        whole.replace(path)
    return path


def content_hash(draws: Draws) -> str:
    """Return a hash of everything that draws hold."""
    h = hashlib.sha256(repr((draws.names, draws.iid, draws.values.shape)).encode())
    parts = {"values": draws.values, "log_p": draws.log_p, "log_q": draws.log_q, **draws.stats}
    for name, array in parts.items():
        if array is not None:
            h.update(name.encode() + np.ascontiguousarray(array, dtype=np.float64).tobytes())
    return h.hexdigest()
