"""Report which tools are installed, which are missing, and how to fix it."""

from __future__ import annotations

import os
import re
import shutil
import sys
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

_OLDEST_PYTHON = (3, 11)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes
    ----------
    name
        What was checked.
    ok
        Whether the harness can use it.
    found
        What was found, or why it is unusable.
    fix
        The command that fixes it; empty if there is nothing to fix.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""


def diagnose() -> list[Check]:
    """Check everything that the harness needs, without installing or raising anything."""
    return [
        _python(),
        _compiler(),
        _make(),
        _cmdstan(),
        _cache(),
        *_packages(),
        _browser(),
    ]


def _python() -> Check:
    version = sys.version.split()[0]
    return Check(
        "Python",
        sys.version_info >= _OLDEST_PYTHON,
        f"{version} ({sys.executable})",
        "" if sys.version_info >= _OLDEST_PYTHON else "use Python 3.11 or newer",
    )


def _compiler() -> Check:
    try:
        return Check("C++ compiler", ok=True, found=compiler_version())
    except ToolchainError as error:
        return Check("C++ compiler", ok=False, found=str(error), fix=install_hint())


def _make() -> Check:
    try:
        code, output, errors = run_tool([make_command(), "--version"], Path.cwd())
    except ToolchainError as error:
        return Check("make", ok=False, found=str(error), fix=install_hint())
    words = (output or errors).strip().splitlines() or ["no version"]
    return Check("make", code == 0, words[0], "" if code == 0 else install_hint())


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


def _cache() -> Check:
    try:
        folder = cache_folder()
    except ToolchainError as error:
        return Check("cache", ok=False, found=str(error), fix="export HARNESS_CACHE=…")
    size = sum(_size(file) for file in folder.rglob("*"))
    return Check("cache", ok=True, found=f"{cache_dir()} ({fixed(size / 1e9, 1)} GB)")


def _size(file: Path) -> int:
    try:
        return 0 if file.is_symlink() or not file.is_file() else file.stat().st_size
    except OSError:
        return 0  # another process removed it


def _packages() -> list[Check]:
    try:
        lines = metadata.requires("stan-advi-harness") or []
    except metadata.PackageNotFoundError:
        return [
            Check(
                "package stan-advi-harness",
                ok=False,
                found="not installed",
                fix=f"{sys.executable} -m pip install -c constraints.txt -e .",
            )
        ]
    needed = [line for line in lines if "extra ==" not in line]
    names = sorted({re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in needed})
    return [_package(name) for name in ["stan-advi-harness", *names]]


def _package(name: str) -> Check:
    version = package_version(name)
    ok = version != "not installed"
    return Check(
        f"package {name}", ok, version, "" if ok else f"{sys.executable} -m pip install {name}"
    )


def _browser() -> Check:
    paths = [shutil.which(name) for name in (*_BROWSERS, "chromedriver")]
    found = ", ".join(path for path in paths if path) or "none"
    return Check("browser", ok=True, found=f"{found} (only the report's own tests need it)")
