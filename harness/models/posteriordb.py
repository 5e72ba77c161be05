"""Posteriors of a posteriordb on disk: programs, data and reference draws with recorded checks.

The layout is that of https://github.com/stan-dev/posteriordb (Magnusson et al. 2024).
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

from harness.models.data import ModelError, publish
from harness.models.folders import user_model
from harness.records import Model
from harness.records.text import count, listed
from harness.records.untrusted import (
    MOST_TEXT,
    file_name,
    inside,
    is_file,
    parse_json,
    read_bytes,
    unpacked,
)

PREFIX = "posteriordb:"
"""Marks a name or a pattern of names on the command line."""

_WITHIN = "posterior_database"
_NEAR = 3
_LONGEST = 1000


def database(path: Path) -> Path:
    """Return the folder of the database: the one given, or the one in a checkout of its repository.

    Raises
    ------
    ModelError
        If there is none.
    """
    for folder in (path, path / _WITHIN):
        if (folder / "posteriors").is_dir():
            return folder
    raise ModelError(
        f"{path} is no posteriordb: it has no folder posteriors/, nor has {_WITHIN}/ in it"
    )


def names(root: Path, pattern: str = "*") -> list[str]:
    """Return the names of the posteriors that a name or a pattern with ``*`` and ``?`` means.

    Raises
    ------
    ModelError
        If there is none; it says which are near.
    """
    known = sorted(p.stem for p in (root / "posteriors").glob("*.json"))
    found = fnmatch.filter(known, pattern)
    if not found:
        near = difflib.get_close_matches(pattern, known, n=_NEAR)
        hint = f"did you mean {listed(near, _NEAR)}?" if near else f"it has {listed(known, 20)}"
        raise ModelError(f"posteriordb has no posterior {pattern!r}: {hint}")
    return found


def load(root: Path, name: str) -> Model:
    """Read one posterior.

    Its reference draws are taken if all checks that are recorded of them were passed. Otherwise the
    model's notes say why they are not, and there is no supplied reference.

    Raises
    ------
    ModelError
        If the posterior, its program or its data cannot be read.
    """
    about = _record(root / "posteriors" / f"{name}.json")
    model_name, data_name = _text(about, "model_name", name), _text(about, "data_name", name)
    info = _record(root / "models" / "info" / f"{model_name}.info.json")
    code = _code(info) or f"models/stan/{model_name}.stan"
    described = _record(root / "data" / "info" / f"{data_name}.info.json")
    data = _inside(root, str(described.get("data_file", f"data/data/{data_name}.json")))
    program = _inside(root, code)
    if not is_file(program):
        raise ModelError(f"{name}: posteriordb has no Stan program {code}")
    draws, note = _reference(root, about)
    found = user_model(program, _unpacked(data))
    return Model(
        name=name,
        title=str(info.get("title") or name),
        stan_file=found.stan_file,
        data_file=found.data_file,
        source="posteriordb",
        draws_file=draws,
        notes=(note,) if note else (),
    )


def _inside(root: Path, name: str) -> Path:
    """Return a file of the database; a record that names one elsewhere is refused."""
    if len(name) > _LONGEST:
        raise ModelError(f"posteriordb: a name of {len(name)} characters; allowed: {_LONGEST}")
    try:
        return inside(root / name, root)
    except (OSError, ValueError) as error:
        raise ModelError(f"posteriordb: {error}") from error


def _code(info: dict[str, Any]) -> str:
    """Return where the Stan program is; the record has changed its form once."""
    now, before = info.get("model_implementations"), info.get("model_code")
    stan = now.get("stan") if isinstance(now, dict) else None
    found = stan.get("model_code") if isinstance(stan, dict) else None
    if found is None and isinstance(before, dict):
        found = before.get("stan")
    return found if isinstance(found, str) else ""


def _record(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(read_bytes(path, MOST_TEXT))
    except (OSError, ValueError) as error:
        raise ModelError(f"posteriordb: cannot read {path}: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"posteriordb: {path} holds no JSON object")
    return found


def _text(record: dict[str, Any], key: str, name: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value:
        raise ModelError(f"{name}: its record in posteriordb has no {key}")
    try:
        return file_name(value)
    except ValueError as error:
        raise ModelError(f"{name}: {key} in posteriordb: {error}") from error


_UNREADABLE = (OSError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError)
"""What a damaged archive raises, and one that is encrypted or packed in a way unknown to Python."""


def _unpacked(data: Path) -> Path:
    """Return data as plain JSON; what is zipped is unpacked into the cache."""
    if is_file(data) and data.suffix != ".zip":
        return data
    packed = data if data.suffix == ".zip" else data.with_name(f"{data.name}.zip")
    try:
        content = read_bytes(packed)
        with zipfile.ZipFile(packed) as archive:
            names_inside = [n for n in archive.namelist() if n.endswith(".json")]
            if len(names_inside) != 1:
                many = len(names_inside)
                raise ModelError(f"posteriordb: {packed} holds {many} JSON files, not one")
            text = unpacked(archive, names_inside[0]).decode("utf-8")
    except ModelError:
        raise
    except _UNREADABLE as error:
        raise ModelError(f"posteriordb: cannot read the data {packed}: {error}") from error
    return publish(hashlib.sha256(content).hexdigest()[:24], text)


def _reference(root: Path, about: dict[str, Any]) -> tuple[Path | None, str]:
    """Return the file of the reference draws, or None and the reason."""
    name = about.get("reference_posterior_name")
    if not isinstance(name, str) or not name:
        return None, "posteriordb has no reference draws of it"
    folder = root / "reference_posteriors" / "draws"
    files = (folder / "draws" / f"{name}.json.zip", folder / "draws" / f"{name}.json")
    draws = next((path for path in files if is_file(path) and _inside(root, str(path))), None)
    if draws is None:
        return None, f"posteriordb's reference draws are not there: {files[0].name}"
    try:
        checks = _record(folder / "info" / f"{name}.info.json").get("checks_made")
    except ModelError as error:
        return None, f"posteriordb's reference draws are not used: {error}"
    if not isinstance(checks, dict) or not checks:
        return None, "posteriordb's reference draws are not used: no checks of them are recorded"
    broken = [check for check, passed in checks.items() if not _passed(passed)]
    if broken:
        which = f"{count(len(broken), 'recorded check')} not passed: {listed(broken, len(broken))}"
        return None, f"posteriordb's reference draws are not used: {which}"
    return draws, ""


def _passed(value: object) -> bool:
    """Tell whether a check was passed; some are lists, with a value for each quantity."""
    if isinstance(value, list):
        return bool(value) and all(_passed(v) for v in value)
    return value is True
