"""Build stanc's C++ and the C interface into one shared library per program, once.

The interface's object file is built once per CmdStan, compiler and flags. A library's file name
has a hash of everything that it is built from, because a dynamic loader opens a path only once,
and a hash of its bytes, because a damaged library must be detected before it is opened.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from harness import stan
from harness.stan.bridge.loading import content_hash, intact
from harness.stan.source import bare
from harness.stan.usage import used

_HERE = Path(__file__).parent
_MAKEFILE = _HERE / "bridge.mk"
_SOURCE = _HERE / "bridge.cpp"
_GUARD = _HERE / "guard.hpp"
_HEADERS = ("arrays.hpp", "faults.hpp", "guarded.hpp")
_PARTS = (_MAKEFILE, _SOURCE, _GUARD, *(_HERE / name for name in _HEADERS))

_SOLVERS = re.compile(
    r"undefined (?:reference|symbol)s?\b.*\b(?:CV|CVode|IDA|KIN|SUN|N_V)\w+", re.DOTALL
)
"""A linker's message about a program that needs SUNDIALS: ODEs, DAEs, some algebraic solvers."""


@functools.cache
def version() -> str:
    """Return the hash of the bridge's sources; libraries from other sources are not used."""
    h = hashlib.sha256()
    for path in _PARTS:
        h.update(path.read_bytes() + b"\0")
    return h.hexdigest()[:16]


def _tools(cmdstan: stan.CmdStan) -> str:
    """Return the hash of everything that a library is built from, except the program."""
    parts = (
        version(), cmdstan.version_text, str(cmdstan.path), stan.compiler_version(cmdstan),
        stan.build_settings(cmdstan).link_line,
    )  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def library(stan_file: Path, cmdstan: stan.CmdStan, *, generated: bool = True) -> Path:
    """Return the shared library of a program; build it if it is not in the cache.

    Without ``generated``, that of the program without its generated quantities, unless an include
    has that block.

    Raises
    ------
    harness.stan.ProgramError
        If stanc or the compiler rejects the program, with their messages.
    harness.stan.ToolchainError
        If there is no compiler, or the cache cannot be written to.
    """
    text = None if generated else bare(stan_file)
    built_from = f"{stan.program_hash(stan_file)}\0{_tools(cmdstan)}"
    if text is not None:
        built_from += f"\0{text}"
    key = hashlib.sha256(built_from.encode()).hexdigest()[:24]
    name = f"bridge-{key}"
    found = _finished(name)
    if found is not None:
        return found
    folder = stan.build_folder("bridge")
    with stan.locked(name):
        found = _finished(name)  # another process may have built it meanwhile
        if found is not None:
            return found
        shim = _part(cmdstan, f"shim-{_tools(cmdstan)}.o", "bridge-shim")
        with stan.scratch_folder(name, folder) as scratch:
            code = stan.translate(stan_file, cmdstan, scratch, text)
            built = scratch / f"{name}.so"
            _link(stan_file, cmdstan, built, code, shim)
            done = folder / f"{name}-{content_hash(built)}.so"
            built.replace(done)
    return done


def _finished(name: str) -> Path | None:
    """Return the intact library of this key, and remove damaged ones."""
    for path in sorted((stan.cache_dir() / "bridge").glob(f"{name}-*.so")):
        if intact(path):
            used(path)
            return path
        path.unlink(missing_ok=True)
    return None


def _link(stan_file: Path, cmdstan: stan.CmdStan, built: Path, code: Path, shim: Path) -> None:
    """Compile and link, with SUNDIALS only if the linker misses its solvers."""
    variables = {"TARGET": built, "CODE": code, "SHIM": shim, "GUARD": _GUARD}
    words = _make(cmdstan, "bridge-library", variables)
    if _SOLVERS.search(words):
        # The program's object file exists by now, so this only links again.
        solvers = _part(cmdstan, f"sundials-{_tools(cmdstan)}.a", "bridge-sundials")
        words = _make(cmdstan, "bridge-library", {**variables, "SOLVERS": solvers})
    if words:
        raise stan.ProgramError(
            f"{stan_file}: the bridge could not be built:\n{stan.first_errors(words)}"
        )


def _part(cmdstan: stan.CmdStan, file: str, target: str) -> Path:
    """Return a part of the bridge; build it if it is not in the cache."""
    folder = stan.build_folder("bridge")
    done = folder / file
    if done.is_file():
        return done
    name = done.stem
    with stan.locked(name):
        if done.is_file():
            return done
        with stan.scratch_folder(name, folder) as scratch:
            built = scratch / file
            variables = {"BUILT": built, "SCRATCH": scratch, "SOURCE": _SOURCE, "GUARD": _GUARD}
            words = _make(cmdstan, target, variables)
            if words:
                raise stan.ToolchainError(
                    f"the bridge could not be built:\n{stan.first_errors(words)}"
                )
            built.replace(done)
    return done


def _make(cmdstan: stan.CmdStan, target: str, variables: Mapping[str, Path]) -> str:
    """Make a target; return make's output if it failed, and nothing otherwise."""
    settings = [f"{name}={path.as_posix()}" for name, path in variables.items()]
    command = [stan.make_command(), "-s", "-f", _MAKEFILE.as_posix(), target, *settings]
    code, output, errors = stan.run_tool(command, cmdstan.path)
    return "" if code == 0 else f"{output}\n{errors}".strip() or f"make ended with {code}"
