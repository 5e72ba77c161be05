"""Bad input at random: every reader refuses in one line, or takes it; nothing else.

``python benchmarks/fuzz.py [--inputs N] [--seed S] [--only READER]``. Each input is a whole file or
command line with a few random edits: bytes flipped, cut or repeated, values of JSON and TOML
replaced by odd ones. An input fails where anything but the reader's own error is raised, where the
error has several lines or characters that move a terminal's cursor, and where reading takes over
ten seconds. What failed is printed with its seed, which alone makes the same input again.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.check.baseline.file import read as read_baseline
from harness.check.baseline.form import BaselineError
from harness.intake import DrawsError, read_draws_files
from harness.methods import METHODS
from harness.methods.options import from_words
from harness.methods.settings import OptionError
from harness.models import folders, posteriordb
from harness.models.data import ModelError, read_data
from harness.records.text import visible
from harness.report import files
from harness.report.files import ResultsError
from harness.report.html import fragment
from harness.report.league import entries_of
from harness.report.markdown import markdown
from harness.report.terminal import verdicts_text

PROGRAM = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }\n"
DATA = {"N": 3, "y": [1.5, -2, 1e3], "z": [[1, 2], [3, 4]]}
TOML = """title = "A model"
lesson = "words"
quantities = ["m"]
methods = ["dadvi"]
[settings.meanfield]
seeds = 3
draws = 1000
iter = 20000
[limits.bias]
close = 0.05
wrong = 0.25
[[claims]]
text = "it holds"
figure = { method = "meanfield", metric = "bias", quantity = "m", over = "worst" }
expect = { at_most = 0.1 }
"""
CSV = "# method = sample (Default)\nlp__,m,b.1,b.2\n" + "".join(
    f"{-i / 7},{i},{i / 3},{-i}\n" for i in range(40)
)
POSTERIOR = {"model_name": "m", "data_name": "d", "reference_posterior_name": None}

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 3, 1e308, -0.0, math.nan, math.inf, 10**30, 10**400, "", "a", "NaN",
    "../../../evil", ".bashrc", "/etc/passwd", "a\x1b[2Jb", "\u202etxt", "x" * 300, "\ud800", "\0",
    [], [[]], [None], {}, {"": None}, {"a": [1]}, [[[[[[1]]]]]], "1", "2026-01-01", [1, "a"],
)  # fmt: skip
"""Values that stand where others are expected."""

WORDS = (
    "nan", "inf", "-inf", "-1", "0", "1e9", "1e999", "9" * 5000, "", " ", "true", "a", "1_0", "0x1",
    "\u0661", "1.5", "[1]", "{}", "\u202e1", "\x1b[31m", "None", "--", "=", "1e-320",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """What reads one kind of input: makes an input into a folder, and reads it there."""

    make: Callable[[random.Random, Path], None]
    read: Callable[[Path], object]
    error: type[Exception]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of plain values with each of its keys."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        yield value, key
        if isinstance(part, dict | list):
            yield from places(part)


def edited(rng: random.Random, plain: Any) -> Any:
    """Return plain values with one to three of them replaced, removed or moved."""
    found = copy.deepcopy(plain)
    for _ in range(rng.randint(1, 3)):
        spots = list(places(found))
        if not spots:
            break
        where, key = rng.choice(spots)
        what = rng.random()
        if what < 0.6:  # noqa: PLR2004 - most edits replace a value
            where[key] = copy.deepcopy(rng.choice(ODD))
        elif what < 0.8:  # noqa: PLR2004
            del where[key]
        else:
            other, at = rng.choice(spots)
            where[key] = copy.deepcopy(other[at]) if _has(other, at) else None
    return found


def _has(where: Any, key: Any) -> bool:
    return key in where if isinstance(where, dict) else key < len(where)


def damaged(rng: random.Random, content: bytes) -> bytes:
    """Return bytes with one to four edits: flipped, cut, repeated, replaced by odd ones."""
    found = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not found:
            break
        a = rng.randrange(len(found))
        b = min(len(found), a + rng.choice((1, 2, 8, 64)))
        what = rng.randrange(6)
        if what == 0:
            found[a] ^= 1 << rng.randrange(8)
        elif what == 1:
            del found[a:b]
        elif what == 2:  # noqa: PLR2004
            found[a:a] = found[a:b] * rng.choice((1, 3, 50))
        elif what == 3:  # noqa: PLR2004
            del found[a:]
        elif what == 4:  # noqa: PLR2004
            found[a:b] = rng.choice((b"\xff", b"\0", b"NaN", b"9" * 5000, b"[" * 3000, b'"', b"\n"))
        else:
            found[a:b] = rng.choice(WORDS).encode()
    return bytes(found)


def _text(rng: random.Random, plain: Any) -> bytes:
    """Return JSON: of edited values, or damaged as bytes."""
    if rng.random() < 0.6:  # noqa: PLR2004
        return json.dumps(edited(rng, plain)).encode()
    return damaged(rng, json.dumps(plain).encode())


# --- the readers -----------------------------------------------------------------------------


def _data() -> Reader:
    def make(rng: random.Random, folder: Path) -> None:
        (folder / "d.json").write_bytes(_text(rng, DATA))

    return Reader(make, lambda folder: read_data(folder / "d.json"), ModelError)


def _toml() -> Reader:
    def make(rng: random.Random, folder: Path) -> None:
        inside = folder / "m"
        inside.mkdir(exist_ok=True)
        (inside / "m.stan").write_text(PROGRAM)
        lines = TOML.splitlines(keepends=True)
        for _ in range(rng.randint(1, 2)):
            i = rng.randrange(len(lines))
            name, equals, _ = lines[i].partition(" = ")
            if equals and rng.random() < 0.7:  # noqa: PLR2004
                value = rng.choice((*WORDS, '"a"', "[]", '["a"]', "{}", '"../x"', "1979-05-27"))
                lines[i] = f"{name} = {value}\n"
            else:
                lines.insert(rng.randrange(len(lines)), lines.pop(i))
        content = "".join(lines).encode()
        if rng.random() < 0.4:  # noqa: PLR2004
            content = damaged(rng, content)
        (inside / "model.toml").write_bytes(content)

    return Reader(make, lambda folder: folders.load(str(folder / "m")), ModelError)


def _options() -> Reader:
    options = [f"{name}.{o}" for name, row in METHODS.items() for o in row.options.allowed()]

    def make(rng: random.Random, folder: Path) -> None:
        left = rng.choice(options) if rng.random() < 0.9 else rng.choice(WORDS)  # noqa: PLR2004
        word = f"{left}={rng.choice(WORDS)}"
        if rng.random() < 0.2:  # noqa: PLR2004
            word = damaged(rng, word.encode()).decode(errors="replace")
        (folder / "word").write_text(word, encoding="utf-8", errors="surrogatepass")

    def read(folder: Path) -> object:
        return from_words([(folder / "word").read_text(encoding="utf-8")])

    return Reader(make, read, OptionError)


def _baseline(plain: Any) -> Reader:
    def make(rng: random.Random, folder: Path) -> None:
        (folder / "b.json").write_bytes(_text(rng, plain))

    return Reader(make, lambda folder: read_baseline(folder / "b.json"), BaselineError)


def _draws(name: str, content: bytes) -> Reader:
    def make(rng: random.Random, folder: Path) -> None:
        (folder / name).write_bytes(damaged(rng, content))

    def read(folder: Path) -> object:
        return read_draws_files(str(folder / name), role="approximation")

    return Reader(make, read, DrawsError)


def _json_draws() -> Reader:
    chains = [{"m": [1.0, 2.0, 3.0], "b[1]": [1, 2, 3]} for _ in range(2)]

    def make(rng: random.Random, folder: Path) -> None:
        (folder / "r.json").write_bytes(_text(rng, chains))

    return Reader(make, lambda folder: read_draws_files(str(folder / "r.json")), DrawsError)


def _posterior() -> Reader:
    def make(rng: random.Random, folder: Path) -> None:
        for part in ("posteriors", "models/info", "models/stan", "data/info", "data/data"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "models/stan/m.stan").write_text(PROGRAM)
        (folder / "data/data/d.json").write_text(json.dumps(DATA))
        records = {
            "posteriors/p.json": POSTERIOR,
            "models/info/m.info.json": {
                "title": "M",
                "model_implementations": {"stan": {"model_code": "models/stan/m.stan"}},
            },
            "data/info/d.info.json": {"data_file": "data/data/d.json"},
        }  # fmt: skip
        chosen = rng.choice(list(records))
        for name, plain in records.items():
            content = _text(rng, plain) if name == chosen else json.dumps(plain).encode()
            (folder / name).write_bytes(content)

    return Reader(make, lambda folder: posteriordb.load(folder, "p"), ModelError)


def _results(whole: Path) -> Reader:
    """Read a results folder and write all that is made of it, figures left out."""
    plain = json.loads((whole / "results.json").read_text(encoding="utf-8"))

    def make(rng: random.Random, folder: Path) -> None:
        for path in whole.iterdir():
            if path.suffix == ".csv":
                shutil.copy(path, folder)
        (folder / "results.json").write_bytes(_text(rng, plain))

    def read(folder: Path) -> object:
        found = files.read(folder)
        return (
            markdown(found), verdicts_text(found), fragment(found), entries_of(found, folder.name)
        )  # fmt: skip

    return Reader(make, read, ResultsError)


def readers(
    baseline: Any = None, results: Path | None = None, netcdf: bytes = b""
) -> Mapping[str, Reader]:
    """Return the readers by name; some need a whole file to damage."""
    found = {
        "data": _data(),
        "model.toml": _toml(),
        "options": _options(),
        "posteriordb": _posterior(),
        "csv": _draws("r.csv", CSV.encode()),
        "table": _draws("t.csv", CSV.partition("\n")[2].replace("lp__,", "k,").encode()),
        "json draws": _json_draws(),
    }
    found |= {"baseline": _baseline(baseline)} if baseline is not None else {}
    found |= {"results": _results(results)} if results is not None else {}
    found |= {"netcdf": _draws("r.nc", netcdf)} if netcdf else {}
    return found


# --- the loop --------------------------------------------------------------------------------


LIMIT_S = 10
"""Seconds after which the reading of an input counts as one that never ends."""


def fault(reader: Reader, seed: str, folder: Path) -> str:
    """Read one input; return what is wrong with how it was read or refused, empty if nothing is."""
    late: list[str] = []

    def end(*_: object) -> None:
        late.append(f"reading took over {LIMIT_S} s")
        raise TimeoutError(late[0])

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        said = _refusal(reader, seed, folder)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return late[0] if late else said


def _refusal(reader: Reader, seed: str, folder: Path) -> str:
    reader.make(random.Random(seed), folder)  # noqa: S311 - no secret
    before = _tree(folder.parent, folder)
    try:
        reader.read(folder)
    except reader.error as error:
        said = visible(str(error))
        if not said.strip() or "\n" in said.strip():
            return f"not one line: {said!a:.200}"
        if any(not c.isprintable() and c not in "\t\u202f" for c in said):
            return f"moves the terminal: {said!a:.200}"
        if len(said) > 2000:  # noqa: PLR2004 - as on a screen
            return f"{len(said)} characters: {said!a:.100}"
    except Exception as error:  # noqa: BLE001 - what is looked for
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        at = "" if where is None else f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
        return f"{type(error).__name__} at {at}: {str(error)!a:.150}"
    return "wrote outside its folder" if _tree(folder.parent, folder) != before else ""


def _tree(root: Path, less: Path) -> set[str]:
    return {str(p) for p in root.iterdir() if p != less}


def loop(found: Mapping[str, Reader], inputs: int, seed: int) -> Counter[str]:
    """Read inputs, each reader in turn; print and count what failed, by reader and fault."""
    faults: Counter[str] = Counter()
    names = list(found)
    with tempfile.TemporaryDirectory() as root:
        for i in range(inputs):
            name = names[i % len(names)]
            folder = Path(root) / "input"
            folder.mkdir()
            own = f"{seed}/{name}/{i}"
            if said := fault(found[name], own, folder):
                kind = f"{name}: {said[:90]}"
                faults[kind] += 1
                if faults[kind] == 1:
                    print(f"{own}: {said}")
            shutil.rmtree(folder)
    return faults


def main() -> None:
    """Run the loop and print how many inputs failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--results", type=Path, default=None, help="A results folder to damage.")
    args = parser.parse_args()
    baselines = sorted((Path(__file__).parents[1] / "baselines").glob("*.json"))
    plain = min((json.loads(p.read_text()) for p in baselines), key=lambda b: len(str(b)))
    plain_netcdf = netcdf()
    found = readers(plain, args.results, plain_netcdf)
    found = {name: r for name, r in found.items() if not args.only or args.only in name}
    start = time.process_time()
    faults = loop(found, args.inputs, args.seed)
    print(
        f"seed {args.seed}: {args.inputs} inputs of {', '.join(found)}; "
        f"{sum(faults.values())} failed in {len(faults)} ways; "
        f"{time.process_time() - start:.0f} CPU seconds"
    )
    raise SystemExit(1 if faults else 0)


def netcdf() -> bytes:
    """Return the bytes of a small NetCDF file of draws."""
    from harness.records import Draws
    from harness.report.files.netcdf import to_datatree

    draws = Draws(("a", "b[1]", "b[2]"), np.random.default_rng(1).normal(size=(2, 10, 3)))
    with tempfile.TemporaryDirectory() as root:
        path = Path(root) / "r.nc"
        to_datatree(draws).to_netcdf(path, engine="h5netcdf")
        return path.read_bytes()


if __name__ == "__main__":
    main()
