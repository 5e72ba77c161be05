"""The table of terms, and the links from where each first stands in a page."""

from __future__ import annotations

import re

import pytest

from harness.report.html.glossary import TERMS, Term, linked

LINK = re.compile(r'<a class="term" href="#word-([^"]+)" aria-describedby="word-\1">(.*?)</a>')


def found(page: str) -> list[tuple[str, str]]:
    """Return the terms that are linked, with their text."""
    return LINK.findall(linked(page))


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.id)
def test_each_term_has_plain_words_first_a_meaning_and_a_link(term: Term) -> None:
    """The term itself stands behind the plain words, in brackets or as their first letters."""
    assert re.fullmatch(rf".+ \({re.escape(term.id)}\)", term.plain)
    assert not term.plain.startswith(term.id)
    assert term.meaning.endswith(".")
    assert term.link.startswith("https://")
    # It is found as it is written.
    assert found(f"<p>of {term.id}, so</p>") == [(term.id, term.id)]


def test_identifiers_are_unique() -> None:
    """They are anchors of the page."""
    assert len({term.id for term in TERMS}) == len(TERMS)


def test_a_term_is_linked_once_and_where_it_first_stands() -> None:
    """Whatever its form is there, and in the order of the page, not of the table."""
    page = "<p>0.7 nats</p><p>k-hat 0.5, 1 nat, DADVI + LR</p><p>k-hat, LR and nats</p>"
    assert found(page) == [("nat", "nats"), ("k-hat", "k-hat"), ("DADVI", "DADVI"), ("LR", "LR")]
    assert LINK.sub(r"\2", linked(page)) == page


@pytest.mark.parametrize(
    "page",
    [
        "<h1>Use DADVI</h1>",
        "<code>--set LR=1</code>",
        "<pre>NUTS</pre>",
        '<svg aria-label="NUTS"><text>ELBO</text></svg>',
        "<summary>Why, in nats</summary>",
        '<a href="#x">NUTS</a>',
        "<thead><tr><th>W1</th></tr></thead>",
        '<p data-label="k-hat">1</p>',
        "<script>const ESS = 1;</script>",
        "<p>NUTS-like, theta_LR, sd_1, nuts &sd; ESSENTIAL</p>",
    ],
)
def test_what_is_no_running_text_is_left_as_it_is(page: str) -> None:
    """Code, links, headings that sort, attributes, drawings, and parts of longer names."""
    assert linked(page) == page
