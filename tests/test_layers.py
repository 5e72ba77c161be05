from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "harness"

FLOORS: tuple[tuple[str, ...], ...] = (
    ("records", "ranks"),
    ("stan", "vi", "metrics"),
    ("models", "intake"),
    ("methods",),
    ("judgement",),
    ("why",),
    ("report",),
    ("study",),
    ("check", "api"),
    ("cli",),
)
"""The rooms from the ground up. A room imports from itself and from lower floors, nothing else."""

DOORS = frozenset({"__init__", "__main__", "bridge"})
"""The ways into the house: they import from any room, and no room imports from them."""

CONFINED: dict[str, tuple[str, ...]] = {
    "cmdstanpy": ("stan", "methods.cmdstan"),
    "matplotlib": ("report.figures",),
    "distributed": ("study.cluster", "study.remote"),
}
"""Third-party packages and the only modules that may import them."""

LAZY = frozenset({"cmdstanpy", "distributed"})
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


def complaints(package: Path, floors: Sequence[Sequence[str]] = FLOORS) -> list[str]:
    """Return what is wrong with the imports of a package, one sentence for each."""
    height = {room: number for number, floor in enumerate(floors) for room in floor}
    files = {f"harness.{name}".removesuffix(".__init__") for name, _ in modules(package)}
    found, graph = [], {}
    for name, path in modules(package):
        room = name.split(".")[0]
        if room not in height and room not in DOORS:
            found.append(f"harness.{name} is in no room: add {room} to a floor")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        wanted = set()
        for target, at_load in imports(tree, name, is_package=path.name == "__init__.py"):
            top = target.split(".")[0]
            if top == "harness":
                module = _module(target, files)
                wanted.add(module)
                other = module.partition(".")[2].split(".")[0] or "__init__"
                if room not in DOORS and other != room:
                    found += _floor_complaints(name, room, other, height)
            elif top in CONFINED:
                found += _confined_complaints(name, top, at_load=at_load)
        graph[_module(f"harness.{name}", files)] = wanted
    return found + [f"a circle: {' -> '.join(circle)}" for circle in circles(graph)]


def _module(target: str, files: set[str]) -> str:
    """Return the module that an import of a name loads: the name itself, or where it stands."""
    if target in files or target == "harness":
        return target
    return _module(target.rpartition(".")[0], files)


def _floor_complaints(name: str, room: str, other: str, height: Mapping[str, int]) -> list[str]:
    if other in DOORS:
        return [f"harness.{name} imports harness.{other}, which is a door of the house"]
    if other not in height:
        return [f"harness.{name} imports harness.{other}, which is in no room"]
    if height[other] < height[room]:
        return []
    return [
        f"harness.{name} (floor {height[room]}) imports harness.{other} (floor {height[other]})"
    ]


def _confined_complaints(name: str, top: str, *, at_load: bool) -> list[str]:
    homes = CONFINED[top]
    if not any(name == home or name.startswith(f"{home}.") for home in homes):
        return [f"harness.{name} imports {top}, which only {' and '.join(homes)} may"]
    if top in LAZY and at_load:
        return [f"harness.{name} imports {top} when it is loaded; import it in the function"]
    return []


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return one circle of imports for each module that closes one, imports for types included."""
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> None:
        if node in path:
            found.append([*path[path.index(node) :], node])
            return
        if node in done:
            return
        for other in sorted(graph.get(node, ())):
            walk(other, [*path, node])
        done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def test_no_room_imports_from_its_own_floor_or_a_higher_one() -> None:
    """Imports respect the floors and the confined packages, and no two modules need each other."""
    assert complaints(PACKAGE) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        (
            "metrics.py",
            "from harness.judgement import RULES",
            r"metrics \(floor 1\) imports .*judgement",
        ),
        ("metrics.py", "from harness import judgement", r"metrics \(floor 1\) imports .*judgement"),
        ("metrics.py", "import harness.judgement", r"metrics \(floor 1\) imports .*judgement"),
        (
            "metrics/deep.py",
            "from ..judgement import RULES",
            r"deep \(floor 1\) imports .*judgement",
        ),
        (
            "metrics/__init__.py",
            "from ..judgement import R",
            r"metrics \(floor 1\) imports .*judgement",
        ),
        ("metrics.py", "def f():\n    from harness import cli", r"metrics .* imports .*cli"),
        ("metrics.py", "try:\n    x\nexcept E:\n    import harness.cli", r"imports .*cli"),
        (
            "metrics.py",
            "if TYPE_CHECKING:\n    from harness.study import X",
            r"metrics \(floor 1\) imports .*study",
        ),
        ("metrics.py", "from harness import stan", r"metrics \(floor 1\) imports .*stan .floor 1"),
        ("metrics.py", "from harness import compare", r"which is a door of the house"),
        ("metrics.py", "from harness import bridge", r"which is a door of the house"),
        ("records.py", "from harness import __version__", r"which is a door of the house"),
        ("novel.py", "x = 1", r"harness.novel is in no room"),
        ("novel/inner.py", "x = 1", r"harness.novel.inner is in no room"),
        (
            "judgement/a.py",
            "from harness.judgement import b",
            r"a circle: .*judgement.a -> .*judgement.b",
        ),
        ("judgement/a.py", "if TYPE_CHECKING:\n    from . import b", r"a circle: .*judgement.a"),
        (
            "judgement/a.py",
            "def f():\n    from harness.judgement.b import x",
            r"a circle: .*judgement.a",
        ),
        (
            "judgement.py",
            "import matplotlib.pyplot as plt",
            r"judgement imports matplotlib, which only",
        ),
        ("report/html.py", "import matplotlib", r"html imports matplotlib, which only"),
        ("methods/advi.py", "def f():\n    import cmdstanpy", r"methods.advi imports cmdstanpy"),
        ("methods/cmdstan.py", "import cmdstanpy", r"imports cmdstanpy when it is loaded"),
    ],
)
def test_the_check_sees_every_kind_of_bad_import(
    tmp_path: Path, file: str, text: str, complaint: str
) -> None:
    """An import that breaks a rule is reported, however it is written."""
    others = ("judgement/__init__.py", "stan/__init__.py", "cli.py", "study.py", "bridge.py")
    for other in ("__init__.py", *(o for o in others if not file.startswith(o[:-3]))):
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_text("", encoding="utf-8")
    (tmp_path / "judgement/b.py").write_text("from harness.judgement.a import y", encoding="utf-8")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        assert not (found := complaints(tmp_path)), "; ".join(found)


def test_the_check_accepts_good_imports(tmp_path: Path) -> None:
    """Imports of lower floors, neighbours in the same room and lazy packages pass."""
    good = {
        "records.py": "import math",
        "metrics.py": "from .records import Rule",
        "judgement.py": "from harness.records import Rule\nimport numpy",
        "stan.py": "from .records import Program\ndef f():\n    import cmdstanpy",
        "methods/__init__.py": "from . import cmdstan\nfrom harness.methods import loop",
        "methods/loop.py": "from harness.methods import cmdstan",
        "methods/cmdstan.py": "if TYPE_CHECKING:\n    import cmdstanpy",
        "report/figures/canvas.py": "import matplotlib",
        "api.py": "",
        "__init__.py": "def __getattr__(name):\n    from harness import api",
    }
    for file, text in good.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
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
