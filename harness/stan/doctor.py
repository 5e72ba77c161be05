"""Report which tools are installed, which are missing, and how to fix it."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.records.text import fixed
from harness.stan.cache import (
    ToolchainError,
    cache_dir,
    cache_folder,
    install_hint,
    make_command,
    run_tool,
)
from harness.stan.compile import package_version
from harness.stan.find import compiler_version, find_cmdstan, missing_prerequisites

_NAME = "stan-advi-harness"
_OLDEST_PYTHON = (3, 11)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromedriver")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check."""

    name: str
    """What was checked."""
    ok: bool
    """Whether the harness can use it."""
    found: str
    """What was found, or why it is unusable."""
    fix: str = ""
    """The command that fixes it; empty if there is nothing to fix."""


def diagnose() -> list[Check]:
    """Check everything that the harness needs, without installing or raising anything."""
    python = f"{sys.version.split()[0]} ({sys.executable})"
    recent = sys.version_info >= _OLDEST_PYTHON
    browsers = ", ".join(path for name in _BROWSERS if (path := shutil.which(name))) or "none"
    return [
        Check("Python", recent, python, "" if recent else "use Python 3.11 or newer"),
        _tried("C++ compiler", compiler_version, install_hint()),
        _tried("make", _make_version, install_hint()),
        _cmdstan(),
        _embedded(),
        _tried("cache", _cache_size, "export HARNESS_CACHE=…"),
        *_packages(),
        Check("browser", ok=True, found=f"{browsers} (only the report's own tests need it)"),
    ]


def _tried(name: str, find: Callable[[], str], fix: str) -> Check:
    """Return what was found, or why nothing was found and how to fix it."""
    try:
        return Check(name, ok=True, found=find())
    except ToolchainError as error:
        return Check(name, ok=False, found=str(error), fix=fix)


def _make_version() -> str:
    code, output, errors = run_tool([make_command(), "--version"], Path.cwd())
    words = (output or errors).strip().splitlines() or ["no version"]
    if code != 0:
        raise ToolchainError(words[0])
    return words[0]


def _cmdstan() -> Check:
    install = "harness doctor --install"
    try:
        cmdstan = find_cmdstan()
        if cmdstan is None:
            return Check("CmdStan", ok=False, found="not found", fix=install)
        found = f"{cmdstan.version_text} in {cmdstan.path} (from {cmdstan.source})"
        missing = missing_prerequisites(cmdstan)
    except ToolchainError as error:
        first = "unset CMDSTAN, then " if os.environ.get("CMDSTAN") else ""
        return Check("CmdStan", ok=False, found=str(error), fix=f"{first}{install}")
    if missing:
        found += "; its libraries are built with the first program"
    return Check("CmdStan", ok=True, found=found)


def _embedded() -> Check:
    # Imported here: the command line's help does without NumPy.
    from harness.stan.embedded import available, version

    why = available()
    fix = f"{sys.executable} -m pip install {version().replace(' ', '==')}" if why else ""
    return Check("embedded engine", ok=not why, found=why or version(), fix=fix)


def _cache_size() -> str:
    size = sum(_size(file) for file in cache_folder().rglob("*"))
    return f"{cache_dir()} ({fixed(size / 1e9, 1)} GB)"


def _size(file: Path) -> int:
    try:
        return 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
    except OSError:
        return 0  # another process removed it


def _packages() -> list[Check]:
    own = _package(_NAME, "-c constraints.txt -e .")
    if not own.ok:
        return [own]
    requires = metadata.requires(_NAME) or []
    needed = [r for r in requires if "extra ==" not in r and not r.startswith("stanli")]
    names = sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed})
    return [own, *_others(), *(_package(name, name) for name in names)]


def _package(name: str, source: str) -> Check:
    version = package_version(name)
    ok = version != "not installed"
    fix = "" if ok else f"{sys.executable} -m pip install {source}"
    return Check(f"package {name}", ok, version, fix)


def _others() -> list[Check]:
    """Return a check for each other distribution that installs a package called ``harness``."""
    found = set(metadata.packages_distributions().get("harness", [])) - {_NAME}
    pip = f"{sys.executable} -m pip"
    return [
        Check(
            f"package {name}",
            ok=False,
            found="it also installs a package called harness, and may have overwritten this one",
            fix=f"{pip} uninstall {name}, then {pip} install --force-reinstall {_NAME}",
        )
        for name in sorted(found)
    ]
