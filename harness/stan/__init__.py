"""Find or install CmdStan, and compile Stan programs once.

``python -m harness.stan`` installs a CmdStan if there is none, and prints its folder.
"""

from harness.stan.cache import (
    ProgramError,
    ToolchainError,
    build_folder,
    cache_dir,
    cache_folder,
    first_errors,
    locked,
    make_command,
    run_tool,
    scratch_folder,
)
from harness.stan.compile import (
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
from harness.stan.find import (
    CmdStan,
    build_settings,
    compiler_version,
    find_cmdstan,
    inspect_cmdstan,
)
from harness.stan.install import ensure_cmdstan

__all__ = [
    "Check",
    "CmdStan",
    "ProgramError",
    "ProgramInfo",
    "ToolchainError",
    "build_folder",
    "build_settings",
    "cache_dir",
    "cache_folder",
    "compile_program",
    "compiler_version",
    "diagnose",
    "ensure_cmdstan",
    "find_cmdstan",
    "first_errors",
    "inspect_cmdstan",
    "locked",
    "make_command",
    "package_version",
    "program_hash",
    "program_info",
    "program_texts",
    "run_tool",
    "run_versions",
    "scratch_folder",
    "translate",
]
