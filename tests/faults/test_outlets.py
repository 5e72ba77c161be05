"""Foreign text is text in every outlet: no markup, no command, no escape sequence, no turned line.

Fifty poisoned strings stand wherever the text of a program, its data, a console or a file of
results can stand, and go to the terminal, HTML, Markdown, JUnit and GitHub's annotations.
"""

from __future__ import annotations

import dataclasses
import io
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import check_outcomes as outcomes
import numpy as np
import pytest
from report_fixture import broken_model, build, normal
from test_check_markdown import TAGS, Page

from harness.check.show import annotations as commands_of
from harness.check.show import junit
from harness.check.show import markdown as check_markdown
from harness.check.show.terminal import print_check
from harness.cli.common import fail
from harness.records import Comparison, ModelComparison
from harness.records.text import one_line, printed, visible
from harness.report.html import to_html
from harness.report.markdown import markdown
from harness.report.terminal import SafeConsole, verdicts_text

POISON = (
    # What moves a terminal's cursor, changes its colours, its title, its clipboard.
    "\x1b[31mred\x1b[0m", "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07",
    "\x1b]8;;http://x\x1b\\link", "\x9b31m", "\x90q\x9c", "a\x08\x08b", "a\rb", "a\x0bb\x0cc",
    "nul\x00", "bell\x07", "del\x7f", "\ud800", "\uffff", "nel\x85x", "ls\u2028x", "ps\u2029x",
    # What turns the letters behind it around.
    "a\u202eb", "\u202dx\u202c", "\u2066x\u2069", "\u2067x", "\u061cx", "\u200ex\u200f",
    # HTML.
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</pre></td><b>",
    '"><svg onload=x>',
    "&lt;&#60;&amp;", "' onmouseover='x", "<!-- -->", "{{ 7 * 7 }}", "{% raw %}", "javascript:x",
    # Markdown.
    "a|b", "`tick`", "```\n# out\n```", "[x](http://x)", "![x](http://x)", "@someone #1 $x$",
    "# heading", "- item", "*b* _i_ ~~s~~", "\\|", "</details>",
    # XML, GitHub's commands, rich's markup.
    "]]>", "<![CDATA[x", "::error::x", "%0A::stop-commands::x", "##[error]x", "[bold]x[/bold][/]",
)  # fmt: skip

SAFE = "plain"
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\uffff]"
)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return a small comparison, and one model that could not be compared."""
    folder = tmp_path_factory.mktemp("programs")
    rng = np.random.default_rng(20261129)
    parts = [lambda: normal(folder, 1, 100, rng), lambda: broken_model(folder)]
    return build(folder, parts=parts)


def poisoned(plain: Comparison, text: str) -> Comparison:
    """Return a comparison in which a text stands wherever foreign text can."""
    claims = tuple(
        dataclasses.replace(c, model=text, claim=text, source=text, expected=text, sentence=text)
        for c in plain.claims
    )
    provenance = {
        **plain.provenance,
        "command": text,
        "versions": {text: text},
        "hashes": {text: text},
    }
    return Comparison(tuple(_poisoned(m, text) for m in plain.models), claims, provenance)


def _poisoned(entry: ModelComparison, text: str) -> ModelComparison:
    replace = dataclasses.replace
    name = f"{text} of {entry.model.name}"

    return replace(
        entry,
        model=replace(entry.model, name=name, title=text, source=text, lesson=text),
        error=text if entry.error is not None else None,
        reference=replace(entry.reference, why=text),
        runs=tuple(replace(r, message=text, console=text) for r in entry.runs),
        measures=tuple(
            replace(m, model=name, quantity=text if m.quantity else None) for m in entry.measures
        ),
        verdicts=tuple(
            replace(v, model=name, headline=text, notes=(text,)) for v in entry.verdicts
        ),
        notes=(text,),
    )


def test_there_are_fifty() -> None:
    """The table has at least fifty strings, each once."""
    assert len(set(POISON)) == len(POISON) >= 50


@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_a_terminal_shows_it(plain: Comparison, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but line breaks moves the cursor, and no line is a command of a runner's."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    console = SafeConsole(width=120, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        print_check(outcomes.named(text), console=console)
    said = (verdicts_text(poisoned(plain, text)), captured.get(), fail(text).message)
    for shown in (*said, printed(text)):
        assert not UNSEEN.search(shown.replace("\n", ""))
        assert not any(line.lstrip().startswith("::") for line in shown.splitlines())
        assert "##[" not in shown
    if text.isprintable() and "::" not in text and "##" not in text:
        assert text in " ".join(captured.get().split())


class Tags(HTMLParser):
    """The tags, the attributes and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.links: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a tag."""
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        kinds = {str(v) if str(v)[:1] != "#" else "#" for n, v in attrs if n in {"href", "src"}}
        self.links |= kinds

    def handle_data(self, data: str) -> None:
        """Take text."""
        self.text += data


@pytest.fixture(scope="module")
def page(plain: Comparison) -> Tags:
    """Return the page of a comparison in which plain words stand."""
    return Tags(html(poisoned(plain, SAFE)))


def html(found: Comparison) -> str:
    """Return the report without figures, which hold numbers."""
    return to_html(found, {m.model.name: () for m in found.models})


@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_html_has_no_tag_of_it(plain: Comparison, page: Tags, text: str) -> None:
    """The page has the tags, attributes and kinds of links that it has with plain words."""
    written = html(poisoned(plain, text))
    assert not UNSEEN.search(written.replace("\n", ""))
    found = Tags(written)
    # Backticks set code, and names break after their underscores.
    assert set(found.tags) <= set(page.tags) | {"code", "wbr"}
    assert found.tags.count("script") == page.tags.count("script")
    assert found.names <= page.names
    assert found.links <= page.links
    if text.isprintable():
        assert text in found.text


@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_markdown_has_no_markup_of_it(plain: Comparison, text: str) -> None:
    """What GitHub makes of it has the tags of a check and of a comparison, and no link."""
    for written in (markdown(poisoned(plain, text)), check_markdown(outcomes.named(text))):
        assert not UNSEEN.search(written.replace("\n", ""))
        assert set(Page(written).tags) <= TAGS | {"h3", "h4"}
        rows = Page(written).rows
        assert len({len(row) for row in rows}) <= 1


@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_junit_is_xml_with_it(text: str) -> None:
    """A reader finds as many cases as with a plain word, and the text in them."""
    root = ET.fromstring(junit(outcomes.named(text)).encode())  # noqa: S314 - written by ourselves
    other = ET.fromstring(junit(outcomes.named(SAFE)).encode())  # noqa: S314 - written by ourselves
    assert [e.tag for e in root.iter()] == [e.tag for e in other.iter()]
    assert root[0].attrib["name"] == one_line(text)


@pytest.mark.parametrize("text", POISON, ids=ascii)
def test_an_annotation_is_one_command(text: str) -> None:
    """As many lines as with a plain word, each one command of the two kinds."""
    lines = commands_of(outcomes.named(text))
    assert len(lines) == len(commands_of(outcomes.named(SAFE)))
    for line in lines:
        assert re.match(r"::(error|notice) title=[^:,]*(,file=[^:,]*)?::", line), line
        assert not UNSEEN.search(line)
        assert "\n" not in line
        assert re.fullmatch(r"(?:[^%]|%(?:25|0A|0D|3A|2C))*", line), line


def test_what_is_hidden_is_shown_as_its_code() -> None:
    """Nothing is lost: who reads the line sees what stood there."""
    assert visible("a\x1b[31m\u202eb\tc") == "a\\x1b[31m\\u202eb\tc"
    assert printed("::error::x") == ":\u200b:error::x"
    assert printed(" ::error::x\n::stop") == " :\u200b:error::x\n:\u200b:stop"
    assert printed("type cmdstanr::write_stan_json()") == "type cmdstanr::write_stan_json()"
    assert Path(one_line("a\rb")) == Path("a b")
