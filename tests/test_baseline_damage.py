"""Damaged baselines raise an error that names the file, the problem and the remedy."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from baseline_builders import figures, sampler, scattered, whole

from harness.check.baseline.file import dumps, read
from harness.check.baseline.form import BaselineError, Figure

OPTIONAL = {"spread", "margin", "why", "share", "error"}
"""Keys that a figure or a share may lack, or that are not read."""

NAMED = {"methods", "levels", "faults", "shares", "quantities", "source"}
"""Parts whose keys are names: one fewer is another baseline, which the check compares."""


def full() -> Any:
    """Return the plain content of a baseline in which everything occurs."""
    q = figures()
    q["q95"] = replace(q["q95"], spread=0.1, margin=0.3)
    q["sd"] = replace(q["sd"], why="tails too heavy")
    methods = {
        "nuts": sampler(quantities={"x": q, "y": figures()}, faults={"bias": 1}, causes=("a b",)),
        "meanfield": scattered(3),
    }
    return json.loads(dumps(whole(methods)))


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every inner value with its address."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in inner:
        yield (*path, key), part
        if isinstance(part, (dict, list)):
            yield from parts(part, (*path, key))


def edited(path: tuple[Any, ...], value: Any = None, *, remove: bool = False) -> str:
    """Return the text of a baseline with one part replaced or removed."""
    raw = copy.deepcopy(full())
    at = raw
    for key in path[:-1]:
        at = at[key]
    if remove:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return json.dumps(raw)


def refused(folder: Path, text: str | bytes) -> str:
    """Read a text as a baseline, which must fail; return the message without the path."""
    path = folder / "m.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BaselineError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "write it again with `harness baseline`" in message
    return message.replace(str(path), "")


def test_the_whole_one_is_read(tmp_path: Path) -> None:
    """The baseline that the other tests damage is valid."""
    path = tmp_path / "m.json"
    path.write_text(json.dumps(full()), encoding="utf-8")
    assert set(read(path).methods) == {"nuts", "meanfield"}


def test_no_part_of_a_file_is_a_baseline(tmp_path: Path) -> None:
    """Cut short anywhere, it is refused."""
    text = dumps(whole())
    for end in (*range(0, len(text) - 1, 7), len(text) - 3, len(text) - 2):
        assert "not JSON" in refused(tmp_path, text[:end])


def _required() -> list[tuple[Any, ...]]:
    found = []
    for path, _ in parts(full()):
        parent = path[-2] if len(path) > 1 else ""
        free = {"request", "program", "data", "written", "reference"} & {*path[:-1]}
        named = parent in NAMED | {"options"}
        if isinstance(path[-1], str) and path[-1] not in OPTIONAL and not free and not named:
            found.append(path)
    return found


@pytest.mark.parametrize("path", _required(), ids=lambda p: "/".join(map(str, p)))
def test_a_missing_key_is_refused_and_named(tmp_path: Path, path: tuple[Any, ...]) -> None:
    """A baseline that lacks anything is none."""
    message = refused(tmp_path, edited(path, remove=True))
    assert f"{path[-1]!r} is missing" in message or path == ("schema",)


def _leaves(kind: type) -> list[tuple[Any, ...]]:
    free = {"written", "reference", "options", "program", "data", "share", "error", "hash"}
    return [
        path
        for path, value in parts(full())
        if type(value) is kind and not free & {*path} and path[:1] != ("schema",)
    ]


@pytest.mark.parametrize("path", _leaves(int) + _leaves(float), ids=lambda p: "/".join(map(str, p)))
def test_a_text_where_a_number_should_stand_is_refused(
    tmp_path: Path, path: tuple[Any, ...]
) -> None:
    """Even one that looks like a number, or that is true."""
    texts: tuple[Any, ...] = ("7", "", True, [1], {}, "NaN")
    for wrong in texts:
        assert "input should be" in refused(tmp_path, edited(path, wrong))


@pytest.mark.parametrize("path", _leaves(str), ids=lambda p: "/".join(map(str, p)))
def test_a_number_where_a_text_should_stand_is_refused(
    tmp_path: Path, path: tuple[Any, ...]
) -> None:
    """A level, a reason, a cause, a fingerprint and a path are texts."""
    numbers: tuple[Any, ...] = (7, ["a"], {})
    for wrong in numbers:
        if path[:2] != ("request", "reference"):
            assert "damaged" in refused(tmp_path, edited(path, wrong))


@pytest.mark.parametrize(
    "path",
    [p for p, v in parts(full()) if isinstance(v, (dict, list)) and "options" not in p],
    ids=lambda p: "/".join(map(str, p)),
)
def test_another_shape_is_refused(tmp_path: Path, path: tuple[Any, ...]) -> None:
    """An object is not read as a list, nor a list as an object, nor a text or null as either."""
    was = dict(parts(full()))[path]
    other: Any = [] if isinstance(was, dict) else {}
    wrong = [other, "abc", 3]
    if path != ("request", "methods"):
        wrong.append(None)
    for value in wrong:
        assert "damaged" in refused(tmp_path, edited(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("methods", "nuts", "kind"), "chain"),
        (("methods", "nuts", "level"), "good"),
        (("methods", "nuts", "levels"), {"good": 2}),
        (("methods", "nuts", "quantities"), {}),
        (("methods", "nuts", "no_moments"), "why"),
        (("methods", "nuts", "fingerprints"), ["0a"]),
        (("methods", "nuts", "seeds", 0), 1.5),
        (("methods", "nuts", "seeds", 0), -1),
        (("methods", "nuts", "seeds", 0), 2),
        (("methods", "meanfield", "seeds"), []),
        (("methods", "nuts", "kept"), -1),
        (("methods", "nuts", "kept"), 3),
        (("methods", "nuts", "draws"), 1e3),
        (("methods", "meanfield", "shares", "ran_away", "count"), 11),
        (("methods", "meanfield", "shares", "ran_away", "of"), -1),
        (("methods", "nuts", "quantities", "x", "sd", "value"), -0.1),
        (("methods", "nuts", "quantities", "x", "mean", "mcse"), -0.1),
        (("methods", "nuts", "quantities", "x", "mean", "ess"), -1),
        (("methods", "nuts", "quantities", "x", "q95", "spread"), -1),
        (("methods", "nuts", "quantities", "x", "q95", "margin"), -1),
        (("methods", "nuts", "quantities", "x", "q95", "margin"), 10**400),
        (("program", "text"), [1]),
        (("data", "variables", "N"), 3),
        (("request", "seeds"), "ten"),
        (("request", "methods"), "nuts"),
        (("request", "quantities"), "x"),
        (("request", "source"), "mixture"),
        (("request", "source"), {"program": 3}),
    ],
)
def test_nonsense_is_refused(tmp_path: Path, path: tuple[Any, ...], value: Any) -> None:
    """Values that no baseline has, and parts that contradict each other."""
    assert "damaged" in refused(tmp_path, edited(path, value))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_what_is_no_number_in_json_is_refused(tmp_path: Path, number: str) -> None:
    """NaN in a file is damage: the harness writes null, and an infinite margin excuses all."""
    for old in (
        '"value": -1.6449',
        '"mcse": 0.01',
        '"ess": 10000',
        '"count": 0',
    ):
        text = dumps(whole())
        assert old in text
        refused(tmp_path, text.replace(old, f"{old.split(':')[0]}: {number}"))


def test_nan_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    """Among options too, which may hold anything else."""
    text = dumps(whole())
    for old in ('"samples": 1000', '"trusted": true', '"size": 1', '"date": "2026-11-21"'):
        assert old in text
        message = refused(tmp_path, text.replace(old, f"{old.split(':')[0]}: NaN"))
        assert "NaN is not a number" in message


@pytest.mark.parametrize("schema", ["0", "2", '"1"', "null", "true", "[1]", "1.5"])
def test_another_schema_is_refused_and_named(tmp_path: Path, schema: str) -> None:
    """Baselines of an older or a newer harness are not guessed at."""
    message = refused(tmp_path, dumps(whole()).replace('"schema": 1', f'"schema": {schema}'))
    assert f"has schema {json.loads(schema)!r}, this harness reads 1" in message


@pytest.mark.parametrize("text", ["[]", "3", "null", '"schema"', "{}"])
def test_json_that_is_no_baseline_has_no_schema(tmp_path: Path, text: str) -> None:
    """It is refused for that."""
    assert "has schema None" in refused(tmp_path, text)


def test_a_merge_conflict_is_refused(tmp_path: Path) -> None:
    """Conflict markers are not JSON, and the message mentions merge conflicts."""
    line = '          "mean": {"value": 0.0, "mcse": 0.01, "ess": 10000},\n'
    text = dumps(whole())
    assert line in text
    both = f"<<<<<<< HEAD\n{line}=======\n{line}>>>>>>> other\n"
    assert "perhaps a merge conflict" in refused(tmp_path, text.replace(line, both))


def test_a_merge_that_kept_both_sides_is_refused(tmp_path: Path) -> None:
    """JSON itself would take the last of two figures of one name in silence."""
    line = '          "mean": {"value": 0.0, "mcse": 0.01, "ess": 10000},\n'
    other = line.replace("0.0,", "0.5,")
    assert "'mean' stands twice" in refused(tmp_path, dumps(whole()).replace(line, line + other))


@pytest.mark.parametrize(
    "content",
    [b"", b" \n", b"\xff\xfe\x00", b"\xef\xbb\xbf{}", b"[" * 100_000, b"{" + b'"a":' * 9,
     b'{"schema": ' + b"1" * 5000 + b"}", b"\x00" * 100],
)  # fmt: skip
def test_bytes_that_are_no_json_are_refused(tmp_path: Path, content: bytes) -> None:
    """Empty, binary, or nested without end."""
    assert "is not JSON" in refused(tmp_path, content)


def test_a_file_that_is_not_there_or_is_a_folder_is_refused(tmp_path: Path) -> None:
    """The system's words are in the message."""
    with pytest.raises(BaselineError, match=r"cannot read .*no\.json: No such file.*write it"):
        read(tmp_path / "no.json")
    with pytest.raises(BaselineError, match=r"cannot read .*: Is a directory.*write it"):
        read(tmp_path)


def test_null_is_not_a_number_and_not_zero(tmp_path: Path) -> None:
    """An unknown figure is read as NaN, in each of its parts."""
    path = tmp_path / "m.json"
    for part in ("value", "mcse", "ess"):
        text = edited(("methods", "nuts", "quantities", "x", "mean", part), None)
        path.write_text(text, encoding="utf-8")
        figure = read(path).methods["nuts"].quantities["x"]["mean"]
        assert isinstance(figure, Figure)
        found = getattr(figure, part)
        assert found != found  # noqa: PLR0124 - only NaN differs from itself
