"""Compile Stan programs, each once, and list their declarations."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TypedDict

from harness.records import Program
from harness.stan.cache import (
    ProgramError,
    build_folder,
    cache_dir,
    cache_folder,
    first_errors,
    locked,
    make_command,
    run_tool,
    scratch_folder,
)
from harness.stan.find import (
    CmdStan,
    build_settings,
    compiler_version,
    missing_prerequisites,
    stanc_path,
)
from harness.stan.install import prepare
from harness.stan.source import bare
from harness.stan.usage import used

# Raised when programs that an older harness compiled must not be used any more.
_FORMAT = 1
_COMPLETE = "complete.json"
_INCLUDE = re.compile(
    rb"""^[ \t]*#include[ \t]+(?:<([^>\n]+)>|"([^"\n]+)"|([^\s"<>]+))""", re.MULTILINE
)


class Declaration(TypedDict):
    """A variable's scalar type and number of dimensions, as reported by stanc."""

    type: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """The variables of a Stan program, block by block, in the order of declaration.

    Vectors add one dimension and matrices two to those of an array.
    """

    inputs: Mapping[str, Declaration]
    parameters: Mapping[str, Declaration]
    transformed_parameters: Mapping[str, Declaration]
    generated_quantities: Mapping[str, Declaration]


def compile_program(stan_file: Path, cmdstan: CmdStan, *, generated: bool = True) -> Program:
    """Compile a Stan program, or return an earlier result for the same text.

    Without ``generated``, the program is compiled without its generated quantities, unless an
    include has that block.

    The cache key is a hash of the program with its includes, CmdStan, the compiler and all flags;
    nothing is written to the user's folder. Includes are searched in the program's folder.
    Processes that compile the same program wait for each other.

    Raises
    ------
    ProgramError
        If the program cannot be read, translated or compiled, with the compiler's message.
    ToolchainError
        If there is no compiler or make, or the cache cannot be written to.
    """
    name = _executable_name(stan_file)
    text = None if generated else bare(stan_file)
    key = f"{name}-{_program_key(stan_file, cmdstan, text)}"
    folder = cache_dir() / "programs" / key
    if not _is_complete(folder):
        programs = build_folder("programs")
        with locked(key):
            if not _is_complete(folder):
                _prepare_once(cmdstan)
                with scratch_folder(key, programs) as scratch:
                    _compile(stan_file, cmdstan, scratch, name, text)
                    shutil.rmtree(folder, ignore_errors=True)
                    scratch.rename(folder)
    used(folder)
    return Program(
        stan_file=stan_file,
        executable=folder / _with_suffix(name),
        cmdstan=cmdstan.path,
        versions=run_versions(cmdstan),
    )


def program_hash(stan_file: Path) -> str:
    """Return the SHA-256 of a program's text with its includes.

    Raises
    ------
    ProgramError
        If the program cannot be read.
    """
    digest = hashlib.sha256()
    for name, text in program_texts(stan_file):
        # Lengths distinguish different texts whose concatenations are equal.
        digest.update(f"{len(name)}:{name}:{len(text)}:".encode())
        digest.update(text)
    return digest.hexdigest()


def program_info(stan_file: Path, cmdstan: CmdStan) -> ProgramInfo:
    """Return the declarations of a program, from ``stanc --info``.

    Raises
    ------
    ProgramError
        If stanc rejects the program, with stanc's message.
    """
    output = _stanc(stan_file, cmdstan, ["--info"])
    try:
        # stanc's remarks on a program, such as integer division, stand before its description.
        blocks = json.loads(output[max(output.find("\n{"), 0) :])
        return ProgramInfo(
            inputs=blocks["inputs"],
            parameters=blocks["parameters"],
            transformed_parameters=blocks["transformed parameters"],
            generated_quantities=blocks["generated quantities"],
        )
    except (ValueError, KeyError, TypeError) as error:
        message = f"{stan_file}: stanc {cmdstan.version_text} printed no description: {output!r}"
        raise ProgramError(message) from error


def updated_program(stan_file: Path, cmdstan: CmdStan) -> Path:
    """Return a program in the syntax that CmdStan's stanc prefers, in a file of the cache.

    CmdStan 2.27 to 2.32 write arrays as Stan does since 2.33, and functions by their new names.

    Raises
    ------
    ProgramError
        If stanc rejects the program, with stanc's message.
    ToolchainError
        If the cache cannot be written to.
    """
    return rewritten_program(_stanc(stan_file, cmdstan, ["--print-canonical"]))


def rewritten_program(text: str) -> Path:
    """Write a program that was changed to a file of the cache, and return that.

    Raises
    ------
    ToolchainError
        If the cache cannot be written to.
    """
    name = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = cache_folder("updated")
    with scratch_folder(name, folder) as scratch:
        (scratch / name).write_text(text, encoding="utf-8")
        return (scratch / name).replace(folder / f"{name}.stan")


def run_versions(cmdstan: CmdStan | None) -> dict[str, str]:
    """Return the versions that a result depends on; without CmdStan those of all else."""
    tools = (
        {}
        if cmdstan is None
        else {
            "cmdstan": cmdstan.version_text,
            "compiler": compiler_version(cmdstan),
            "cmdstanpy": package_version("cmdstanpy"),
        }
    )
    return {
        **tools,
        "python": platform.python_version(),
        "numpy": package_version("numpy"),
        "arviz_stats": package_version("arviz-stats"),
        "harness": package_version("stan-advi-harness"),
    }


@functools.cache
def package_version(name: str) -> str:
    """Return the version of an installed package, or ``"not installed"``."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _program_key(stan_file: Path, cmdstan: CmdStan, text: str | None = None) -> str:
    parts = {
        "format": _FORMAT,
        "program": program_hash(stan_file),
        "cmdstan": cmdstan.version_text,
        # The path too: executables find the TBB library by an absolute path.
        "path": str(cmdstan.path),
        "compiler": compiler_version(cmdstan),
        "flags": build_settings(cmdstan).link_line,
        "stanc": build_settings(cmdstan).stanc_flags,
        **({} if text is None else {"text": text}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _executable_name(stan_file: Path) -> str:
    """Return a name that make and C++ accept; the hash beside it distinguishes programs."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", stan_file.stem)
    return name if name[:1].isalpha() else f"m_{name}"


def _with_suffix(name: str) -> str:
    return f"{name}.exe" if os.name == "nt" else name


def _is_complete(folder: Path) -> bool:
    return (folder / _COMPLETE).is_file()


def program_texts(stan_file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the program and its includes as (name, text); a missing file has an empty text.

    Raises
    ------
    ProgramError
        If the program cannot be read.
    """
    try:
        text = stan_file.read_bytes()
    except OSError as error:
        message = f"cannot read the Stan program {stan_file}: {error.strerror or error}"
        raise ProgramError(message) from error
    yield "", text
    seen: set[str] = set()
    waiting = _included(text)
    while waiting:
        name = waiting.pop(0)
        if name in seen:
            continue
        seen.add(name)
        try:
            text = (stan_file.parent / name).read_bytes()
        except OSError:
            text = b""  # stanc reports it better, with the line
        yield name, text
        waiting += _included(text)


def _included(text: bytes) -> list[str]:
    matches = _INCLUDE.findall(text)
    return [os.fsdecode(next(filter(None, groups))) for groups in matches]


def _stanc(stan_file: Path, cmdstan: CmdStan, options: list[str], source: str = "") -> str:
    """Run stanc from the program's own folder, so that no path needs quoting.

    It reads the program, or the file ``source`` in its place.
    """
    if not stan_file.is_file():
        raise ProgramError(f"there is no Stan program {stan_file}")
    if stan_file.suffix not in {".stan", ".stanfunctions"}:
        raise ProgramError(f"{stan_file} is not a Stan program: its name must end in .stan")
    program = source or f"./{stan_file.name}"
    command = [
        str(stanc_path(cmdstan.path)),
        *build_settings(cmdstan).stanc_flags,
        f"--filename-in-msg={stan_file}",
        "--include-paths=.",
        *options,
        program,
    ]
    code, output, errors = run_tool(command, stan_file.absolute().parent)
    if code != 0:
        words = (errors.strip() or output.strip()).replace(f"'{program}'", f"'{stan_file}'")
        words = words.replace("'./", f"'{stan_file.parent}/")
        raise ProgramError(words or f"stanc failed on {stan_file} with exit code {code}")
    return output


def _prepare_once(cmdstan: CmdStan) -> None:
    """Build what another installation of CmdStan may lack, in one process only."""
    if missing_prerequisites(cmdstan):
        digest = hashlib.sha256(str(cmdstan.path).encode()).hexdigest()[:16]
        with locked(f"prepare-{digest}"):
            prepare(cmdstan)


def translate(stan_file: Path, cmdstan: CmdStan, folder: Path, text: str | None = None) -> Path:
    """Let stanc write a program's C++ into a folder; return the file.

    With ``text``, that of the program as changed, which is compiled in its place.

    Raises
    ------
    ProgramError
        If stanc rejects the program, with stanc's message.
    """
    name = _executable_name(stan_file)
    code = folder / f"{name}.hpp"
    source = "" if text is None else rewritten_program(text).as_posix()
    _stanc(stan_file, cmdstan, [f"--name={name}_model", f"--o={code}"], source)
    if source:
        # Messages name the user's file.
        written = code.read_text(encoding="utf-8").replace(source, f"./{stan_file.name}")
        code.write_text(written, encoding="utf-8")
    return code


def _compile(stan_file: Path, cmdstan: CmdStan, folder: Path, name: str, text: str | None) -> None:
    # make gets only the C++, because beside a .stan file it would scan all headers again.
    code = translate(stan_file, cmdstan, folder, text)
    executable = folder / _with_suffix(name)
    status, output, errors = run_tool([make_command(), executable.as_posix()], cmdstan.path)
    if status != 0 or not os.access(executable, os.X_OK):
        raise ProgramError(_compiler_message(stan_file, f"{output}\n{errors}"))
    code.unlink()
    (folder / _COMPLETE).write_text(json.dumps({"stan_file": str(stan_file)}), encoding="utf-8")


def _compiler_message(stan_file: Path, console: str) -> str:
    if "Killed" in console or "out of memory" in console:
        return (
            f"{stan_file}: the C++ compiler was stopped, probably because memory ran out (a "
            "program needs about 2 GB); compile fewer programs at once with --jobs 1"
        )
    words = first_errors(console)
    hint = ""
    if "PCH" in words or "precompiled header" in words:
        hint = "\nThe precompiled header is out of date: remove CmdStan's *.gch files."
    return f"{stan_file}: stanc accepts the program, the C++ compiler does not:\n{words}{hint}"
