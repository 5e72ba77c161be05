"""Every block of code in the pages is run by a test, or says why it is not."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from harness.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"(?ms)^(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$")

PROGRAM = """
data { int N; array[N] real y; }
parameters { real m; real<lower=0> s; }
model { m ~ normal(0, 5); s ~ normal(0, 5); y ~ normal(m, s); }
"""


class Block(NamedTuple):
    """A block of code: its page, what the comment above it says, its language and text."""

    page: str
    mark: str
    kind: str
    code: str


def blocks(page: str, text: str) -> list[Block]:
    """Return the blocks of a page."""
    return [Block(page, m["mark"] or "", m["kind"], m["code"]) for m in FENCE.finditer(text)]


BLOCKS = [
    block
    for path in PAGES
    for block in blocks(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
]
CODE = [block for block in BLOCKS if block.kind in {"python", "sh"}]
RUN_HERE = [block for block in CODE if not block.mark]


def wrong(block: Block) -> str | None:
    """Return what is wrong with a block's language or mark."""
    if block.kind not in {"python", "sh", "text", "toml", "yaml"}:
        return f"{block.page}: no language on {block.code[:40]!r}"
    kind, _, reason = block.mark.partition(": ")
    if not block.mark or block.kind not in {"python", "sh"}:
        return None
    named = re.findall(r"\btests/test_\w+\.py\b", block.mark)
    missing = [name for name in named if not (ROOT / name).is_file()]
    if missing:
        return f"{block.page}: there is no {missing[0]}"
    if match := re.fullmatch(r"run by (tests/test_\w+\.py)", block.mark):
        text = (ROOT / match[1]).read_text(encoding="utf-8")
        return None if Path(block.page).name in text else f"{match[1]} does not name {block.page}"
    if kind == "not run" and reason:
        return None
    return f"{block.page}: a mark says 'run by tests/…' or 'not run: why', not {block.mark!r}"


def test_every_block_has_its_language_and_is_run_or_says_why_not() -> None:
    """No block is bare; tests that are named exist, and name the page."""
    assert [said for said in map(wrong, BLOCKS) if said] == []
    assert {block.page for block in RUN_HERE} == {"docs/guide.md", "docs/gallery.md"}
    fences = sum(path.read_text(encoding="utf-8").count("\n```") for path in PAGES)
    assert fences == 2 * len(BLOCKS)


@pytest.mark.parametrize(
    ("mark", "kind", "said"),
    [
        ("", "", "no language"),
        ("not run", "sh", "a mark says"),
        ("not run: ", "sh", "a mark says"),
        ("run by tests/test_nothing.py", "python", "there is no tests/test_nothing.py"),
        ("run by tests/test_text.py", "python", "does not name docs/guide.md"),
    ],
)
def test_a_block_without_reason_is_found(mark: str, kind: str, said: str) -> None:
    """An empty reason, a test that there is not or that reads another page is no excuse."""
    comment = f"<!-- {mark} -->\n" if mark else ""
    (block,) = blocks("docs/guide.md", f"Text.\n\n{comment}```{kind}\nx\n```\n")
    assert said in str(wrong(block))


def commands() -> list[str]:
    """Return every harness command of the shell blocks, without its comment."""
    lines = [line for block in CODE if block.kind == "sh" for line in block.code.splitlines()]
    words = [line.partition(" #")[0].strip().removeprefix(".venv/bin/") for line in lines]
    return sorted({w for w in words if re.match(r"(stan-advi-)?harness ", w)})


@pytest.mark.parametrize("line", commands())
def test_the_command_line_knows_every_command(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of blocks that are not run: the harness itself parses subcommands and options."""
    monkeypatch.chdir(tmp_path)
    for folder in ("reports/one", "reports/two", "reports/lecture", "nuts", "../posteriordb"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    _, name, *words = shlex.split(line)
    for word in words:
        if word.endswith((".csv", ".nc", ".stan", ".json")) and not word.startswith("-"):
            Path(word.rpartition("=")[2]).touch()
    with click.Context(main) as parent:
        command = main.get_command(parent, name)
        assert command is not None
        command.make_context(name, words, parent=parent)


def test_make_has_every_target() -> None:
    """What the shell blocks make, the Makefile has."""
    shell = "\n".join(block.code for block in CODE if block.kind == "sh")
    targets = set(re.findall(r"(?m)^make ([\w-]+)", shell))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert targets <= set(re.findall(r"(?m)^([\w-]+):", makefile))


@pytest.mark.parametrize("block", RUN_HERE, ids=[f"{b.page}-{b.kind}" for b in RUN_HERE])
def test_a_block_runs(block: Block, tmp_path: Path) -> None:
    """In a fresh process, beside a small program of the reader's own and the committed report."""
    (tmp_path / "my.stan").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "my.json").write_text('{"N": 4, "y": [1.2, 0.3, 2.1, 1.7]}', encoding="utf-8")
    for name in ("eight_schools.stan", "eight_schools.json"):
        shutil.copy(ROOT / "docs" / name, tmp_path)
    sample = tmp_path / "reports" / "lecture"
    sample.parent.mkdir()
    sample.symlink_to(ROOT / "reports" / "lecture", target_is_directory=True)
    if block.kind == "python":
        script = [sys.executable, "-c", block.code]
    else:
        command = f'harness() {{ {shlex.quote(sys.executable)} -m harness "$@"; }}\n{block.code}'
        script = ["bash", "-euo", "pipefail", "-c", command]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout
