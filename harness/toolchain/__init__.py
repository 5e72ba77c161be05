"""Find, or install and build, CmdStan; compile Stan programs once.

``python -m harness.toolchain`` makes sure that there is a CmdStan and prints where it is.
"""

from harness.toolchain.common import (
    ProgramError,
    ToolchainError,
    build_folder,
    cache_dir,
    cache_folder,
    locked,
    make_command,
    run_tool,
)
from harness.toolchain.doctor import Check, diagnose
from harness.toolchain.find import (
    CmdStan,
    build_flags,
    compiler_version,
    find_cmdstan,
    inspect_cmdstan,
)
from harness.toolchain.install import ensure_cmdstan
from harness.toolchain.programs import (
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
