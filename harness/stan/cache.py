"""What every part of the toolchain needs: its errors, its cache and its child processes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs

Progress = Callable[[str], None]

# GNU make cannot express these in a target's name, and CmdStan's makefiles cannot quote them.
UNSAFE_IN_MAKE = re.compile(r"[^\w./+@,=-]")

# Of a make that runs us: flags and a job server that are not meant for CmdStan's make.
_OUTER_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS")


class ToolchainError(Exception):
    """CmdStan, the compiler or the cache cannot be used; the message says what to do."""


class ProgramError(Exception):
    """A Stan program cannot be used; the message holds the compiler's own words."""


def cache_dir() -> Path:
    """Return the cache's folder, which may not exist yet.

    ``$HARNESS_CACHE`` if set, else the user's cache folder as the system defines it.
    """
    chosen = os.environ.get("HARNESS_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("stan-advi-harness", appauthor=False))


def cache_folder(*parts: str) -> Path:
    """Return a folder inside the cache, made if need be, in which one can write.

    Raises
    ------
    ToolchainError
        The folder cannot be made or written to.
    """
    folder = cache_dir().joinpath(*parts)
    remedy = "set HARNESS_CACHE to a folder that you can write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the cache folder {folder}: {error.strerror or error}; {remedy}"
        raise ToolchainError(message) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ToolchainError(f"cannot write to the cache folder {folder}; {remedy}")
    return folder


def build_folder(*parts: str) -> Path:
    """Return a cache folder in which make can build.

    Raises
    ------
    ToolchainError
        The folder cannot be written to, or its path has characters that make cannot handle.
    """
    folder = cache_dir().joinpath(*parts)
    unsafe = UNSAFE_IN_MAKE.search(str(folder))
    if unsafe:
        raise ToolchainError(
            f"the cache folder {cache_dir()} has {unsafe.group()!r} in its path, which make "
            "cannot handle; set HARNESS_CACHE to a path of letters, digits and ./+@,=_-"
        )
    return cache_folder(*parts)


@contextmanager
def locked(name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock shared by all processes that use this cache.

    Parameters
    ----------
    name
        What is locked; a file name.
    waiting
        Called once if somebody else holds the lock.
    """
    lock = filelock.FileLock(cache_folder("locks") / f"{name}.lock")
    try:
        lock.acquire(timeout=0 if waiting else -1)
    except filelock.Timeout:
        if waiting:
            waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def child_environment() -> dict[str, str]:
    """Return the environment for a child: ours, less what a make that runs us put there."""
    return {key: value for key, value in os.environ.items() if key not in _OUTER_MAKE}


def make_command() -> str:
    """Return the make to call, as CmdStanPy chooses it."""
    return os.environ.get("MAKE") or ("mingw32-make" if os.name == "nt" else "make")


def run_tool(command: Sequence[str], cwd: Path) -> tuple[int, str, str]:
    """Run a command to its end and return its exit code, output and error output.

    The command is stopped if we are interrupted.

    Raises
    ------
    ToolchainError
        The command does not exist.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise ToolchainError(
            f"cannot run {command[0]}: {error.strerror or error}; {install_hint()}"
        ) from error
    with process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.terminate()
            raise
    return process.returncode, output, errors


def install_hint() -> str:
    """Return how a compiler and make are installed on this system."""
    return (
        "install a C++ compiler and make: `apt-get install g++ make` on Debian and Ubuntu, "
        "`dnf install gcc-c++ make` on Fedora, `xcode-select --install` on macOS"
    )
