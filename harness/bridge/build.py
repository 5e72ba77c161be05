"""Build the bridge: stanc's C++ and our C interface into one shared library, once.

The interface's own object is built once per CmdStan, compiler and flags; a program's library
lies in the cache under a hash of all that it is made of, and that hash stands in its file name,
because a dynamic loader takes two files of one path for the same.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from pathlib import Path

from harness.toolchain import (
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

_HERE = Path(__file__).parent
_MAKEFILE = _HERE / "bridge.mk"
_SOURCE = _HERE / "bridge.cpp"
_GUARD = _HERE / "guard.hpp"

_ERROR_LINES = 12


@functools.cache
def version() -> str:
    """Return the hash of the bridge's own sources: what is built by others is not used."""
    h = hashlib.sha256()
    for path in (_MAKEFILE, _SOURCE, _GUARD):
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
    harness.toolchain.ProgramError
        If stanc or the compiler rejects the program, in their words.
    harness.toolchain.ToolchainError
        If there is no compiler, or the cache cannot be written.
    """
    key = hashlib.sha256(f"{program_hash(stan_file)}\0{_tools(cmdstan)}".encode()).hexdigest()[:24]
    name = f"bridge-{key}"
    done = cache_dir() / "bridge" / f"{name}.so"
    if done.is_file():
        return done
    folder = build_folder("bridge")
    with locked(name):
        if not done.is_file():
            shim = _shim(cmdstan)
            scratch = Path(tempfile.mkdtemp(prefix=f"partial-{name}-", dir=folder))
            try:
                code = translate(stan_file, cmdstan, scratch)
                built = scratch / done.name
                _make(
                    cmdstan, "bridge-library", str(stan_file),
                    TARGET=built, CODE=code, SHIM=shim, GUARD=_GUARD,
                )  # fmt: skip
                built.replace(done)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    return done


def _shim(cmdstan: CmdStan) -> Path:
    """Return the interface's object file for this CmdStan, built if it is not in the cache."""
    name = f"shim-{_tools(cmdstan)}"
    done = cache_dir() / "bridge" / f"{name}.o"
    if not done.is_file():
        folder = build_folder("bridge")
        with locked(name):
            if not done.is_file():
                scratch = Path(tempfile.mkdtemp(prefix=f"partial-{name}-", dir=folder))
                try:
                    built = scratch / done.name
                    _make(
                        cmdstan, "bridge-shim", "the bridge",
                        SHIM=built, SOURCE=_SOURCE, GUARD=_GUARD,
                    )  # fmt: skip
                    built.replace(done)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    return done


def _make(cmdstan: CmdStan, target: str, what: str, **variables: Path) -> None:
    settings = [f"{name}={path.as_posix()}" for name, path in variables.items()]
    command = [make_command(), "-s", "-f", _MAKEFILE.as_posix(), target, *settings]
    code, output, errors = run_tool(command, cmdstan.path)
    if code != 0:
        lines = [line for line in f"{output}\n{errors}".splitlines() if line.strip()]
        first = next((i for i, line in enumerate(lines) if "rror" in line), 0)
        words = "\n".join(lines[first : first + _ERROR_LINES])
        message = f"{what}: the bridge could not be built:\n{words}"
        raise (ToolchainError if what == "the bridge" else ProgramError)(message)
