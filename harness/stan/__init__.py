"""Find, or install and build, CmdStan; compile Stan programs once.

``python -m harness.stan`` makes sure that there is a CmdStan and prints where it is.
"""

from harness.stan.cache import (
    ProgramError,
    ToolchainError,
    build_folder,
    cache_dir,
    cache_folder,
    locked,
    make_command,
    run_tool,
)
from harness.stan.compile import (
    Declaration,
    ProgramInfo,
    compile_program,
    package_version,
    program_hash,
    program_info,
    program_texts,
    run_versions,
    translate,
)
from harness.stan.doctor import Check, diagnose
from harness.stan.find import CmdStan, build_flags, compiler_version, find_cmdstan, inspect_cmdstan
from harness.stan.install import ensure_cmdstan

__all__ = [
    "Check",
    "CmdStan",
    "Declaration",
    "ProgramError",
    "ProgramInfo",
    "ToolchainError",
    "build_flags",
    "build_folder",
    "cache_dir",
    "cache_folder",
    "compile_program",
    "compiler_version",
    "diagnose",
    "ensure_cmdstan",
    "find_cmdstan",
    "inspect_cmdstan",
    "locked",
    "make_command",
    "package_version",
    "program_hash",
    "program_info",
    "program_texts",
    "run_tool",
    "run_versions",
    "translate",
]
