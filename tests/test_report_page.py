"""The report in a real Chromium: what a reader sees and can do, at desk, tablet and phone width."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from browsing import (
    CONTRASTS,
    DESK,
    OPEN,
    PHONE,
    STRAY,
    TABLET,
    ask,
    chromium,
    log,
    media,
    requests,
    show,
    show_open,
    smaller,
)

from harness.records import Comparison
from harness.report import html
from harness.report.html.summary import anchor
from harness.report.league import League

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start a browser with the machine's fonts."""
    yield from chromium(tmp_path_factory.mktemp("profile"))


def test_no_console_error_and_no_request_leaves_the_file(
    browser: Chrome, report_page: Path
) -> None:
    """The console is empty; all that is loaded is the file itself and data URIs."""
    log(browser, "performance")
    log(browser, "browser")
    show(browser, report_page, DESK)
    assert log(browser, "browser") == []
    assert requests(browser) == {report_page.as_uri()}  # the log does see requests


def test_every_model_has_a_visible_section(
    browser: Chrome, report_page: Path, comparison: Comparison
) -> None:
    """Each model's heading is drawn, in the order of the comparison."""
    show(browser, report_page, DESK)
    tops = [
        ask(
            browser,
            f"document.querySelector('#{anchor(m.model.name)} h2').getBoundingClientRect().top",
        )
        for m in comparison.models
    ]
    assert tops == sorted(tops)
    assert len(set(tops)) == len(comparison.models)


def test_every_drawing_has_a_size_and_an_alternative_text(
    browser: Chrome, report_page: Path
) -> None:
    """No drawing is empty, none is silent."""
    show_open(browser, report_page, DESK)
    drawings = ask(
        browser,
        "[...document.querySelectorAll('figure svg')].map(s => [s.getAttribute('aria-label'),"
        " s.getBoundingClientRect().height, s.getBBox().width])",
    )
    assert len(drawings) > 30
    assert all(alt.strip() for alt, _, _ in drawings)
    assert all(height > 0 and width > 0 for _, height, width in drawings)


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
def test_nothing_overflows_the_page(
    browser: Chrome, report_page: Path, size: tuple[int, int]
) -> None:
    """The page never scrolls sideways, folded parts opened; wide tables do so in their box."""
    show_open(browser, report_page, size)
    assert ask(browser, "document.documentElement.scrollWidth") <= size[0]
    assert ask(browser, STRAY) == []


def test_tables_restack_on_a_phone_with_their_labels(browser: Chrome, report_page: Path) -> None:
    """Each verdict stands under its model with the method's name before it."""
    show(browser, report_page, PHONE)
    label = ask(
        browser, "getComputedStyle(document.querySelector('.verdicts td'), '::before').content"
    )
    assert label == '"mean-field"'
    width = ask(browser, "document.querySelector('.verdicts td').getBoundingClientRect().width")
    assert width > 300


def test_columns_sort_up_and_down_from_the_keyboard(browser: Chrome, report_page: Path) -> None:
    """Enter on a header sorts by value, says so in aria-sort, and again turns it round."""
    from selenium.webdriver.common.keys import Keys  # only with a browser

    show_open(browser, report_page, DESK)
    table = "document.querySelector('#model-wide_normal table.figures')"
    head = f"{table}.tHead.rows[0].cells"
    column = ask(browser, f"[...{head}].findIndex(c => c.textContent.trim() === 'W1')")
    button = ask(browser, f"{head}[{column}].querySelector('button')")
    values = f"[...{table}.tBodies[0].rows].map(r => r.cells[{column}].dataset.v ?? '')"

    for state, reverse in (("ascending", False), ("descending", True)):
        button.send_keys(Keys.ENTER)
        assert ask(browser, f"{head}[{column}].getAttribute('aria-sort')") == state
        shown = ask(browser, values)
        known = [float(v) for v in shown if v]
        assert known == sorted(known, reverse=reverse)
        assert len(known) > 10
        assert all(v == "" for v in shown[len(known) :])  # what has no value stays last

    name = ask(browser, f"{head}[0].querySelector('button')")
    name.click()
    first = ask(browser, f"[...{table}.tBodies[0].rows].map(r => r.cells[0].textContent)")
    numbers = [int(text[3:-1]) for text in first]
    assert numbers == sorted(numbers)  # mu[2] before mu[10]
    assert ask(browser, f"{head}[{column}].getAttribute('aria-sort')") is None


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
def test_labels_of_figures_can_be_read(
    browser: Chrome, report_page: Path, size: tuple[int, int]
) -> None:
    """However many panels stand side by side, no label is smaller than 10 pixels."""
    show_open(browser, report_page, size)
    assert smaller(browser, 10) == []


def test_a_printed_page_is_not_cut(browser: Chrome, report_page: Path) -> None:
    """On A4 with the report's margins, 680 pixels, no table is wider than the paper.

    Each method is a row of a table whose cells stand under their headings, and labels of figures
    can be read.
    """
    show(browser, report_page, (680, 1000))
    with media(browser, "print"):
        assert ask(browser, "document.documentElement.scrollWidth") <= 680
        ask(browser, OPEN)
        assert smaller(browser, 10) == []
        lefts = ask(
            browser,
            "[...document.querySelector('.decision').rows].filter(r => r.cells.length > 1)"
            ".map(r => [...r.cells].map(c => Math.round(c.getBoundingClientRect().left)))",
        )
        assert len(lefts) > 3
        assert len({tuple(row) for row in lefts}) == 1


@pytest.mark.parametrize(
    ("kind", "scheme", "paper"),
    [
        ("", "light", "rgb(255, 255, 255)"),
        ("", "dark", "rgb(22, 25, 29)"),
        ("print", "dark", "rgb(255, 255, 255)"),
    ],
)
def test_text_stands_out_on_screen_and_on_paper(
    browser: Chrome, report_page: Path, kind: str, scheme: str, paper: str
) -> None:
    """It has a contrast of 4.5 everywhere; one that cannot be reached is found missing."""
    with media(browser, kind, scheme):
        show(browser, report_page, DESK)
        assert ask(browser, "getComputedStyle(document.body).backgroundColor") == paper
        ask(browser, OPEN)
        assert ask(browser, CONTRASTS.replace("LEAST", "4.5")) == {}
        assert ask(browser, CONTRASTS.replace("LEAST", "23"))


def test_the_page_of_a_league_runs_the_same_script(browser: Chrome, tmp_path: Path) -> None:
    """Its columns sort; what it lacks, filter and figures, is no error."""
    league = tmp_path / "league.html"
    league.write_text(html.league_page(League((), (), ())), encoding="utf-8")
    log(browser, "browser")
    show(browser, league, DESK)
    assert log(browser, "browser") == []
    assert ask(browser, "document.querySelectorAll('th button').length") > 10


# --- what a reader can do ----------------------------------------------------------------------

WIDE = "#model-wide_normal"


def choose(browser: Chrome, selector: str, value: str) -> None:
    """Choose an option, as a reader does."""
    script = """const select = document.querySelector(arguments[0]);
      select.value = arguments[1]; select.dispatchEvent(new Event('change'));"""
    browser.execute_script(script, selector, value)


def seen(browser: Chrome, selector: str, what: str) -> list[str]:
    """Return a datum of the elements that are drawn."""
    found: list[str] = ask(
        browser,
        f"[...document.querySelectorAll('{selector}')].filter(e => e.checkVisibility())"
        f".map(e => e.dataset.{what})",
    )
    return found


def test_the_filter_leaves_one_level_and_says_how_many(browser: Chrome, report_page: Path) -> None:
    """From the keyboard; it says so to screen readers, and pressing again brings all back."""
    from selenium.webdriver.common.keys import Keys  # only with a browser

    show(browser, report_page, DESK)
    said = "document.querySelector('.controls [role=status]').textContent"
    every = seen(browser, "tbody[data-level]", "level")
    assert len(set(every)) > 2
    button = ask(browser, "document.querySelector('[data-show=fail]')")
    button.send_keys(Keys.SPACE)
    assert button.get_attribute("aria-pressed") == "true"
    left = seen(browser, "tbody[data-level]", "level")
    assert left == ["fail"] * every.count("fail")
    assert ask(browser, said) == f"{len(left)} of {len(every)} verdicts shown"
    cells = ask(
        browser,
        "[...document.querySelectorAll('.verdicts td[data-level] .mark')]"
        ".filter(e => getComputedStyle(e).visibility === 'visible').map(e => e.className)",
    )
    assert set(cells) == {"mark fail"}
    button.send_keys(Keys.SPACE)
    assert seen(browser, "tbody[data-level]", "level") == every
    assert ask(browser, said) == f"all {len(every)} verdicts shown"


def test_the_filter_leaves_one_method_everywhere(browser: Chrome, report_page: Path) -> None:
    """In verdicts, rows of quantities, runs and figures; the reference's rows stay."""
    show(browser, report_page, DESK)
    ask(browser, "document.querySelectorAll('details').forEach(d => d.open = true)")
    choose(browser, "select.methods", "meanfield")
    for what in ("tbody", ".figures tr", ".runs tr", "figure"):
        assert set(seen(browser, f"main {what}[data-method]", "method")) == {"meanfield"}, what
    assert ask(browser, "document.querySelector('.refrow').checkVisibility()")


def test_a_picked_quantity_has_its_densities_quantiles_and_rows(
    browser: Chrome, report_page: Path
) -> None:
    """One of twelve, in its model only; three are drawn before anything is picked."""
    show(browser, report_page, DESK)
    ask(browser, "document.querySelectorAll('details').forEach(d => d.open = true)")
    assert len(seen(browser, f"{WIDE} .overlay figure", "quantity")) == 3
    others = seen(browser, "#model-mixture figure[data-quantity]", "quantity")
    names = ask(
        browser,
        f"[...document.querySelectorAll('{WIDE} select.quantity option')].map(o => o.value)",
    )
    assert len(names) == 1 + 12
    for name in (names[1], names[-1]):  # the worst, and one that is not drawn by itself
        choose(browser, f"{WIDE} select.quantity", name)
        drawn = f"{WIDE} figure[data-quantity]"
        assert set(seen(browser, drawn, "quantity")) == {name}
        assert len(seen(browser, f"{WIDE} .overlay figure", "quantity")) == 1
        rows = f"{WIDE} .figures tr[data-quantity]"
        assert set(seen(browser, rows, "quantity")) == {name}
    note = f"document.querySelector('{WIDE} [data-drawn]').checkVisibility()"
    assert ask(browser, note)  # says that every seed is drawn for three quantities only
    assert seen(browser, "#model-mixture figure[data-quantity]", "quantity") == others


def test_a_figure_tells_the_value_under_the_pointer(browser: Chrome, report_page: Path) -> None:
    """The value is that of the axis within a pixel, and the figures of the alternative text."""
    from selenium.webdriver.common.action_chains import ActionChains  # only with a browser

    show(browser, report_page, DESK)
    svg = ask(browser, "document.querySelector('#model-normal_mean .overlay figure svg')")
    # The place of the axis label 0.5, which matplotlib drew.
    middle = browser.execute_script(
        """arguments[0].scrollIntoView({block: 'center'});
        const box = arguments[0].getBoundingClientRect();
        const tick = [...arguments[0].querySelectorAll('text')].find(t => t.textContent === '0.5');
        const at = tick.getBoundingClientRect();
        return (at.left + at.right) / 2 - (box.left + box.right) / 2""",
        svg,
    )
    ActionChains(browser).move_to_element_with_offset(svg, round(middle), 0).perform()
    told = ask(browser, "document.querySelector('.tip').innerText")
    said, _, rest = told.partition(" Densities of m.")
    low, high = (float(v) for v in svg.get_attribute("data-x").split()[2:4])
    pixel = (high - low) / 300
    assert abs(float(said.removeprefix("x = ")) - 0.5) < 2 * pixel
    assert "mean-field: median" in rest
    ActionChains(browser).move_to_element(ask(browser, "document.querySelector('h1')")).perform()
    assert not ask(browser, "document.querySelector('.tip').checkVisibility()")


def test_every_figure_can_be_saved_as_svg(browser: Chrome, report_page: Path) -> None:
    """The file stands alone: a document that an XML parser reads, with title, font and paper."""
    show(browser, report_page, DESK)
    drawings, buttons = (
        ask(browser, f"document.querySelectorAll('main {what}').length")
        for what in ("figure .drawing svg", "figure button.save")
    )
    assert drawings == buttons > 30
    saved = browser.execute_async_script(
        """const done = arguments[0], click = HTMLAnchorElement.prototype.click;
        const make = URL.createObjectURL;
        let text;
        URL.createObjectURL = blob => { text = blob.text(); return make(blob); };
        HTMLAnchorElement.prototype.click = function () {
          const name = this.download;
          text.then(found => done([name, found]));
        };
        document.querySelector('#model-normal_mean button.save').click();
        URL.createObjectURL = make; HTMLAnchorElement.prototype.click = click;"""
    )
    name, text = saved
    assert name == "normal_mean-m.svg"
    root = ET.fromstring(text)  # noqa: S314 - our own
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.get("font-family", "").startswith("Roboto")
    kinds = [node.tag.rpartition("}")[2] for node in root]
    assert kinds[:5] == ["title", "desc", "style", "rect", "text"]
    assert root[0].text == "m"


def test_a_term_is_explained_where_it_first_stands(browser: Chrome, report_page: Path) -> None:
    """A tip for those who point or tab to it, and a link that opens the list of words there."""
    from selenium.webdriver.support.ui import WebDriverWait  # only with a browser

    show(browser, report_page, (1280, 300))
    term = ask(browser, "document.querySelector('main a.term')")
    browser.execute_script("arguments[0].focus()", term)
    tip = "document.querySelector('.tip')"
    assert "independent normals (mean-field): q is a product" in ask(browser, f"{tip}.innerText")
    browser.execute_script(
        "[...document.querySelectorAll('main a.term')].filter(e => e.checkVisibility())"
        ".at(-1).focus()"
    )
    WebDriverWait(browser, 10).until(lambda b: ask(b, "scrollY > 0"))
    assert ask(browser, f"{tip}.checkVisibility()")  # what is focused has scrolled into sight
    word = term.get_attribute("aria-describedby")
    assert ask(browser, f"document.getElementById('{word}').textContent.includes('Read more')")
    term.click()
    assert ask(browser, f"document.getElementById('{word}').checkVisibility()")
    found = ask(browser, "[...document.querySelectorAll('a.term')].map(a => a.hash)")
    assert len(found) == len(set(found)) > 5


def test_contents_lead_into_models_and_mark_the_one_in_sight(
    browser: Chrome, report_page: Path
) -> None:
    """They stay in sight, show each model's level, and open the part that they lead to."""
    from selenium.webdriver.support.ui import WebDriverWait  # only with a browser

    show(browser, report_page, DESK)
    ask(browser, f"document.querySelector('aside a[href=\"{WIDE}\"]').click()")
    marked = "[...document.querySelectorAll('aside [aria-current]')].map(a => a.hash)"
    WebDriverWait(browser, 10).until(lambda b: ask(b, marked) == [WIDE])
    link = ask(browser, f"document.querySelector('aside a[href=\"{WIDE}-quantities\"]')")
    link.click()
    assert ask(browser, f"document.querySelector('{WIDE}-quantities').open")
    top = ask(browser, "document.querySelector('aside').getBoundingClientRect().top")
    assert top == 0
    levels = ask(
        browser, "[...document.querySelectorAll('aside a.model .hidden')].map(e => e.textContent)"
    )
    assert ": best verdict fail" in levels


def test_nothing_is_said_by_a_title_alone(browser: Chrome, report_page: Path) -> None:
    """Attributes that only a mouse shows carry nothing."""
    show(browser, report_page, DESK)
    assert ask(browser, "document.querySelectorAll('[title]').length") == 0


def test_what_has_the_focus_can_be_seen(browser: Chrome, report_page: Path) -> None:
    """Tab goes to the link past the contents first; every stop has an outline."""
    from selenium.webdriver.common.action_chains import ActionChains  # only with a browser
    from selenium.webdriver.common.keys import Keys

    show(browser, report_page, DESK)
    active = "document.activeElement"
    for stop in range(12):
        ActionChains(browser).send_keys(Keys.TAB).perform()
        if stop == 0:
            assert ask(browser, f"{active}.textContent") == "Skip to the answer"
        assert ask(browser, f"getComputedStyle({active}).outlineStyle") == "solid"
        box = ask(browser, f"{active}.getBoundingClientRect().right")
        assert 0 < box <= DESK[0]


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_without_its_script_the_page_has_everything(
    browser: Chrome, report_page: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    """All quantities are drawn, nothing is hidden but controls that would do nothing."""
    page = report_page.read_text(encoding="utf-8")
    bare = tmp_path / "bare.html"
    bare.write_text(re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL), encoding="utf-8")
    show(browser, bare, size)
    assert ask(browser, "document.documentElement.scrollWidth") <= size[0]
    assert len(seen(browser, f"{WIDE} .overlay figure", "quantity")) == 12
    ask(browser, "document.querySelectorAll('details').forEach(d => d.open = true)")
    hidden = ask(
        browser,
        "[...document.querySelectorAll('[hidden]')].map(e => e.className || e.tagName)",
    )
    assert set(hidden) == {"controls", "LABEL", "sub"}
    assert ask(browser, "document.querySelectorAll('main figure').length") == sum(
        ask(browser, "[...document.querySelectorAll('main figure')].map(f => f.checkVisibility())")
    )
