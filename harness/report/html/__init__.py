"""The HTML report: one self-contained file, formatted from the records."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.records import Comparison, ModelComparison
from harness.records.text import clip, count, integer, number, percent, seconds, visible
from harness.records.whole import write_text
from harness.report.decision import decide
from harness.report.figures import Figure, Panel, cost_figure, figures_for, looks
from harness.report.figures.canvas import Scale
from harness.report.figures.choose import MOST_TELLING
from harness.report.html import (
    findings,
    glossary,
    program,
    provenance,
    quantities,
    remedies,
    runs,
    summary,
)
from harness.report.league import League
from harness.report.rows import ModelDecision

POLICY = (
    "default-src 'none'; img-src data:; font-src data:; style-src 'unsafe-inline'; "
    "script-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
)
"""What a page may load and run: nothing of the network, and of scripts the one with this hash."""

SHORT = 84
"""Characters of a cell; what opens below it has all."""


def render(
    comparison: Comparison,
    path: Path,
    figures: Mapping[str, Sequence[Figure]] | None = None,
) -> None:
    """Write the report of a comparison as one HTML file that asks the network for nothing.

    Parameters
    ----------
    comparison
        Where ``figures`` are given, its runs and references may come without their arrays.
    path
        The file to write; its folder is made if necessary.
    figures
        What :func:`harness.report.figures.figures_for` returned, by model; others are drawn now.
    """
    write_text(path, to_html(comparison, figures))


def to_html(comparison: Comparison, figures: Mapping[str, Sequence[Figure]] | None = None) -> str:
    """Return the report as text, in which foreign text is neither markup nor moves anything."""
    drawn = dict(figures or {})
    drawn |= {m.model.name: figures_for(m) for m in comparison.models if m.model.name not in drawn}
    return _page(
        "report.html.j2",
        _method_colours(comparison),
        summary=summary.summarise(comparison),
        cost=cost_figure(comparison),
        alone=len(comparison.models) == 1,
        models=[
            _model_view(m, decided, drawn[m.model.name])
            for m, decided in zip(comparison.models, decide(comparison).models, strict=True)
        ],
        filter=summary.filter_of(comparison),
        few=MOST_TELLING,
        limits=findings.limits(comparison),
        terms=glossary.TERMS,
        provenance=provenance.provenance(comparison),
    )


def fragment(comparison: Comparison) -> str:
    """Return the answer and the tables of verdicts as a piece of HTML, such as notebooks show."""
    template = _environment().get_template("fragment.html.j2")
    style = Markup(_asset("fragment.css"))  # noqa: S704 - the package's own file
    return visible(template.render(found=decide(comparison), style=style))


def league_page(found: League) -> str:
    """Return a league as a page of its own, whose tables can be sorted."""
    return _page("league.html.j2", found=found)


def _page(name: str, more_style: str = "", **values: object) -> str:
    """Return a page with the package's font, style and script, the only one that it may run."""
    script = _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = (
        _environment()
        .get_template(name)
        .render(
            policy=Markup(POLICY.format(digest)),  # noqa: S704 - our own, as style and script are
            style=Markup(_font_faces() + _asset("style.css") + more_style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            **values,
        )
    )
    return visible(glossary.linked(text))


def _model_view(
    entry: ModelComparison, decided: ModelDecision, figures: Sequence[Figure]
) -> dict[str, object]:
    placed = ("gap", "overlay", "density")
    first = {kind: [f for f in figures if f.kind == kind] for kind in placed}
    found, shared = findings.groups(entry)
    view = {
        **{key: getattr(entry.model, key) for key in ("name", "title", "lesson", "source")},
        "anchor": summary.anchor(entry.model.name),
        "error": entry.error,
        "decision": decided,
        "best": decided.best,
        "reference": summary.reference_words(entry.reference),
        "reference_findings": findings.of_reference(entry),
        "program": program.program(entry.model.stan_file),
        "findings": found,
        "shared": shared,
        "why": remedies.small_print(entry),
        "remedies": remedies.table(entry),
        "table": quantities.table(entry),
        "figures": first | {"rest": [f for f in figures if f.kind not in first]},
        "variances": runs.variances(entry),
        "runs": runs.table(entry),
        "notes": entry.notes,
        "reproduce": provenance.reproduce(entry),
    }
    return view | {"parts": _parts(view)}


def _parts(view: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the anchors inside a model's section with their titles, of the parts it has."""
    figures, table = view["figures"], view["table"]
    parts = (
        ("densities", "Densities", figures["overlay"]),
        ("why", "Why, in nats", figures["gap"] or view["why"] or view["shared"]),
        ("methods", "Densities by method", figures["density"]),
        (
            "quantities",
            "" if table is None else count(table.total, "quantity", "quantities"),
            table,
        ),
        ("remedies", "Remedies", view["remedies"]),
        ("figures", "More figures", figures["rest"]),
        ("runs", "Runs and messages", view["runs"]),
        ("program", "Program, provenance", True),
    )
    return tuple((part, title) for part, title, there in parts if there)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("harness.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "drawing": _drawings(),
        "count": count,
        "seconds": seconds,
        "anchor": summary.anchor,
        "symbol": summary.SYMBOLS.__getitem__,
        "prose": prose,
        "breakable": breakable,
        "slug": _slug,
        "short": lambda text, most=SHORT: clip(text, most, words=True),
        "dashes": _dashes,
        "most_telling": lambda n: f"the {min(n, MOST_TELLING)} most telling",
        "method_title": lambda method: looks.look(method).title,
        # What is not known sorts last, as an empty value, and is shown as a dash.
        "blank": lambda value: "" if math.isnan(value) else f"{value:.7g}",
        "figure": lambda value: "–" if math.isnan(value) else number(value),
        "whole": lambda value: "–" if math.isnan(value) else integer(round(value)),
        "share": lambda value: "–" if math.isnan(value) else percent(value),
    }
    environment.tests["cut"] = lambda text, most=SHORT: len(text) > most
    return environment


def prose(sentence: str) -> Markup:
    """Set what stands between backticks as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:  # a lone backtick is only a character
        return escape(sentence)
    code = Markup("<code>{}</code>")
    return Markup().join(code.format(p) if i % 2 else p for i, p in enumerate(parts))


def breakable(name: str) -> Markup:
    """Let a name break after its underscores, and only there."""
    return Markup("_<wbr>").join(name.split("_"))


def _slug(method: str) -> str:
    """Return a method's name as a class of the page."""
    return "m-" + re.sub(r"[^A-Za-z0-9_-]", "-", method)


def _dashes(method: str) -> str:
    """Return how a method's lines are broken as SVG has it; empty where they are not."""
    dash = looks.look(method).dash
    return "" if isinstance(dash, str) else " ".join(f"{2 * part:g}" for part in dash[1])


def _method_colours(comparison: Comparison) -> str:
    """Return CSS rules that give each method's name the colour of its curves, made legible."""
    methods = {run.spec.method for m in comparison.models for run in m.runs}
    methods |= {v.method for m in comparison.models for v in m.verdicts}
    colours = {m: looks.look(m).colour for m in sorted(methods)}
    return "".join(
        f".{_slug(m)}{{color:{c};color:color-mix(in srgb,{c} var(--own),var(--other))}}\n"
        for m, c in colours.items()
    )


def _drawings() -> Callable[[Panel], Markup]:
    """Return the filter that puts panels into one page, each with identifiers of its own."""
    numbers = itertools.count()

    def drawing(panel: Panel) -> Markup:
        """Return a panel as an SVG element of the page, whose font and selection it shares."""
        text = panel.svg
        for old in re.findall(r'\bid="([^"]+)"', text):
            new = f"i{next(numbers)}"
            for before, after in (('id="', '"'), ('href="#', '"'), ("url(#", ")")):
                text = text.replace(f"{before}{old}{after}", f"{before}{new}{after}")
        size = Markup('<svg role="img" aria-label="{}" width="{}" height="{}"')
        start = size.format(panel.alt, panel.width, panel.height)
        for scale in panel.scales:
            start += _axis(scale)
        return start + Markup(text.removeprefix("<svg"))  # noqa: S704 - our own drawing

    return drawing


def _axis(scale: Scale) -> Markup:
    """Return what the script needs to read values off an axis."""
    ends = f"{scale.start:.4f} {scale.end:.4f} {scale.low:.6g} {scale.high:.6g}"
    log = " log" if scale.logarithmic else ""
    name = Markup(' data-{}-name="{}"').format(scale.which, scale.name) if scale.name else ""
    return Markup(' data-{}="{}{}"{}').format(scale.which, ends, log, name)


def _font_faces() -> str:
    """Return the report's font for a style sheet: the page looks alike on every machine."""
    folder = resources.files("harness.report").joinpath("font")
    faces = []
    for name, weights in (("regular", "100 500"), ("bold", "501 900")):
        data = base64.b64encode(folder.joinpath(f"{name}.woff2").read_bytes()).decode()
        source = f"url(data:font/woff2;base64,{data}) format('woff2')"
        faces.append(f"@font-face{{font-family:report;font-weight:{weights};src:{source}}}\n")
    return "".join(faces)


def _asset(name: str) -> str:
    file = resources.files("harness.report.html").joinpath("assets", name)
    return file.read_text(encoding="utf-8")
