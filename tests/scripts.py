"""Modules from files outside the package (benchmarks, figures, data of models), and programs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import cmdstanpy

Compiled = Callable[[Path], "cmdstanpy.CmdStanModel"]
"""The fixture ``compiled``: what makes a model of CmdStanPy of a program's file."""


def load(path: Path, name: str = "") -> ModuleType:
    """Return the module in a file, by default under the file's own name."""
    name = name or path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
