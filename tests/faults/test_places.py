"""Commands write into the folder they are told and into the cache, and nowhere else."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main

PROGRAM = "data { int N; vector[N] y; } parameters { real m; } model { y ~ normal(m, 1); }\n"


def tree(root: Path) -> dict[str, tuple[int, int]]:
    """Return every file and folder below a folder, with its size and the time it was changed."""
    found = {}
    for path in [root, *root.rglob("*")]:
        status = path.lstat()
        found[str(path)] = (0 if path.is_dir() else status.st_size, status.st_mtime_ns)
    return found


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that has all a user has: home, work, a cache, temporary files."""
    for name in ("home", "work", "cache", "temporary", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "work" / "m.stan").write_text(PROGRAM)
    (tmp_path / "work" / "m.json").write_text('{"N": 3, "y": [0.5, 1, 2.5]}')
    rows = "\n".join(f"{(i * 37 % 200) / 100}" for i in range(200))
    (tmp_path / "work" / "draws.csv").write_text(f"m,k\n{rows.replace(chr(10), ',1' + chr(10))},1")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    # Matplotlib keeps a list of the system's fonts of its own.
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv("CMDSTAN", raising=False)
    return tmp_path


def test_every_command_writes_where_it_is_told(root: Path) -> None:
    """A walk before and after each command finds nothing changed outside, and no litter."""
    out = root / "out"
    embedded = ("--engine", "embedded", "--methods", "laplace", "--jobs", "1", "-q")
    reference = ("--reference", "draws.csv", "--reference-iid")
    commands = (
        ("compare", "m.stan", "m.json", "--quick", "--methods", "laplace", "--jobs", "1", "-q",
         *reference, "--draws", "--out", out / "r", "--markdown", out / "m.md"),
        ("report", out / "r", "--markdown", out / "n.md"),
        ("league", out / "r", "--out", out / "league"),
        ("judge", "x=draws.csv", "--against", "draws.csv", "--reference-iid", "--out", out / "j"),
        ("baseline", "m.stan", "m.json", *embedded, *reference[:2], "--baselines", out / "b"),
        ("check", "--baselines", out / "b", "--jobs", "1", "-q", "--budget", "1",
         "--junit", out / "j.xml", "--markdown", out / "c.md"),
        ("models",),
        ("cache",),
        ("compare", "nothing.stan", "--out", out / "nothing"),
        ("compare", "m.stan", "--quick", "--out", out / "lacking"),
    )  # fmt: skip
    ours = tuple(str(root / name) for name in ("out", "cache", "temporary"))
    for words in commands:
        before = tree(root)
        result = CliRunner().invoke(main, [str(w) for w in words])
        said = (words, result.output, result.exception)
        assert result.exit_code in {0, 1, 2}, said
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        after = tree(root)
        assert not {
            path
            for path in {*before, *after}
            if before.get(path) != after.get(path) and not path.startswith(ours)
        }, said
        assert not list((root / "temporary").iterdir()), said
    for written in ("r/index.html", "m.md", "n.md", "league/index.html", "j/index.html", "b/m.json",
                    "j.xml", "c.md"):  # fmt: skip
        assert (out / written).is_file(), written
    assert not (out / "nothing").exists()
    assert not (out / "lacking").exists()
