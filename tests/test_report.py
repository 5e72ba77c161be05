"""The report as HTML: structure, words, and what it must not lose."""

from __future__ import annotations

import base64
import csv
import dataclasses
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import report_fixture as fixture
import report_records

from harness import judgement
from harness.records import Comparison
from harness.report import files, html
from harness.report.figures import figures_for
from harness.report.files.netcdf import write_draws
from harness.report.html import findings, glossary, summary
from harness.report.league import League

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records import ModelComparison

VOID = {"meta", "link", "br", "wbr", "hr"}

Tag = tuple[str, dict[str, str]]


class Page(HTMLParser):
    """Collects tags with their attributes and text; fails on unbalanced tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag closes the one opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text that is seen."""
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def named(self, name: str) -> list[dict[str, str]]:
        """Return the attributes of all tags of one name."""
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def words(self) -> str:
        """All text, spaces made single."""
        return re.sub(r"\s+", " ", " ".join(self.text))


@pytest.fixture(scope="module")
def text(comparison: Comparison) -> str:
    """Return the report of the fixture."""
    return html.to_html(comparison)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    """Return the parsed report."""
    return Page(text)


def by_name(comparison: Comparison, name: str) -> ModelComparison:
    """Return one model's comparison."""
    return next(m for m in comparison.models if m.model.name == name)


def test_every_model_has_its_section_and_a_link_to_it(page: Page, comparison: Comparison) -> None:
    """So has the model that could not be compared."""
    sections = {a.get("id") for a in page.named("section")}
    links = {a["href"] for a in page.named("a")}
    for model in comparison.models:
        anchor = summary.anchor(model.model.name)
        assert anchor in sections
        assert f"#{anchor}" in links


def test_links_lead_somewhere_and_identifiers_are_unique(page: Page) -> None:
    """Every href is a fragment of this page that exists once, or where a term is explained."""
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    outside = {term.link for term in glossary.TERMS}
    for a in page.named("a"):
        if a["href"] in outside:
            continue
        assert a["href"].startswith("#")
        assert a["href"][1:] in ids
    for _, attributes in page.tags:
        if "aria-labelledby" in attributes:
            assert attributes["aria-labelledby"] in ids


def test_nothing_is_fetched(page: Page, text: str) -> None:
    """All sources are data URIs, nothing is imported, and the page forbids the rest."""
    for _, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:")
    assert [a["href"] for a in page.named("link")] == ["data:,"]
    assert "@import" not in text
    style = text.split("</style>", maxsplit=1)[0]
    assert style.count("url(") == style.count("url(data:font/woff2;") == 2
    policies = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    assert policies
    assert "default-src 'none'" in policies[0]


def test_only_the_reports_own_script_may_run(page: Page, text: str) -> None:
    """The policy names it by its hash, of every page; another script's is another hash."""
    (policy,) = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    league = html.league_page(League((), (), ()))
    for found in (text, league):
        (script,) = re.findall(r"<script>(.*?)</script>", found, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in found
    scripts = policy.partition("script-src")[2].partition(";")[0]
    assert "unsafe" not in scripts
    assert scripts.count("'") == 2


def test_a_figure_of_the_matrix_stays_with_its_unit(page: Page) -> None:
    """``0.1 s, × 6`` breaks after its comma only."""
    timed = [text for text in page.text if re.fullmatch(r"[\d.]+\s(m?s|min|h), ×\s[\d.]+", text)]
    assert len(timed) > 4
    assert all(len(text.split(" ")) == 2 for text in timed)


def test_images_have_alternative_texts_with_figures_and_sizes(page: Page) -> None:
    """Alternative texts have numbers, and sizes keep the page from jumping while it loads."""
    drawn = [a for a in page.named("svg") if a.get("aria-hidden") != "true"]  # but for legends
    images = [a for a in drawn if a["role"] == "img"]
    assert len(images) == len(drawn) > 30
    for image in images:
        assert re.search(r"\d", image["aria-label"])
        assert int(image["width"]) > 0
        assert int(image["height"]) > 0


def test_numbers_have_one_form(text: str) -> None:
    """Tables, sentences, labels and alternative texts: one form of thousands and exponents."""
    assert fixture.other_forms(text) == []


def test_other_forms_of_numbers_are_found() -> None:
    """The test above can fail."""
    wrong = "<p>40,000 draws, 12345 of 1.2e-05, <b>-3</b> and nan</p>"
    assert [what for what, _ in fixture.other_forms(wrong)] == list(fixture.OTHER_FORMS)


def test_headings_are_in_order(page: Page) -> None:
    """One h1, and no level is skipped on the way down."""
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_header_cell_has_a_scope(page: Page) -> None:
    """Screen readers can distinguish row headers from column headers."""
    assert {a.get("scope") for a in page.named("th")} == {"row", "col"}


def test_the_answer_counts_the_verdicts(page: Page, comparison: Comparison) -> None:
    """The first sentence agrees with the records."""
    passed = {
        v.model
        for m in comparison.models
        for v in m.verdicts
        if v.level == "pass" and v.method != "nuts"
    }
    assert f"ADVI can stand in for NUTS on {len(passed)} of 5 models" in page.words
    assert "With CmdStan's defaults, on none." in page.words
    assert "1 is undecided (broken)" in page.words


def test_levels_are_words_with_symbols(page: Page) -> None:
    """Colour never stands alone."""
    for symbol, word in (("✓", "pass"), ("✗", "fail"), ("–", "reference")):
        assert f"{symbol} {word}" in page.words
    assert "✗ does not hold" in page.words
    assert "✓ holds" in page.words
    assert "? could not be measured" in page.words


def test_a_model_with_an_error_says_what_went_wrong(page: Page) -> None:
    """Its row and its section both carry the message."""
    assert page.words.count("broken.stan, line 3: a semicolon is missing.") == 2


def test_text_from_outside_is_escaped(text: str) -> None:
    """Angle brackets of a program or a message never become tags."""
    assert "fixture output of mixture &lt;meanfield&gt; &amp; seed 1" in text
    assert "<meanfield>" not in text


ODD = ("été & <b>: $a$ [b]x", "α", "β", "draw", "__proto__")


def test_odd_names_come_through_page_and_tables(tmp_path: Path) -> None:
    """On the page, in its figures and links, in every CSV file and in the JSON."""
    rng = np.random.default_rng(8)
    models = tuple(fixture.normal(tmp_path, 2, 400, rng, name) for name in ODD)
    found = Comparison(models, (), {"command": "harness compare"})
    page = Page(html.to_html(found))
    ids = [tag["id"] for _, tag in page.tags if "id" in tag]
    assert len(ids) == len(set(ids))
    for name in ODD:
        assert f"#{summary.anchor(name)}" in {a.get("href") for a in page.named("a")}
        assert summary.anchor(name) in ids
        # In the table of verdicts, the heading, and the figure of the costs.
        assert page.text.count(name) >= 3
    files.write(found, tmp_path / "out")
    for table in ("measures", "verdicts", "runs"):
        with (tmp_path / "out" / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            assert {row["model"] for row in csv.DictReader(file)} == set(ODD)
    assert [m.model.name for m in files.read(tmp_path / "out").models] == list(ODD)


def test_nuts_is_drawn_as_the_reference_on_a_page_made_again(tmp_path: Path) -> None:
    """Its draws are kept once, as a run's."""
    entry = fixture.regression(tmp_path, 2, 400, np.random.default_rng(3))
    assert entry.reference.kind == "nuts"
    nuts = next(r for r in entry.runs if r.spec.method == "nuts")
    files.write(Comparison((entry,), (), {"command": "harness compare"}), tmp_path)
    write_draws(tmp_path / "draws" / entry.model.name, "nuts-1", nuts.key, nuts.draws, None)
    draws = files.read(tmp_path).models[0].reference.draws
    assert draws is not None
    assert nuts.draws is not None
    assert np.array_equal(draws.values, nuts.draws.values)


def test_the_stan_program_is_shown_in_full(page: Page) -> None:
    """Highlighted, folded, nothing lost."""
    shown = re.sub(r"\s+", "", page.words)
    assert re.sub(r"\s+", "", report_records.PROGRAM) in shown


def test_a_program_that_is_gone_says_so(comparison: Comparison, tmp_path: Path) -> None:
    """A report made elsewhere from results still renders."""
    entry = by_name(comparison, "broken")
    gone = dataclasses.replace(entry.model, stan_file=tmp_path / "gone.stan")
    light = dataclasses.replace(comparison, models=(dataclasses.replace(entry, model=gone),))
    assert "The program could not be read" in html.to_html(light)


def test_given_figures_make_the_same_report_without_arrays(
    comparison: Comparison, text: str
) -> None:
    """A caller may draw in other processes and send records without their draws."""
    figures = {m.model.name: figures_for(m) for m in comparison.models}
    light = fixture.without_arrays(comparison)
    assert html.to_html(light, figures) == text


def test_the_file_is_written_with_its_folder(comparison: Comparison, tmp_path: Path) -> None:
    """Render makes the folder and writes UTF-8."""
    light = dataclasses.replace(comparison, models=(by_name(comparison, "broken"),))
    path = tmp_path / "a" / "b" / "index.html"
    html.render(light, path)
    assert "✗" in path.read_text(encoding="utf-8")


def test_every_limit_is_printed_once_with_its_reason(page: Page, comparison: Comparison) -> None:
    """All of the judge's rules are at the end, ratios as ratios, whatever was found."""
    limits = findings.limits(comparison)
    assert [limit.metric for limit in limits] == list(judgement.rules_for())
    width = next(limit for limit in limits if limit.metric == "log_width_ratio")
    assert (width.close, width.wrong) == ("×1.15", "×1.5")
    assert next(x.close for x in limits if x.metric == "ess_bulk") == "at least 400"
    for limit in limits:
        assert limit.why in page.words


def test_provenance_is_printed_whatever_its_keys(page: Page) -> None:
    """Command, date, versions and hashes are in the text."""
    for word in ("harness compare mixture linear_regression", "2026-11-21", "0123456789abcdef"):
        assert word in page.words
