"""The HTML report: one self-contained file. It formats what the records carry, no more."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness import plots
from harness.plots import looks, words
from harness.report import findings, program, provenance, quantities, runs, summary, variances

if TYPE_CHECKING:
    from harness.plots import Figure, Panel
    from harness.records import Comparison, ModelComparison

__all__ = ["render", "to_html"]


def render(
    comparison: Comparison,
    path: Path,
    figures: Mapping[str, Sequence[Figure]] | None = None,
) -> None:
    """Write the report of a comparison as one HTML file that asks the network for nothing.

    Parameters
    ----------
    comparison
        What was measured and judged. Where ``figures`` are given, its runs and references
        may come without their arrays.
    path
        The file to write; its folder is made if need be.
    figures
        Model name to what :func:`harness.plots.figures_for` returned for it; models that
        are missing here are drawn now.
    """
    text = to_html(comparison, figures)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def to_html(comparison: Comparison, figures: Mapping[str, Sequence[Figure]] | None = None) -> str:
    """Return the report as text."""
    given = figures or {}
    drawn = {
        m.model.name: given[m.model.name] if m.model.name in given else plots.figures_for(m)
        for m in comparison.models
    }
    environment = _environment()
    return environment.get_template("report.html.j2").render(
        style=Markup(_asset("style.css") + _method_colours(comparison)),  # noqa: S704 - our own
        script=Markup(_asset("sort.js")),  # noqa: S704 - the package's own file
        summary=summary.summarise(comparison),
        cost=plots.cost_figure(comparison),
        models=[_model_view(m, drawn[m.model.name]) for m in comparison.models],
        limits=findings.limits(comparison),
        provenance=provenance.provenance(comparison),
    )


def _model_view(entry: ModelComparison, figures: Sequence[Figure]) -> dict[str, object]:
    by_kind = {
        kind: [f for f in figures if f.name.split("-", 1)[0] == kind]
        for kind in ("density", "quantile", "pair", "elbo", "tracks", "variance", "chains")
    }
    return {
        "name": entry.model.name,
        "anchor": summary.anchor(entry.model.name),
        "title": entry.model.title,
        "lesson": entry.model.lesson,
        "source": entry.model.source,
        "error": entry.error,
        "reference": summary.reference_words(entry.reference),
        "verdicts": summary.strip(entry),
        "program": program.program(entry.model.stan_file),
        "findings": findings.groups(entry),
        "table": quantities.table(entry),
        "figures": by_kind,
        "variances": variances.table(entry),
        "runs": runs.table(entry),
        "notes": entry.notes,
        "reproduce": provenance.reproduce(entry),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["count"] = words.count
    environment.filters["prose"] = prose
    environment.filters["breakable"] = breakable
    environment.filters["slug"] = _slug
    environment.filters["method_title"] = lambda method: looks.look(method).title
    return environment


def prose(sentence: str) -> Markup:
    """Return a sentence with what stands between backticks set as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:  # a lone backtick is only a character
        return escape(sentence)
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(p) if i % 2 else p for i, p in enumerate(parts))


def breakable(name: str) -> Markup:
    """Return a name that may break after its underscores, and only there."""
    return Markup("_<wbr>").join(name.split("_"))


def _slug(method: str) -> str:
    """Return a method's name as a class of the page."""
    return "m-" + re.sub(r"[^A-Za-z0-9_-]", "-", method)


def _method_colours(comparison: Comparison) -> str:
    """Return a CSS rule per method, so that its name has the colour of its curves."""
    methods = {run.spec.method for m in comparison.models for run in m.runs}
    methods |= {v.method for m in comparison.models for v in m.verdicts}
    return "".join(f".{_slug(m)}{{color:{looks.look(m).colour}}}\n" for m in sorted(methods))


def data_uri(panel: Panel) -> str:
    """Return a panel's image as a data URI; SVG as text, which is shorter than base64."""
    if panel.kind == "svg":
        return "data:image/svg+xml," + quote(panel.data.decode(), safe=" =:/;,'()!*+@$&?-._~")
    return f"data:image/{panel.kind};base64," + base64.b64encode(panel.data).decode()


def _asset(name: str) -> str:
    return resources.files("harness.report").joinpath("assets", name).read_text(encoding="utf-8")
