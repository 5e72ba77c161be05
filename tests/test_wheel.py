"""What others install is the wheel, so it is built, installed and used like one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[1]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

SUITE = """
import numpy as np

def test_fit(posterior_regression):
    rng = np.random.default_rng({seed})
    posterior_regression.check(
        {{"mu": {mean} + rng.normal(size=(4, 2000)), "beta": rng.normal(size=(4, 2000, 2))}}
    )
"""

PROGRAM = """
data { int N; array[N] real y; }
parameters { real m; real<lower=0> s; }
model { m ~ normal(0, 5); s ~ normal(0, 5); y ~ normal(m, s); }
"""

Call = Callable[..., "subprocess.CompletedProcess[str]"]


def run(command: list[str], cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, install it into a fresh environment, return that one's commands."""
    folder = tmp_path_factory.mktemp("wheel")
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}

    def pip(python: Path | str, *arguments: str) -> None:
        options = ["--quiet", "--disable-pip-version-check"]
        done = run([str(python), "-m", "pip", *arguments, *options], ROOT, env)
        assert done.returncode == 0, done.stderr

    pip(sys.executable, "wheel", ".", "--no-deps", "--wheel-dir", str(folder))
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    found = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip(found / "python", "install", "--constraint", "constraints.txt", str(wheel), "pytest")
    return found


@pytest.fixture
def call(scripts: Path, tmp_path: Path) -> Call:
    """Return what runs an installed command where there is no repository, CmdStan or compiler."""
    folder = tmp_path / "project"
    folder.mkdir()
    env = {"PATH": str(scripts), "HOME": str(tmp_path), "HARNESS_CACHE": str(tmp_path / "cache")}
    if os.name == "nt":
        env["SYSTEMROOT"] = os.environ["SYSTEMROOT"]

    def call(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run([str(scripts / command), *arguments], folder, env)

    return call


def test_a_suite_of_another_repository(call: Call, tmp_path: Path) -> None:
    """Candidate, acceptance, another seed, a change: pytest finds the plugin by itself."""
    suite = tmp_path / "project" / "test_model.py"
    baselines = tmp_path / "project" / "posterior_baselines" / "test_model"

    def check(*options: str, seed: int, mean: float = 0.0) -> tuple[int, str]:
        suite.write_text(SUITE.format(seed=seed, mean=mean), "utf-8")
        done = call("pytest", "-Werror", "--strict-config", *options)
        return done.returncode, done.stdout + done.stderr

    code, said = check(seed=1)
    assert code == 1, said
    assert "has no baseline" in said
    assert [p.name for p in baselines.iterdir()] == ["test_fit.candidate.json"]
    code, said = check("--posterior-regen", seed=1)
    assert code == 0, said
    assert "posterior_baselines/test_model/test_fit.json: written; there was none" in said
    assert [p.name for p in baselines.iterdir()] == ["test_fit.json"]
    code, said = check(seed=2)
    assert code == 0, said
    code, said = check(seed=3, mean=0.5)
    assert code == 1, said
    assert "posterior 'test_fit' has changed" in said
    assert "old ± error" in said
    assert "--posterior-regen test_model.py::test_fit" in said
    assert not (tmp_path / "cache").exists()


def _children_s() -> float:
    """Return the CPU seconds of the processes that this one started and that have ended."""
    taken = os.times()
    return taken.children_user + taken.children_system


def test_an_answer_in_seconds_without_a_compiler(call: Call, tmp_path: Path) -> None:
    """Nothing but wheels: a table of verdicts in under 10 s, for a program of the user's own.

    Of CPU: a machine that does nothing else takes less, because two workers share them.
    """
    folder = tmp_path / "project"
    (folder / "my.stan").write_text(PROGRAM, encoding="utf-8")
    (folder / "my.json").write_text('{"N": 4, "y": [1.2, 0.3, 2.1, 1.7]}', encoding="utf-8")
    begin = _children_s()
    done = call("stan-advi-harness", "compare", "my.stan", "my.json", "--quick")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Use DADVI + PSIS here.\n")
    assert "reference: short chains" in done.stdout
    assert "next:" not in done.stdout  # all is decided
    assert _children_s() - begin < 10


def test_the_installed_command_has_the_lectures_models(call: Call) -> None:
    """Version and models come from the wheel, not from a checkout."""
    where = call("python", "-c", "import harness; print(harness.__file__)")
    assert "site-packages" in where.stdout
    version = call("harness", "--version")
    assert version.returncode == 0, version.stderr
    assert version.stdout.split()[-1] == PROJECT["version"]
    assert call("stan-advi-harness", "--version").stdout == version.stdout
    models = call("harness", "models")
    assert models.returncode == 0, models.stderr
    for name in sorted(p.name for p in (ROOT / "stan").iterdir() if p.is_dir()):
        assert name in models.stdout
