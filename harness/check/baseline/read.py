"""A baseline read from disk, whole or not at all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from harness.check.baseline.form import (
    SCHEMA,
    SUMMARIES,
    Baseline,
    BaselineError,
    Figure,
    Kind,
    MethodBaseline,
    Share,
)
from harness.records import Level

T = TypeVar("T")


def read(path: Path) -> Baseline:
    """Read a baseline.

    Raises
    ------
    BaselineError
        If it is not there, is damaged, or has another schema: never a baseline with gaps.
    """
    mend = "write it again with `harness baseline`"
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse)
    except OSError as error:
        msg = f"cannot read the baseline {path}: {error.strerror}; {mend}"
        raise BaselineError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not JSON ({error}); a merge gone wrong? {mend}"
        raise BaselineError(msg) from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if isinstance(schema, bool) or schema != SCHEMA:
        msg = f"{path} has schema {schema!r}, this harness reads {SCHEMA}; {mend}"
        raise BaselineError(msg)
    try:
        return Baseline(
            model=_text(raw["model"]),
            methods={name: _method(m) for name, m in _object(raw["methods"]).items()},
            reference=_object(raw["reference"]),
            request=_request(raw["request"]),
            program=_program(raw["program"]),
            data=_data(raw["data"]),
            written=_object(raw["written"]),
        )
    except KeyError as error:
        msg = f"{path} is damaged: {error} is missing; {mend}"
        raise BaselineError(msg) from error
    except (TypeError, ValueError) as error:
        msg = f"{path} is damaged ({error}); {mend}"
        raise BaselineError(msg) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: a merge that kept both sides."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        msg = f"{next(n for n in names if names.count(n) > 1)!r} stands twice"
        raise ValueError(msg)
    return found


def _refuse(constant: str) -> float:
    msg = f"{constant} is no number"
    raise ValueError(msg)


# --- a baseline's parts -----------------------------------------------------------------------


def _request(value: Any) -> dict[str, Any]:
    raw = _object(value)
    for name in ("methods", "quantities"):
        _optional(_texts, raw.get(name))
    _optional(_count, raw.get("seeds"))
    for part in _object(raw.get("source", {})).values():
        _optional(_text, part)
    return raw


def _program(value: Any) -> dict[str, Any]:
    raw = _object(value)
    _texts(raw.get("text", []))
    return raw


def _data(value: Any) -> dict[str, Any]:
    raw = _object(value)
    for variable in _object(raw.get("variables", {})).values():
        _object(variable)
    return raw


def _method(value: Any) -> MethodBaseline:
    raw = _object(value)
    made = MethodBaseline(
        kind=_word(raw["kind"], get_args(Kind)),
        seeds=tuple(_count(s) for s in _list(raw["seeds"])),
        draws=_count(raw["draws"]),
        kept=_count(raw["kept"]),
        options=_object(raw["options"]),
        level=_optional(_level, raw["level"]),
        typical=_optional(_level, raw["typical"]),
        levels={_level(k): _count(v) for k, v in _object(raw["levels"]).items()},
        causes=_texts(raw["causes"]),
        faults={k: _count(v) for k, v in _object(raw["faults"]).items()},
        shares={k: _share(v) for k, v in _object(raw["shares"]).items()},
        no_moments=_text(raw["no_moments"]),
        quantities={k: _figures(v) for k, v in _object(raw["quantities"]).items()},
        fingerprints=_texts(raw["fingerprints"]),
    )
    if not made.quantities and not made.no_moments:
        msg = "a method without quantities and without a reason"
        raise ValueError(msg)
    if made.quantities and made.no_moments:
        msg = "a method with quantities and with a reason to have none"
        raise ValueError(msg)
    if not made.seeds or len(set(made.seeds)) < len(made.seeds) or made.kept > len(made.seeds):
        msg = f"{made.kept} kept of the seeds {list(made.seeds)}"
        raise ValueError(msg)
    if len(made.fingerprints) not in {0, len(made.seeds)}:
        msg = f"{len(made.fingerprints)} fingerprints for {len(made.seeds)} seeds"
        raise ValueError(msg)
    return made


def _share(value: Any) -> Share:
    raw = _object(value)
    share = Share(_count(raw["count"]), _count(raw["of"]))
    if share.count > share.of:
        msg = f"{share.count} of {share.of} seeds"
        raise ValueError(msg)
    return share


def _figures(value: Any) -> dict[str, Figure]:
    raw = _object(value)
    figures = {what: _figure(_object(raw[what])) for what in SUMMARIES}
    if figures["sd"].value < 0:
        msg = f"an sd of {figures['sd'].value}"
        raise ValueError(msg)
    return figures


def _figure(raw: Mapping[str, Any]) -> Figure:
    return Figure(
        value=_number(raw["value"]),
        mcse=_size(raw["mcse"]),
        ess=_size(raw["ess"]),
        spread=None if "spread" not in raw else _size(raw["spread"]),
        margin=None if "margin" not in raw else _size(raw["margin"]),
        why=_text(raw.get("why", "")),
    )


# --- plain values -----------------------------------------------------------------------------


def _wrong(value: Any, wanted: str) -> TypeError:
    return TypeError(f"{value!r:.60} stands where {wanted} should")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(value, "an object")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(value, "a list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _wrong(value, "a text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(v) for v in _list(value))


def _optional(read_one: Callable[[Any], T], value: Any) -> T | None:
    return None if value is None else read_one(value)


def _word(value: Any, allowed: tuple[Any, ...]) -> Any:
    if value not in allowed:
        raise _wrong(value, f"one of {', '.join(allowed)}")
    return value


def _level(value: Any) -> Level:
    level: Level = _word(value, get_args(Level))
    return level


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(value, "a count")
    return value


def _number(value: Any) -> float:
    """Take a number; null is NaN, which no check calls the same."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, "a number")
    try:
        number = float(value)
    except OverflowError:  # whole numbers in JSON may be larger than any float
        number = math.inf
    if not math.isfinite(number):
        raise _wrong(value, "a finite number")
    return number


def _size(value: Any) -> float:
    """Take an error, a spread, a margin or a number of draws: none is negative."""
    number = _number(value)
    if number < 0:
        raise _wrong(value, "a size")
    return number
