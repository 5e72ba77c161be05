"""Find an installed CmdStan, and report its build settings."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from harness.stan.cache import ToolchainError, cache_dir, install_hint, make_command, run_tool

MINIMUM = (2, 27, 0)
"""The oldest CmdStan with which the harness is tested."""

MARKER = "harness-complete.json"
"""Written last into a CmdStan that the harness built; without it the build is incomplete."""

_VERSION = re.compile(r"^CMDSTAN_VERSION\s*:?=\s*((\d+)\.(\d+)\.?(\d*)\S*)", re.MULTILINE)

# What a program is linked with; CmdStan 2.32 renamed the variable of SUNDIALS.
_PREREQUISITES = (
    "LIBSUNDIALS",
    "SUNDIALS_TARGETS",
    "TBB_TARGETS",
    "MPI_TARGETS",
    "CMDSTAN_MAIN_O",
    "PRECOMPILED_MODEL_HEADER",
)


@dataclass(frozen=True, slots=True)
class CmdStan:
    """A CmdStan that can compile and run programs."""

    path: Path
    """Its absolute folder."""
    version: tuple[int, int, int]
    """``(major, minor, patch)``."""
    version_text: str
    """The version in its makefile, such as ``"2.27.0"``."""
    source: str
    """Where it was found, for people: ``"$CMDSTAN"``, ``"CmdStanPy"``, ``"the cache"``."""


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """The settings of CmdStan's makefile, including the user's (``make/local``)."""

    compiler: tuple[str, ...]
    """The compiler's command: ``("g++",)`` or ``("ccache", "g++")``."""
    stanc_flags: tuple[str, ...]
    """Extra options for stanc."""
    prerequisites: tuple[str, ...]
    """Files that a program needs before it is compiled, relative to CmdStan."""
    link_line: str
    """The line with compiler, all flags and libraries."""


def inspect_cmdstan(path: Path, source: str) -> CmdStan:
    """Return the CmdStan in a folder.

    Raises
    ------
    ToolchainError
        If there is none, or it is older than :data:`MINIMUM`, or it has no stanc.
    """
    try:
        makefile = (path / "makefile").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        message = f"{path} ({source}) is not a CmdStan: it has no readable makefile"
        raise ToolchainError(message) from error
    found = _VERSION.search(makefile)
    if found is None:
        raise ToolchainError(f"{path} ({source}) is not a CmdStan: its makefile states no version")
    version = (int(found[2]), int(found[3]), int(found[4] or 0))
    if version < MINIMUM:
        raise ToolchainError(
            f"{path} ({source}) is CmdStan {found[1]}; the harness needs "
            f"{MINIMUM[0]}.{MINIMUM[1]} or newer"
        )
    stanc = stanc_path(path)
    if not os.access(stanc, os.X_OK):
        raise ToolchainError(
            f"{path} ({source}) is CmdStan {found[1]} without a usable {stanc.relative_to(path)}; "
            f"build it: make -C {shlex.quote(str(path))} build"
        )
    return CmdStan(path.resolve(), version, found[1], source)


def stanc_path(cmdstan: Path) -> Path:
    """Return the path of a CmdStan's Stan compiler."""
    return cmdstan / "bin" / ("stanc.exe" if os.name == "nt" else "stanc")


def find_cmdstan() -> CmdStan | None:
    """Return the installed CmdStan to use, or None.

    ``$CMDSTAN`` comes first, then CmdStanPy's if it is recent enough and built, then the
    harness's own in the cache.

    Raises
    ------
    ToolchainError
        If ``$CMDSTAN`` is set but unusable: ignoring it would surprise whoever set it.
    """
    chosen = os.environ.get("CMDSTAN")
    if chosen:
        try:
            return inspect_cmdstan(Path(chosen).expanduser(), "$CMDSTAN")
        except ToolchainError as error:
            raise ToolchainError(f"{error}; or unset CMDSTAN to let the harness choose") from error
    return _known_to_cmdstanpy() or _in_cache()


def _known_to_cmdstanpy() -> CmdStan | None:
    # Without the folder it knows none, and its import costs half a second, mostly pandas.
    if not Path("~/.cmdstan").expanduser().exists():
        return None
    import cmdstanpy

    try:
        path = Path(cmdstanpy.cmdstan_path())
        return inspect_cmdstan(path, "CmdStanPy")
    except (ValueError, ToolchainError):
        return None  # `harness doctor` shows which CmdStan is used instead
    finally:
        # CmdStanPy sets the variable, which would look like the user's choice.
        os.environ.pop("CMDSTAN", None)


def _in_cache() -> CmdStan | None:
    found = []
    for folder in (cache_dir() / "cmdstan").glob("cmdstan-*"):
        if (folder / MARKER).is_file():
            try:
                found.append(inspect_cmdstan(folder, "the cache"))
            except ToolchainError:
                continue  # damaged, so it is built again
    return max(found, key=lambda cmdstan: cmdstan.version, default=None)


@functools.cache
def build_settings(cmdstan: CmdStan) -> BuildSettings:
    """Return the settings that make reads from CmdStan's makefile, once per process.

    Raises
    ------
    ToolchainError
        If there is no make, or it cannot read the makefile.
    """
    names = ("CXX", "STANCFLAGS", *_PREREQUISITES)
    command = [make_command(), "-s", *(f"print-{name}" for name in names), "compile_info"]
    code, output, errors = run_tool(command, cmdstan.path)
    lines = output.strip().splitlines()
    if code != 0 or not lines:
        words = errors.strip() or "make printed nothing"
        raise ToolchainError(f"make cannot read CmdStan's makefile in {cmdstan.path}: {words}")
    pairs = (line.partition("=") for line in lines[:-1])
    values = {name.strip(): value.strip() for name, _, value in pairs}
    return BuildSettings(
        compiler=tuple(shlex.split(values.get("CXX", ""))) or (default_compiler(),),
        stanc_flags=tuple(shlex.split(values.get("STANCFLAGS", ""))),
        prerequisites=tuple(
            word for name in _PREREQUISITES for word in values.get(name, "").split()
        ),
        link_line=lines[-1].strip(),
    )


def missing_prerequisites(cmdstan: CmdStan) -> tuple[str, ...]:
    """Return the files that programs are linked with but that are not built yet."""
    needed = build_settings(cmdstan).prerequisites
    return tuple(name for name in needed if not (cmdstan.path / name).exists())


def default_compiler() -> str:
    """Return the compiler's command, unless a makefile chooses another."""
    return os.environ.get("CXX") or ("clang++" if platform.system() == "Darwin" else "g++")


def compiler_version(cmdstan: CmdStan | None = None) -> str:
    """Return the first line of the ``--version`` of CmdStan's, by default the usual, C++ compiler.

    Raises
    ------
    ToolchainError
        If there is no such compiler.
    """
    command = (
        shlex.split(default_compiler()) if cmdstan is None else build_settings(cmdstan).compiler
    )
    return _compiler_version(tuple(command))


@functools.cache
def _compiler_version(command: tuple[str, ...]) -> str:
    try:
        code, output, errors = run_tool([*command, "--version"], Path.cwd())
    except ToolchainError as error:
        message = f"there is no C++ compiler {' '.join(command)!r}; {install_hint()}"
        raise ToolchainError(message) from error
    if code != 0 or not output.strip():
        raise ToolchainError(
            f"the C++ compiler {' '.join(command)!r} does not run: "
            f"{errors.strip() or f'exit code {code}'}; {install_hint()}"
        )
    return output.strip().splitlines()[0]
