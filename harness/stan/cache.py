"""Errors, cache folders, locks and child processes of the toolchain."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock
import platformdirs

from harness.records.faults import MachineFaultError, named_fault, sent

Progress = Callable[[str], None]

_ERROR_LINES = 12

# GNU make does not allow these in a target's name, and CmdStan's makefiles do not quote them.
UNSAFE_IN_MAKE = re.compile(r"[^\w./+@,=-]")

# A make that runs the harness passes flags and a job server that CmdStan's make must not get.
_OUTER_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS")


class ToolchainError(Exception):
    """CmdStan, the compiler or the cache is unusable; the message says what to do."""


class ProgramError(Exception):
    """A Stan program is unusable; the message quotes the compiler."""


def cache_dir() -> Path:
    """Return the cache folder, ``$HARNESS_CACHE`` or the user's; it may not exist yet."""
    if chosen := os.environ.get("HARNESS_CACHE"):
        return Path(chosen).expanduser().absolute()
    return Path(platformdirs.user_cache_dir("stan-advi-harness", appauthor=False))


def cache_folder(*parts: str) -> Path:
    """Return a writable folder inside the cache, created if it does not exist.

    Raises
    ------
    ToolchainError
        If the folder cannot be created or written to.
    """
    folder = cache_dir().joinpath(*parts)
    remedy = "set HARNESS_CACHE to a folder that you can write to"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot create the cache folder {folder}: {error.strerror or error}; {remedy}"
        raise ToolchainError(message) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ToolchainError(f"cannot write to the cache folder {folder}; {remedy}")
    return folder


def build_folder(*parts: str) -> Path:
    """Return a cache folder in which make can build.

    Raises
    ------
    ToolchainError
        If the folder cannot be written to, or its path has characters that make cannot handle.
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

    ``waiting`` is called once if another process holds it.
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


@contextmanager
def scratch_folder(name: str, parent: Path) -> Iterator[Path]:
    """Give a folder to build in, beside the final place of the result, and remove it afterwards.

    Folders that killed builds left behind are removed too, so the caller must hold the lock.
    """
    for left in parent.glob(f"partial-{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"partial-{name}-", dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def child_environment() -> dict[str, str]:
    """Return the environment for a child process, without the settings of an outer make."""
    return {key: value for key, value in os.environ.items() if key not in _OUTER_MAKE}


def make_command() -> str:
    """Return the make to call, as CmdStanPy chooses it."""
    return os.environ.get("MAKE") or ("mingw32-make" if os.name == "nt" else "make")


def run_tool(command: Sequence[str], cwd: Path) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and error output.

    An interrupt stops the command.

    Raises
    ------
    ToolchainError
        If the command does not exist.
    MachineFaultError
        If somebody else killed it, or it says that the machine is at fault.
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
    code = process.returncode
    if code < 0 and sent(-code):
        raise MachineFaultError(f"{command[0]} was killed (signal {-code})")
    if code != 0 and (said := named_fault(f"{errors}\n{output}")):
        raise MachineFaultError(f"{command[0]}: {said}")
    return code, output, errors


def first_errors(output: str) -> str:
    """Return the first lines of a compiler's output that report an error, or its last lines."""
    lines = [line for line in output.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if "rror" in line), -_ERROR_LINES)
    return "\n".join(lines[first:][:_ERROR_LINES])


def install_hint() -> str:
    """Return how to install a compiler and make."""
    return (
        "install a C++ compiler and make: `apt-get install g++ make` on Debian and Ubuntu, "
        "`dnf install gcc-c++ make` on Fedora, `xcode-select --install` on macOS"
    )
