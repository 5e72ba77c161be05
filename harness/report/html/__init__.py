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

from harness.records.text import count
from harness.report.figures import cost_figure, figures_for, looks
from harness.report.html import (
    findings,
    program,
    provenance,
    quantities,
    remedies,
    runs,
    summary,
    variances,
)

if TYPE_CHECKING:
    from harness.records import Comparison, ModelComparison
    from harness.report.figures import Figure, Panel

__all__ = ["render", "to_html"]

_KINDS = ("gap", "density", "quantile", "pair", "elbo", "tracks", "variance", "chains")
"""Kinds of figures: what their names begin with."""

_TAG = re.compile(r"<[^>]+>")


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
        Model name to what :func:`harness.report.figures.figures_for` returned for it; models that
        are missing here are drawn now.
    """
    text = to_html(comparison, figures)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def to_html(comparison: Comparison, figures: Mapping[str, Sequence[Figure]] | None = None) -> str:
    """Return the report as text."""
    given = figures or {}
    drawn = {
        m.model.name: given[m.model.name] if m.model.name in given else figures_for(m)
        for m in comparison.models
    }
    environment = _environment()
    return environment.get_template("report.html.j2").render(
        style=Markup(_asset("style.css") + _method_colours(comparison)),  # noqa: S704 - our own
        script=Markup(_asset("sort.js")),  # noqa: S704 - the package's own file
        summary=summary.summarise(comparison),
        cost=cost_figure(comparison),
        models=[_model_view(m, drawn[m.model.name]) for m in comparison.models],
        limits=findings.limits(comparison),
        provenance=provenance.provenance(comparison),
    )


def _model_view(entry: ModelComparison, figures: Sequence[Figure]) -> dict[str, object]:
    by_kind = {kind: [f for f in figures if f.name.split("-", 1)[0] == kind] for kind in _KINDS}
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
        "why": remedies.small_print(entry),
        "remedies": remedies.table(entry),
        "table": quantities.table(entry),
        "figures": by_kind,
        "variances": variances.table(entry),
        "runs": runs.table(entry),
        "notes": entry.notes,
        "reproduce": provenance.reproduce(entry),
    }


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    environment.filters["count"] = count
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


def data_uri(panel: Panel) -> Markup:
    """Return a panel's image as a data URI for an attribute in double quotes.

    SVG is text, which is shorter than base64. Its attributes take single quotes, which cost one
    byte instead of three, and groups that group nothing are left out: there are seventy
    thousand quotes and thirteen thousand groups in the lecture's report.
    """
    if panel.kind == "svg":
        text = _without_bare_groups(_TAG.sub(_single_quoted, panel.data.decode()))
        uri = quote(text, safe=" =:/;,'()!*+@$&?-._~").replace("&", "&amp;")
        return Markup("data:image/svg+xml," + uri)  # noqa: S704 - percent-encoded
    data = base64.b64encode(panel.data).decode()
    return Markup(f"data:image/{panel.kind};base64,{data}")  # noqa: S704 - base64


def _without_bare_groups(text: str) -> str:
    """Drop groups without attributes, which change nothing of what is seen."""
    bare: list[bool] = []

    def kept(tag: re.Match[str]) -> str:
        found = tag.group(0)
        if found == "<g/>":
            return ""
        if found == "</g>":
            return "" if bare.pop() else found
        if re.match(r"<g[ >]", found) and not found.endswith("/>"):
            bare.append(found == "<g>")
            return "" if bare[-1] else found
        return found

    return _TAG.sub(kept, text)


def _single_quoted(tag: re.Match[str]) -> str:
    text = tag.group(0)
    return text if "'" in text else text.replace('"', "'")


def _asset(name: str) -> str:
    return (
        resources.files("harness.report.html").joinpath("assets", name).read_text(encoding="utf-8")
    )
