"""Find or install CmdStan, and compile Stan programs once.

``python -m harness.stan`` installs a CmdStan if there is none, and prints its folder.
"""

from harness.stan.cache import ProgramError as ProgramError
from harness.stan.cache import ToolchainError as ToolchainError
from harness.stan.cache import build_folder as build_folder
from harness.stan.cache import cache_dir as cache_dir
from harness.stan.cache import cache_folder as cache_folder
from harness.stan.cache import first_errors as first_errors
from harness.stan.cache import locked as locked
from harness.stan.cache import make_command as make_command
from harness.stan.cache import run_tool as run_tool
from harness.stan.cache import scratch_folder as scratch_folder
from harness.stan.compile import ProgramInfo as ProgramInfo
from harness.stan.compile import compile_program as compile_program
from harness.stan.compile import package_version as package_version
from harness.stan.compile import program_hash as program_hash
from harness.stan.compile import program_info as program_info
from harness.stan.compile import program_texts as program_texts
from harness.stan.compile import run_versions as run_versions
from harness.stan.compile import translate as translate
from harness.stan.compile import updated_program as updated_program
from harness.stan.doctor import Check as Check
from harness.stan.doctor import diagnose as diagnose
from harness.stan.find import CmdStan as CmdStan
from harness.stan.find import build_settings as build_settings
from harness.stan.find import compiler_version as compiler_version
from harness.stan.find import find_cmdstan as find_cmdstan
from harness.stan.find import inspect_cmdstan as inspect_cmdstan
from harness.stan.install import ensure_cmdstan as ensure_cmdstan
from harness.stan.source import declared_data as declared_data
from harness.stan.source import random_data as random_data
