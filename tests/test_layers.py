from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness"

FLOORS: dict[str, int] = {
    "records": 0,
    "titles": 0,
    "metrics": 0,
    "references": 0,
    "log_evidence": 0,
    "toolchain": 0,
    "bridge": 0,
    "vi": 0,
    "datatree": 0,
    "registry": 1,
    "store": 1,
    "judge": 1,
    "compare": 1,
    "claims": 1,
    "measuring": 1,
    "results": 1,
    "progress": 1,
    "methods": 2,
    "choices": 3,
    "execute": 3,
    "why": 3,
    "reasons": 4,
    "baseline": 3,
    "tasks": 3,
    "trials": 3,
    "analysis": 4,
    "checking": 4,
    "planning": 4,
    "pipeline": 4,
    "plots": 4,
    "report": 4,
    "checkwords": 4,
    "terminal": 5,
    "terminal_check": 5,
    "api": 5,
    "pytest_plugin": 5,
    "cli": 5,
    "__init__": 5,
    "__main__": 5,
}
"""Every module or subpackage of the harness and its floor; what is not here fails."""

BESIDE: dict[str, set[str]] = {
    "records": {"titles"},
    "metrics": {"records"},
    "references": {"records"},
    "log_evidence": {"records", "references"},
    "toolchain": {"records"},
    "bridge": {"records", "toolchain"},
    "vi": {"records"},
    "datatree": {"records"},
    "results": {"judge"},
    "tasks": {"trials"},
    "claims": {"judge"},
    "report": {"plots"},
    "analysis": {"plots", "reasons"},
    "pipeline": {"analysis", "planning", "report"},
    "checking": {"analysis", "pipeline", "planning"},
    "terminal_check": {"terminal"},
    "cli": {"api", "terminal", "terminal_check"},
    "__init__": {"api"},
    "__main__": {"cli"},
}
"""Imports within one floor; all others on the same floor fail."""

CONFINED: dict[str, tuple[str, ...]] = {
    "cmdstanpy": ("toolchain", "methods.cmdstan"),
    "matplotlib": ("plots",),
    "dask": ("execute",),
    "distributed": ("execute",),
}
"""Third-party packages and the only modules that may import them."""

LAZY = {"cmdstanpy", "dask", "distributed"}
"""Confined packages that are imported inside functions only."""

HEAVY = ("numpy", "pandas", "scipy", "xarray", "cmdstanpy", "matplotlib", "arviz_base", "pydantic")
"""What `harness --help` must not wait for."""


def modules(package: Path) -> Iterator[tuple[str, Path]]:
    """Yield each module's dotted name inside the package, and its file."""
    for path in sorted(package.rglob("*.py")):
        if "_stan" not in path.relative_to(package).parts:  # the wheel's models are data
            parts = path.relative_to(package).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts), path


def imports(tree: ast.Module, name: str, *, is_package: bool) -> Iterator[tuple[str, bool]]:
    """Yield every imported dotted name, and whether the import happens when the file is loaded.

    Imports for the type checker alone count as not happening when the file is loaded, but they
    do count.
    """
    nodes = [(node, True) for node in tree.body]
    while nodes:
        node, at_load = nodes.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_load) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, name, is_package=is_package)
            yield from ((f"{base}.{alias.name}", at_load) for alias in node.names)
        else:
            inside = at_load and not _deferred(node)
            children = ast.iter_child_nodes(node)
            nodes += [(child, inside) for child in children if isinstance(child, ast.stmt)]
            nodes += [(s, inside) for c in ast.iter_child_nodes(node) for s in _handlers(c)]


def _handlers(node: ast.AST) -> list[ast.stmt]:
    return node.body if isinstance(node, (ast.ExceptHandler, ast.match_case)) else []


def _deferred(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _absolute(node: ast.ImportFrom, name: str, *, is_package: bool) -> str:
    if node.level == 0:
        return node.module or ""
    here = ["harness", *name.split(".")]
    base = here[: len(here) - node.level + (1 if is_package else 0)]
    return ".".join([*base, *([node.module] if node.module else [])])


def complaints(
    package: Path,
    floors: Mapping[str, int] = FLOORS,
    beside: Mapping[str, set[str]] = BESIDE,
) -> list[str]:
    """Return what is wrong with the imports of a package, one sentence for each."""
    found = []
    for name, path in modules(package):
        unit = name.split(".")[0]
        if unit not in floors:
            found.append(f"harness.{name} has no floor: add it to FLOORS")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for target, at_load in imports(tree, name, is_package=path.name == "__init__.py"):
            top, _, rest = target.partition(".")
            if top == "harness":
                other = rest.split(".")[0] or "__init__"
                other = other if other in floors or _is_module(package, other) else "__init__"
                found += _floor_complaints(name, unit, other, floors, beside)
            elif top in CONFINED:
                found += _confined_complaints(name, top, at_load=at_load)
    return found


def _is_module(package: Path, name: str) -> bool:
    return (package / name).is_dir() or (package / f"{name}.py").is_file()


def _floor_complaints(
    name: str, unit: str, other: str, floors: Mapping[str, int], beside: Mapping[str, set[str]]
) -> list[str]:
    if other == unit:
        return []
    if other not in floors:
        return [f"harness.{name} imports harness.{other}, which has no floor"]
    if floors[other] > floors[unit]:
        return [
            f"harness.{name} (floor {floors[unit]}) imports harness.{other} (floor {floors[other]})"
        ]
    if floors[other] == floors[unit] and other not in beside.get(unit, set()):
        return [f"harness.{name} imports harness.{other} on its own floor: add it to BESIDE"]
    return []


def _confined_complaints(name: str, top: str, *, at_load: bool) -> list[str]:
    homes = CONFINED[top]
    if not any(name == home or name.startswith(f"{home}.") for home in homes):
        return [f"harness.{name} imports {top}, which only {' and '.join(homes)} may"]
    if top in LAZY and at_load:
        return [f"harness.{name} imports {top} when it is loaded; import it in the function"]
    return []


def test_no_floor_imports_a_higher_one() -> None:
    """The imports of every module respect the floors and the confined packages."""
    assert complaints(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("metrics.py", "from harness.judge import RULES", r"metrics \(floor 0\) imports .*judge"),
        ("metrics.py", "from harness import judge", r"metrics \(floor 0\) imports .*judge"),
        ("metrics.py", "import harness.judge", r"metrics \(floor 0\) imports .*judge"),
        ("metrics/deep.py", "from ..judge import RULES", r"deep \(floor 0\) imports .*judge"),
        ("metrics/__init__.py", "from ..judge import R", r"metrics \(floor 0\) imports .*judge"),
        ("store.py", "def f():\n    from harness import cli", r"store \(floor 1\) imports .*cli"),
        ("store.py", "try:\n    x\nexcept E:\n    import harness.cli", r"imports .*cli"),
        (
            "store.py",
            "if TYPE_CHECKING:\n    from harness.pipeline import X",
            r"store \(floor 1\) imports .*pipeline",
        ),
        ("metrics.py", "from harness import compare", r"metrics \(floor 0\) imports .*compare"),
        ("records.py", "from harness import __version__", r"imports harness.__init__"),
        ("judge.py", "from harness import store", r"on its own floor: add it to BESIDE"),
        ("novel.py", "x = 1", r"harness.novel has no floor"),
        ("store.py", "from harness import store2", r"store .* imports harness.__init__"),
        ("novel/inner.py", "x = 1", r"harness.novel.inner has no floor"),
        ("judge.py", "import matplotlib.pyplot as plt", r"judge imports matplotlib, which only"),
        ("methods/advi.py", "def f():\n    import cmdstanpy", r"methods.advi imports cmdstanpy"),
        ("methods/cmdstan.py", "import cmdstanpy", r"imports cmdstanpy when it is loaded"),
        ("execute.py", "from dask import distributed", r"imports dask when it is loaded"),
        ("pipeline.py", "def f():\n    import distributed", r"pipeline imports distributed"),
    ],
)
def test_the_check_sees_every_kind_of_bad_import(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    """An import that breaks a rule is reported, however it is written."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        assert not (found := complaints(tmp_path)), "; ".join(found)


def test_the_check_accepts_good_imports(tmp_path: Path) -> None:
    """Imports of lower floors, listed neighbours and lazy packages pass."""
    (tmp_path / "methods").mkdir()
    good = {
        "judge.py": "from harness.records import Rule\nfrom harness import metrics\nimport numpy",
        "toolchain.py": "from .records import Program\ndef f():\n    import cmdstanpy",
        "methods/__init__.py": "from . import cmdstan\nfrom harness.methods import loop",
        "methods/cmdstan.py": "if TYPE_CHECKING:\n    import cmdstanpy",
        "plots.py": "import matplotlib",
        "execute.py": "def f():\n    from distributed import Client",
        "__init__.py": "def __getattr__(name):\n    from harness import api",
    }
    for file, text in good.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert complaints(tmp_path) == []


@pytest.mark.parametrize("module", ["harness", "harness.cli"])
def test_the_command_line_starts_without_heavy_packages(module: str) -> None:
    """Importing the package or its command line loads no numerical package."""
    script = f"import sys, {module}; print(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
