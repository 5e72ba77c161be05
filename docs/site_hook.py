"""The pages of the site that are made from the code: a hook of MkDocs (``mkdocs.yml``).

The five tables, the lessons of the lecture, README, CONTRIBUTING and CHANGELOG, and the gallery of
reports are added to the Markdown pages of this folder, so none of them is written twice.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "reports" / "lecture"
COPIED = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
"""Pages of the repository's root; the README is the site's first page."""

EXAMPLE = "gallery/eight_schools/index.html"
"""A report made while the site is built: that of ``harness compare --quick`` on a small model."""

ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>(~?)([\w.]+)</code>")
LESSON = re.compile(r"<!-- lesson: (\w+) -->")
FAMILIES = {"meanfield": "a mean-field Gaussian", "fullrank": "a full-rank Gaussian"}
GAPS = {
    "family": "The family gap: what even the best Gaussian of the family loses",
    "optimiser": "The optimiser gap: what this run loses to that Gaussian",
    "method": "Methods without a Gaussian: chains, particles, weights",
    "none": "Notes, where no cause can be named or needed",
}
SCOPES = {
    "draws": "Summaries of one quantity",
    "quantity": "A quantity beside the reference",
    "joint": "All quantities together",
    "unconstrained": "All parameters on the unconstrained scale",
    "seeds": "A method over its seeds",
    "run": "A run by itself",
    "chain": "A quantity's chains",
    "sampler": "A sampler's chains",
}


def cell(text: str) -> str:
    """Return a text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", r"\|")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def methods_page() -> str:
    """Return the page of METHODS: every method with its options and their defaults."""
    from harness.methods import DEFAULT_METHODS, METHODS
    from harness.records.text import integer

    parts = [
        "# All methods",
        (
            "The table `METHODS`, in its order. [Methods](../methods.md) explains them; "
            "`--set METHOD.OPTION=VALUE` changes an option. Seeds and draws are the defaults."
        ),
    ]
    for method in METHODS.values():
        seeds = "1 seed" if method.seeds == 1 else f"{method.seeds} seeds"
        facts = [f"`{method.name}`", seeds, f"{integer(method.draws)} draws"]
        if method.family is not None:
            facts.append(FAMILIES[method.family])
        facts.append("every program" if method.name in DEFAULT_METHODS else "on request")
        parts += [f"## {method.title}", f"{method.what[:1].upper()}{method.what[1:]}."]
        parts.append(" · ".join(facts))
        options = [(f"`{name}`", f"`{value}`") for name, value in method.defaults.items()]
        if options:
            parts.append(table(("option", "default"), options))
    return "\n\n".join(parts) + "\n"


def metrics_page() -> str:
    """Return the page of METRICS with the limits of those that are judged."""
    from harness.metrics import METRICS

    parts = [
        "# All metrics",
        (
            "The table `METRICS`. [From figures to verdicts](../judging.md) defines units, kinds "
            "of quantities and levels. Metrics without limits are reported, and not judged."
        ),
    ]
    for scope, title in SCOPES.items():
        parts.append(f"## {title}")
        rows = [
            (
                f"`{metric.id}`",
                metric.title,
                ", ".join(metric.kinds) if scope == "quantity" else "–",
                metric.limits(metric.rule) if metric.rule else "–",
                metric.rule.why if metric.rule else "–",
            )
            for metric in METRICS.values()
            if metric.scope == scope
        ]
        if scope == "draws":  # summaries: none is judged
            parts.append(table(("metric", "what it is"), [row[:2] for row in rows]))
        else:
            parts.append(table(("metric", "what it is", "kinds", "limits", "why these"), rows))
    return "\n\n".join(parts) + "\n"


def causes_page() -> str:
    """Return the page of CAUSES, by gap, with the remedies that are for each."""
    from harness.why.causes import CAUSES
    from harness.why.remedies import REMEDIES

    always = ", ".join(r.name for r in REMEDIES.values() if r.always)
    parts = [
        "# All causes",
        (
            "The table `CAUSES`. Causes are looked for in this order, and each one sees how much "
            "of the gap the earlier ones leave unexplained. [Why a fit is wrong](../why.md) says "
            "when each one is found. Results and baselines keep the id. "
            f"Whatever the cause is, these are worth a trial: {always}."
        ),
    ]
    for gap, title in GAPS.items():
        rows = [
            (
                f"`{row.id}`",
                row.name,
                ", ".join(
                    f"[{r.name}](remedies.md)" for r in REMEDIES.values() if row.id in r.causes
                )
                or "–",
            )
            for row in CAUSES.values()
            if row.gap == gap
        ]
        parts += [f"## {title}", table(("id", "cause", "remedies for this one"), rows)]
    return "\n\n".join(parts) + "\n"


def remedies_page() -> str:
    """Return the page of REMEDIES with the causes that each one is for."""
    from harness.why.causes import CAUSES
    from harness.why.remedies import REMEDIES

    rows = []
    for remedy in REMEDIES.values():
        causes = ", ".join(CAUSES[name].name for name in remedy.causes)
        when = "whatever the cause" if remedy.always else "for its causes"
        if remedy.hint:
            when = "for its causes only"
        rows.append((f"`{remedy.id}`", remedy.name, causes or "–", when))
    return "\n\n".join(
        (
            "# All remedies",
            ("The table `REMEDIES`, in the order in which they are proposed. With `--remedies`, "
            "each one that fits is tried, and its effect is reported ([how](../why.md#remedies))."),
            table(("id", "remedy", "causes that it is for", "proposed"), rows),
        )
    ) + "\n"  # fmt: skip


TABLES: dict[str, Callable[[], str]] = {
    "tables/methods.md": methods_page,
    "tables/metrics.md": metrics_page,
    "tables/causes.md": causes_page,
    "tables/remedies.md": remedies_page,
}
"""Pages of the site by address, and what writes each; ``MODELS`` are the lessons of lecture.md."""


def lesson(name: str) -> str:
    """Return a lecture model's section: its title and its lesson.

    Raises FileNotFoundError for a model that there is not.
    """
    model = tomllib.loads((ROOT / "stan" / name / "model.toml").read_text(encoding="utf-8"))
    source = f"`{name}`, {model['source']}"
    return f"### {model['title']}\n\n{model['lesson'].strip()} *({source})*"


def with_lessons(markdown: str) -> str:
    """Return a page with the lessons in the places that name them."""
    return LESSON.sub(lambda match: lesson(match[1]), markdown)


def moved(markdown: str) -> str:
    """Return a page of the repository's root with its links as from the site's root.

    What the site does not have, such as the licence, keeps its words and loses its link.
    """

    def link(match: re.Match[str]) -> str:
        text, address = match[1], match[2]
        if address.startswith(("http", "#")):
            return match[0]
        if address.startswith("reports/lecture"):
            return f"[{text}](gallery/lecture/index.html)"
        if address.startswith("docs/") or address in COPIED:
            return f"[{text}]({address.removeprefix('docs/')})"
        return text

    return re.sub(r"\[([^\]\[]+)\]\(([^)\s]+)\)", link, markdown)


def league() -> str:
    """Return the league page of the committed sample."""
    from harness.report import league as report
    from harness.report.html import league_page

    return league_page(report.league([SAMPLE]))


def pages() -> dict[str, str]:
    """Return all generated pages and files by address, but for the :data:`EXAMPLE`."""
    made = {address: write() for address, write in TABLES.items()}
    for name in COPIED:
        text = moved((ROOT / name).read_text(encoding="utf-8"))
        made["index.md" if name == "README.md" else name] = text
    made["gallery/lecture/index.html"] = (SAMPLE / "index.html").read_text(encoding="utf-8")
    made["gallery/league/index.html"] = league()
    return made


def example() -> str:
    """Compare on eight schools without a compiler, and return the report."""
    import harness

    folder = ROOT / "docs"
    result = harness.compare(
        folder / "eight_schools.stan", folder / "eight_schools.json", quick=True
    )
    with tempfile.TemporaryDirectory() as made:
        return result.to_html(Path(made) / "index.html").read_text(encoding="utf-8")


def unlisted() -> list[str]:
    """Return the pages of this folder that the navigation in ``mkdocs.yml`` does not name."""
    named = set(re.findall(r"(?m)(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    here = ROOT / "docs"
    return sorted({path.relative_to(here).as_posix() for path in here.rglob("*.md")} - named)


def on_config(config: MkDocsConfig) -> None:
    """Put pages that the navigation does not name at its end, so that none is left out."""
    if config.nav is not None and (pages := unlisted()):
        config.nav.append({"More": pages})


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for address, content in (pages() | {EXAMPLE: example()}).items():
        files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write the lessons, and links to pages of the repository's root as links of the site."""
    return with_lessons(markdown).replace("](../CONTRIBUTING.md", "](CONTRIBUTING.md")


def on_page_content(html: str, **_: Any) -> str:
    """Show what docstrings name in Sphinx's roles as code, ``~`` by its last part."""
    return ROLE.sub(
        lambda m: f"<code>{m[2].rpartition('.')[2] if m[1] else m[2]}</code>",
        html,
    )
