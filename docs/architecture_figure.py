"""Draw docs/architecture.svg: the packages of harness/, their floors and who imports whom.

``make figure`` runs this; it needs Graphviz. Floors come from tests/test_layers.py and arrows from
the imports in harness/, so nothing is placed by hand. The source of the drawing is kept in the
file, and a test compares it with the code as it is.
"""

from __future__ import annotations

import ast
import html
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from test_layers import DOORS, FLOORS, PACKAGE, imports, modules  # noqa: E402 - needs the line above

FILE = ROOT / "docs" / "architecture.svg"

CAPTIONS = {
    "records": "what travels between packages;<br/>the one writer of numbers",
    "ranks": "ranks of many columns",
    "stan": "CmdStan: find, install, compile;<br/>gradients in process",
    "vi": "inference on any log density,<br/>without Stan or files",
    "metrics": "how far apart two samples are,<br/>with a Monte Carlo error",
    "models": "programs, data,<br/>exact posteriors",
    "intake": "draws that others made:<br/>fits, trees, tables, files",
    "methods": "ways to fit",
    "judgement": "limits, verdicts, trust in the reference",
    "why": "why a fit fails, and what to try",
    "report": "page, figures, tables, terminal",
    "study": "plan, run, keep: nothing twice",
    "check": "did it change?<br/>baselines, pytest plugin",
    "api": "harness.compare, judge,<br/>target",
    "cli": "one file per command",
}
"""What a package does, in a few words; a package without its words cannot be drawn."""

TABLES = {
    "models": "MODELS",
    "methods": "METHODS",
    "metrics": "METRICS",
    "why": "CAUSES, REMEDIES",
}
"""The packages that hold the tables."""

STYLE = """\
  graph [rankdir=TB, bgcolor="#ffffff", pad=0.25, nodesep=0.3, ranksep=0.32, splines=true,
         fontname="DejaVu Sans"]
  node [shape=box, style="rounded,filled", color="#8a94a3", fillcolor="#f4f6f9", penwidth=1.2,
        fontname="DejaVu Sans", fontsize=11, fontcolor="#1d2430", margin="0.16,0.08"]
  edge [color="#5b6675", arrowsize=0.7, penwidth=1.1]
"""


def arrows() -> set[tuple[str, str]]:
    """Return every pair of packages where the first imports the second."""
    found = set()
    for name, path in modules(PACKAGE):
        package = name.split(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for target, _ in imports(tree, name, is_package=path.name == "__init__.py"):
            top, _, rest = target.partition(".")
            other = rest.split(".")[0]
            if top == "harness" and package not in DOORS and other in CAPTIONS:
                found.add((package, other))
    return {(a, b) for a, b in found if a != b}


def reduced(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out arrows that a longer path implies, so that the drawing stays readable."""
    below: dict[str, set[str]] = {}
    for package in (p for floor in FLOORS for p in floor):
        near = {b for a, b in pairs if a == package}
        below[package] = near.union(*(below[b] for b in near))
    return {
        (a, b)
        for a, b in pairs
        if not any(b in below[other] for start, other in pairs if start == a and other != b)
    }


def source() -> str:
    """Return the drawing in Graphviz's language."""
    lines = ["digraph harness {", STYLE.rstrip()]
    for number, floor in enumerate(FLOORS):
        names = " ".join(f'"{package}"' for package in floor)
        lines.append(f'  floor{number} [shape=plain, style="", label="", width=0]')
        lines.append(f"  {{ rank=same; floor{number}; {names} }}")
    chain = " -> ".join(f"floor{n}" for n in reversed(range(len(FLOORS))))
    lines.append(f"  {chain} [style=invis]")
    for package in (p for floor in FLOORS for p in floor):
        table = TABLES.get(package)
        row = f'<br/><font color="#9a3412"><b>{table}</b></font>' if table else ""
        label = f'<b>{package}</b>{row}<br/><font point-size="9.5">{CAPTIONS[package]}</font>'
        colour = ', color="#c2673a", fillcolor="#fdf1e7"' if table else ""
        lines.append(f'  "{package}" [label=<{label}>{colour}]')
    lines += [f'  "{a}" -> "{b}"' for a, b in sorted(reduced(arrows()))]
    return "\n".join([*lines, "}", ""])


def drawn_source(svg: str) -> str:
    """Return the source that a drawing was made from."""
    return html.unescape(svg.partition("<metadata>")[2].partition("</metadata>")[0])


def main() -> None:
    """Draw, and keep the source in the drawing."""
    text = source()
    done = subprocess.run(
        ["dot", "-Tsvg"], input=text, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    head, end, rest = done.stdout.partition("</title>\n")
    FILE.write_text(f"{head}{end}<metadata>{html.escape(text)}</metadata>\n{rest}", "utf-8")


if __name__ == "__main__":
    main()
