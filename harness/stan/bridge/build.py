"""Build the bridge: stanc's C++ and our C interface into one shared library, once.

The interface's own object is built once per CmdStan, compiler and flags; a program's library
lies in the cache under a hash of all that it is made of and a hash of its bytes. Both stand in
its file name: a dynamic loader takes two files of one path for the same, and half a library
must be known before it is opened.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from harness.stan import (
    CmdStan,
    ProgramError,
    ToolchainError,
    build_flags,
    build_folder,
    cache_dir,
    compiler_version,
    locked,
    make_command,
    program_hash,
    run_tool,
    translate,
)
from harness.stan.bridge.loading import content_hash, intact

_HERE = Path(__file__).parent
_MAKEFILE = _HERE / "bridge.mk"
_SOURCE = _HERE / "bridge.cpp"
_GUARD = _HERE / "guard.hpp"
_PARTS = (
    _MAKEFILE,
    _SOURCE,
    _GUARD,
    _HERE / "arrays.hpp",
    _HERE / "faults.hpp",
    _HERE / "guarded.hpp",
)

_SOLVERS = re.compile(
    r"undefined (?:reference|symbol)s?\b.*\b(?:CV|CVode|IDA|KIN|SUN|N_V)\w+", re.DOTALL
)
"""What a linker says of a program that needs SUNDIALS: ODEs, DAEs, some algebraic solvers."""

_ERROR_LINES = 12


@functools.cache
def version() -> str:
    """Return the hash of the bridge's own sources: what is built by others is not used."""
    h = hashlib.sha256()
    for path in _PARTS:
        h.update(path.read_bytes() + b"\0")
    return h.hexdigest()[:16]


def _tools(cmdstan: CmdStan) -> str:
    """Return the hash of everything but the program that a library is made of."""
    parts = (
        version(), cmdstan.version_text, str(cmdstan.path), compiler_version(cmdstan),
        build_flags(cmdstan),
    )  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def library(stan_file: Path, cmdstan: CmdStan) -> Path:
    """Return the shared library of a program, built if it is not in the cache.

    Raises
    ------
    harness.stan.ProgramError
        If stanc or the compiler rejects the program, in their words.
    harness.stan.ToolchainError
        If there is no compiler, or the cache cannot be written.
    """
    key = hashlib.sha256(f"{program_hash(stan_file)}\0{_tools(cmdstan)}".encode()).hexdigest()[:24]
    name = f"bridge-{key}"
    found = _finished(name)
    if found is not None:
        return found
    folder = build_folder("bridge")
    with locked(name):
        found = _finished(name)  # somebody else may have built it while we waited
        if found is not None:
            return found
        shim = _shim(cmdstan)
        with _scratch(name, folder) as scratch:
            code = translate(stan_file, cmdstan, scratch)
            built = scratch / f"{name}.so"
            _link(stan_file, cmdstan, built, code, shim)
            done = folder / f"{name}-{content_hash(built)}.so"
            built.replace(done)
    return done


def _finished(name: str) -> Path | None:
    """Return the library of this key that is whole; one that is not is removed."""
    for path in sorted((cache_dir() / "bridge").glob(f"{name}-*.so")):
        if intact(path):
            return path
        path.unlink(missing_ok=True)
    return None


@contextmanager
def _scratch(name: str, folder: Path) -> Iterator[Path]:
    """Give a folder to build in, beside where the result will lie; what is left goes with it.

    A build that was killed leaves its folder: whoever holds the lock next clears it away.
    """
    for left in folder.glob(f"partial-{name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=f"partial-{name}-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _link(stan_file: Path, cmdstan: CmdStan, built: Path, code: Path, shim: Path) -> None:
    """Compile and link; with the solvers of SUNDIALS only if the linker misses them."""
    variables = {"TARGET": built, "CODE": code, "SHIM": shim, "GUARD": _GUARD}
    words = _make(cmdstan, "bridge-library", variables)
    if _SOLVERS.search(words):
        # The program's object lies there already: only the link is made again.
        words = _make(cmdstan, "bridge-library", {**variables, "SOLVERS": _solvers(cmdstan)})
    if words:
        raise ProgramError(_shortened(str(stan_file), words))


def _shim(cmdstan: CmdStan) -> Path:
    """Return the interface's object file for this CmdStan, built if it is not in the cache."""
    return _part(cmdstan, f"shim-{_tools(cmdstan)}.o", "bridge-shim")


def _solvers(cmdstan: CmdStan) -> Path:
    """Return SUNDIALS compiled for a library, built if it is not in the cache."""
    return _part(cmdstan, f"sundials-{_tools(cmdstan)}.a", "bridge-sundials")


def _part(cmdstan: CmdStan, file: str, target: str) -> Path:
    folder = build_folder("bridge")
    done = folder / file
    if done.is_file():
        return done
    name = done.stem
    with locked(name):
        if done.is_file():
            return done
        with _scratch(name, folder) as scratch:
            built = scratch / file
            variables = {"BUILT": built, "SCRATCH": scratch, "SOURCE": _SOURCE, "GUARD": _GUARD}
            words = _make(cmdstan, target, variables)
            if words:
                raise ToolchainError(_shortened("the bridge", words))
            built.replace(done)
    return done


def _make(cmdstan: CmdStan, target: str, variables: Mapping[str, Path]) -> str:
    """Make a target; return what was said if it failed, and nothing otherwise."""
    settings = [f"{name}={path.as_posix()}" for name, path in variables.items()]
    command = [make_command(), "-s", "-f", _MAKEFILE.as_posix(), target, *settings]
    code, output, errors = run_tool(command, cmdstan.path)
    return "" if code == 0 else f"{output}\n{errors}".strip() or f"make ended with {code}"


def _shortened(what: str, words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if "rror" in line), 0)
    shown = "\n".join(lines[first : first + _ERROR_LINES])
    return f"{what}: the bridge could not be built:\n{shown}"
