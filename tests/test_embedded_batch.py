"""The C loop over a batch of the embedded engine, and what stands in for it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.stan import cache_dir
from harness.stan.density import Status
from harness.stan.embedded import EmbeddedModel, batch

PROGRAM = """
parameters { vector[2] x; }
model { if (x[1] > 1) reject("x is large"); x ~ normal(0, 1); }
"""

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "cc"))), reason="there is no compiler"
)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Use an empty cache and look for the loop again, before and after."""
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    batch.c_loop.cache_clear()
    yield tmp_path
    batch.c_loop.cache_clear()


def model(folder: Path) -> EmbeddedModel:
    """Return the program in the engine."""
    file = folder / "program.stan"
    file.write_text(PROGRAM, encoding="utf-8")
    return EmbeddedModel(file)


def built() -> list[Path]:
    """Return the loop's libraries in the cache."""
    return list((cache_dir() / "embedded").glob("*"))


@needs_compiler
@pytest.mark.parametrize("n", [0, 1, 2, 400, 2 * batch.AT_ONCE + 1])
def test_the_loop_gives_what_pythons_gives(n: int, fresh: Path) -> None:
    """Values, gradients, rejected points and their message are the same to the last bit."""
    assert batch.c_loop() is not None
    z = np.random.default_rng(1).normal(size=(n, 2))
    z[:1] = 0.5
    z[-1:] = 2.0
    density = model(fresh)
    found = density.log_density_gradient(z)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "c_loop", lambda: None)
        wanted = density.log_density_gradient(z)
        values = density.log_density(z).value
    assert found.gradient is not None
    assert wanted.gradient is not None
    np.testing.assert_array_equal(found.value, wanted.value)
    np.testing.assert_array_equal(density.log_density(z).value, values)
    np.testing.assert_array_equal(found.gradient, wanted.gradient)
    np.testing.assert_array_equal(found.status, wanted.status)
    assert found.message == wanted.message
    assert (found.status == Status.REJECT).tolist() == (z[:, 0] > 1).tolist()


@needs_compiler
def test_the_loop_is_built_once_and_a_damaged_one_again(fresh: Path) -> None:
    """A truncated library, which would end the process, is not opened."""
    del fresh
    assert batch.c_loop() is not None
    (library,) = built()
    before = library.stat().st_mtime_ns
    batch.c_loop.cache_clear()
    assert batch.c_loop() is not None
    assert library.stat().st_mtime_ns == before
    # Another file under the same name: the open one is still mapped.
    whole = library.read_bytes()
    library.unlink()
    library.write_bytes(whole[:100])
    batch.c_loop.cache_clear()
    assert batch.c_loop() is not None
    assert library.read_bytes() == whole


@pytest.mark.parametrize("lacking", ["compiler", "works", "cache"])
def test_without_the_loop_batches_go_on(
    lacking: str, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No compiler, one that fails, or a cache that cannot be made: Python's loop is used."""
    if lacking == "compiler":
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", str(fresh))
    elif lacking == "works":
        monkeypatch.setenv("CXX", "false")
    else:
        (fresh / "file").touch()
        monkeypatch.setenv("HARNESS_CACHE", str(fresh / "file" / "cache"))
    assert batch.c_loop() is None
    found = model(fresh).log_density_gradient([[0.0, 1.0], [2.0, 0.0]])
    assert found.value.tolist() == [-0.5, -np.inf]
    assert found.status.tolist() == [Status.OK, Status.REJECT]
