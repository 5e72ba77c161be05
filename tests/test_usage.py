"""What is left on disk: a report without its draws, and a cache that is shown, limited, cleared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import cli
from harness.models.data import write_data
from harness.report import files
from harness.stan import embedded, usage

DAY = 86_400.0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache of three runs, 1, 2 and 3 days old, a program, data, a lock and a CmdStan."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HARNESS_CACHE", str(folder))
    for name, size, age in (
        ("results/aa/aa1/arrays.bin", 3000, 1),
        ("results/bb/bb1/arrays.bin", 2000, 3),
        ("results/memo/cc1.json", 1000, 2),
        ("programs/p-1/p", 5000, 10),
        ("data/d1.json", 100, 0),
        ("cmdstan/cmdstan-2.27.0/bin", 50_000, 100),
        ("locks/p.lock", 0, 1),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        _used(path, age)
        _used(path.parent, age)
    return folder


def _used(path: Path, days: float) -> None:
    """Let a file or folder be used last some days ago."""
    then = path.stat().st_ctime - days * DAY
    os.utime(path, (then, then))


def invoke(*words: str) -> tuple[int, str]:
    """Run a command in process; return its exit code and everything it printed."""
    done = CliRunner().invoke(cli.main, list(words))
    return done.exit_code, done.output


def names(cache: Path) -> set[str]:
    """Return the files of the cache, without their folders."""
    return {p.name for p in cache.rglob("*") if p.is_file()}


def test_the_cache_is_shown_by_kind(cache: Path) -> None:
    """Each kind with its size and number of entries; locks are none."""
    code, said = invoke("cache")
    assert (code, f"{cache}: 61.1 kB" in said) == (0, True)
    rows = {line.split()[0]: line.split()[1:5] for line in said.splitlines()[1:]}
    assert rows["results"] == ["6.0", "kB", "3", "entries"]
    assert rows["programs"] == ["5.0", "kB", "1", "entry"]
    assert "locks" not in rows


def test_the_least_recently_used_go_first(cache: Path) -> None:
    """Until the rest is small enough; CmdStan is neither counted nor removed."""
    code, said = invoke("cache", "--keep", "4.5 kB")
    assert (code, said.splitlines()[0]) == (0, "removed 2 entries, 7.0 kB")
    assert names(cache) == {"arrays.bin", "cc1.json", "d1.json", "bin", "p.lock"}
    assert not (cache / "results/bb/bb1").exists()


def test_what_was_just_used_is_never_removed(cache: Path) -> None:
    """A run that was read, and data of this hour, stay even where nothing may."""
    usage.used(cache / "results/bb/bb1")
    assert {e.path.name for e in usage.shrink(0)} == {"aa1", "cc1.json", "p-1"}
    assert names(cache) == {"arrays.bin", "d1.json", "bin", "p.lock"}


def test_one_kind_or_all_are_cleared(cache: Path) -> None:
    """CmdStan goes only by its name."""
    assert invoke("cache", "--clear", "data")[1].startswith("removed 1 entry, 0.1 kB")
    assert "d1.json" not in names(cache)
    assert invoke("cache", "--clear")[1].startswith("removed 4 entries, 11.0 kB")
    assert names(cache) == {"bin", "p.lock"}
    invoke("cache", "--clear", "cmdstan")
    assert names(cache) == {"p.lock"}


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--keep", "much"), "'much' is no size; allowed: 5GB"),
        (("--keep", "-1"), "is no size"),
        (("--keep", "5"), "'5' has no unit; write 5GB"),
        (("--keep", "nan"), "is no size"),
        (("--clear", "../x"), "no kind '../x' in the cache; there are all, bridge"),
        (("--keep", "1GB", "--clear", "data"), "exclude each other"),
    ],
)
def test_other_words_are_refused(cache: Path, words: tuple[str, ...], match: str) -> None:
    """With exit code 2, and nothing is removed."""
    before = names(cache)
    code, said = invoke("cache", *words)
    assert (code, match in said) == (2, True), said
    assert names(cache) == before


def test_a_link_out_of_the_cache_is_not_followed(cache: Path, tmp_path: Path) -> None:
    """Clearing removes the link, and leaves what it points to."""
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "thesis.tex").write_text("all of it")
    (cache / "data/link").symlink_to(outside)
    (cache / "elsewhere").symlink_to(outside)
    usage.clear()
    assert (outside / "thesis.tex").read_text() == "all of it"
    assert not (cache / "data/link").is_symlink()


@pytest.mark.usefixtures("cache")
def test_data_from_python_are_not_kept_for_ever() -> None:
    """What was not used for 30 days goes when other data come; what is used again stays."""
    old, again = write_data({"y": [1.0, 2.0]}), write_data({"y": [3.0]})
    for path in (old, again):
        _used(path, 31)
    assert write_data({"y": [3.0]}) == again
    newest = write_data({"y": [4.0]})
    assert not old.exists()
    assert again.exists()
    assert newest.exists()


PROGRAM = "parameters { vector[2] x; } model { x ~ normal(1, 2); }"


@pytest.mark.skipif(bool(embedded.available()), reason=embedded.available() or "-")
def test_a_report_is_small_and_is_drawn_again_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Draws are written only on demand; without them the cache has them, until it is cleared."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "my.stan").write_text(PROGRAM)
    out = tmp_path / "out"
    words = ["compare", str(tmp_path / "my.stan"), "--quick", "--methods", "dadvi,laplace"]
    words += ["--jobs", "1", "--quiet", "--out", str(out)]
    code, said = invoke(*words, "--draws")
    assert code == 0, said
    assert (out / "draws/my/laplace-1.nc").is_file()
    code, said = invoke(*words)
    assert code == 0, said
    assert not list(out.rglob("*.nc"))
    assert sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) < 1_000_000
    read = files.read(out)
    assert all(r.draws is None for m in read.models for r in m.runs)
    first = (out / "index.html").read_text(encoding="utf-8")
    code, said = invoke("report", str(out))
    assert code == 0, said
    again = (out / "index.html").read_text(encoding="utf-8")
    assert again.count("<svg") == first.count("<svg") > 0
    invoke("cache", "--clear", "results")
    code, said = invoke("report", str(out))
    assert code == 2
    assert "no longer in the cache" in said
    assert "--draws" in said
