"""A check in Markdown: what GitHub makes of it is a table that holds, whatever stands in it."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import check_outcomes as outcomes
import pytest
from check_outcomes import NASTY
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # comes with rich

from harness.check.baseline.change import CheckOutcome, ModelCheck, NoMoments
from harness.check.show import markdown
from harness.check.show.markdown import MOST
from harness.records.text import clean, one_line

COLUMNS = 8
TAGS = {
    "h3", "h4", "p", "br", "ul", "li", "pre", "code", "sub", "details", "summary",
    "table", "thead", "tbody", "tr", "th", "td",
}  # fmt: skip
"""What a check's Markdown is made of; any other tag came out of a name."""


class Page(HTMLParser):
    """Rendered Markdown: its tags, the cells of its tables, its text and its blocks of code."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.blocks: list[str] = []
        self.text = ""
        self._open: list[str] = []
        render = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
        self.feed(render.render(text).replace("\u200b", ""))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Open an element."""
        self.tags.append(tag)
        if tag == "br":
            self.handle_data("\n")
            return
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")
        if tag == "pre":
            self.blocks.append("")

    def handle_endtag(self, tag: str) -> None:
        """Close the element that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text to where it stands."""
        self.text += data
        if "pre" in self._open:
            self.blocks[-1] += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def test_the_first_line_is_the_answer() -> None:
    """A reader of the mail about the comment sees the answer."""
    assert markdown(outcomes.same()).startswith("### ✓ same: 212 figures of 1 model")
    assert markdown(outcomes.open_question()).startswith("### ? undecided: 2 of 2 figures")
    assert markdown(outcomes.everything()).startswith("### ✗ changed: 8 of 225 figures")


def test_everything_that_happened_is_shown() -> None:
    """Figures, errors, reasons, the program's diff, steps and notes each have their place."""
    page = Page(markdown(outcomes.everything()))
    cells = ["mixture", "meanfield", "x", "sd", "0.352 ± 0.002", "0.2992 ± 0.0019",
             "× 0.85 (0.84 to 0.86; margin ÷/× 1.1)", "9.1 se"]  # fmt: skip
    assert cells in page.rows
    assert "the draws no longer have this quantity" in page.rows[1]
    assert outcomes.everything().models[0].diff in [b.rstrip("\n") for b in page.blocks]
    for text in (
        "is damaged (line 3: no comma)",
        "mixture: the data changed (aa → bb): values of y",
        "if this is intended: harness baseline mixture, and commit the file",
        "meanfield: 20 seeds where the baseline has 10",
        "✓ normal_mean: same (212 figures, identical draws)",
        "cmdstan 2.38.0",
        "family-wise error 1 × 10⁻⁴ over 220 tests",
    ):
        assert text in page.text


def test_changed_stands_before_what_could_not_be_told() -> None:
    """Changed figures come first, then undecided ones; figures that are the same have no row."""
    text = markdown(outcomes.everything())
    assert text.index("#### Changed") < text.index("#### Undecided")
    assert "same_one" not in text
    assert "|" not in markdown(outcomes.same())


def check_holds(name: str) -> None:
    """Assert that a text wherever text can stand leaves the page as it should be."""
    page = Page(markdown(outcomes.named(name)))
    assert set(page.tags) <= TAGS
    assert {len(row) for row in page.rows} == {COLUMNS}
    plain = one_line(name)
    if not plain:
        return
    moved, levels, _, open_ = (page.rows[i] for i in (1, 2, 3, 4))
    assert levels[:2] == [plain, plain]
    assert levels[3:7] == ["level", plain, plain, plain]
    assert moved[2] == plain
    assert moved[6].split("\n", 1)[1] == plain
    assert open_[3:6] == [plain] * 3
    assert clean(name).rstrip("\n") in "".join(page.blocks)


@pytest.mark.parametrize("name", NASTY)
def test_nasty_names_do_not_break_the_table(name: str) -> None:
    """Pipes, backticks, tags and mentions come out as the text that they are."""
    check_holds(name)


@settings(deadline=None)  # machines are shared
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_no_name_breaks_the_table(name: str) -> None:
    """The same for any text: every cell reads as the name itself, and no tag comes of it."""
    check_holds(name)


@settings(deadline=None)  # machines are shared
@given(st.text(st.sampled_from("`|\\*_<>[]()&#~!-+.=1 \n@$a"), max_size=20))
def test_no_markup_breaks_the_table(name: str) -> None:
    """The same for text that is markup throughout."""
    check_holds(name)


def test_names_are_not_mentions() -> None:
    """A name with an @ in a message does not notify anybody on GitHub."""
    text = markdown(outcomes.named("hello @someone"))
    assert "hello @someone" in Page(text).text
    assert not re.search(r"@\w", re.sub(r"(?s)```.*?```", "", text))


@pytest.mark.parametrize(
    "outcome",
    [
        outcomes.many(500, 1),
        outcomes.many(500, 3, "inconclusive"),
        outcomes.many(20, 500),
        CheckOutcome(tuple(outcomes.named(f"{'|@`' * 500}{i}").models[0] for i in range(100))),
        CheckOutcome(
            tuple(
                ModelCheck(f"m{i}", (), reasons=("r " * 500,) * 20, diff="+x\n" * 3000,
                           notes=(NoMoments("m", "n " * 500, 10),) * 20, error="e\n" * 3000)
                for i in range(30)
            )
        ),
    ],
    ids=["500 figures", "3 models", "500 models", "long names", "long texts"],
)  # fmt: skip
def test_it_fits_a_comment_whatever_happened(outcome: CheckOutcome) -> None:
    """Less than 60 000 characters, still a page, and the answer first."""
    text = markdown(outcome)
    assert 0 < len(text) <= MOST < 65_536
    assert set(Page(text).tags) <= TAGS
    assert text.startswith("### ")


def test_what_is_left_out_is_counted() -> None:
    """Rows shown and rows counted are all rows, and the gravest are shown."""
    page = Page(markdown(outcomes.many(500, 2)))
    shown = len(page.rows) - 1
    found = re.search(r"(\d+) more figures, less grave, not shown: (\d+) of model_0, (\d+) of",
                      page.text)  # fmt: skip
    assert found is not None
    assert shown + int(found[1]) == 1000
    assert int(found[2]) + int(found[3]) == int(found[1])
    assert page.rows[1][2] == "beta[500]"


def test_absurd_names_leave_the_answer() -> None:
    """Where names are too long for a table, the answer remains and says where the table is."""
    page = CheckOutcome(
        tuple(
            ModelCheck("&" * 200, (outcomes.mean(name="@" * 900, was="@" * 900, detail="@" * 900),))
            for _ in range(20)
        )
    )
    text = markdown(page)
    assert len(text) <= MOST
    assert text.startswith("### ✗ changed: 20 of 20 figures")


def test_an_exact_check_says_so() -> None:
    """An exact check gives no error rate."""
    text = markdown(dataclasses.replace(outcomes.same(), exact=True))
    assert "compared to the last digit" in text
    assert "family-wise" not in text
