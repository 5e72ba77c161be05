"""The report in a real Chromium: what a reader sees and can do, at desk, tablet and phone width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import report_fixture as fixture
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

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start a browser with the machine's fonts."""
    yield from chromium(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return the five models of the fixture."""
    return fixture.build(tmp_path_factory.mktemp("programs"))


@pytest.fixture(scope="module")
def path(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file with the report."""
    target = tmp_path_factory.mktemp("report") / "index.html"
    html.render(comparison, target)
    return target


def test_no_console_error_and_no_request_leaves_the_file(browser: Chrome, path: Path) -> None:
    """The console is empty; all that is loaded is the file itself and data URIs."""
    log(browser, "performance")
    log(browser, "browser")
    show(browser, path, DESK)
    assert log(browser, "browser") == []
    assert requests(browser) == {path.as_uri()}  # the log does see requests


def test_every_model_has_a_visible_section(
    browser: Chrome, path: Path, comparison: Comparison
) -> None:
    """Each model's heading is drawn, in the order of the comparison."""
    show(browser, path, DESK)
    tops = [
        ask(
            browser,
            f"document.querySelector('#{anchor(m.model.name)} h2').getBoundingClientRect().top",
        )
        for m in comparison.models
    ]
    assert tops == sorted(tops)
    assert len(set(tops)) == len(comparison.models)


def test_every_drawing_has_a_size_and_an_alternative_text(browser: Chrome, path: Path) -> None:
    """No drawing is empty, none is silent."""
    show_open(browser, path, DESK)
    drawings = ask(
        browser,
        "[...document.querySelectorAll('figure svg')].map(s => [s.getAttribute('aria-label'),"
        " s.getBoundingClientRect().height, s.getBBox().width])",
    )
    assert len(drawings) > 30
    assert all(alt.strip() for alt, _, _ in drawings)
    assert all(height > 0 and width > 0 for _, height, width in drawings)


@pytest.mark.parametrize("size", [PHONE, TABLET, DESK])
def test_nothing_overflows_the_page(browser: Chrome, path: Path, size: tuple[int, int]) -> None:
    """The page never scrolls sideways, folded parts opened; wide tables do so in their box."""
    show_open(browser, path, size)
    assert ask(browser, "document.documentElement.scrollWidth") <= size[0]
    assert ask(browser, STRAY) == []


def test_tables_restack_on_a_phone_with_their_labels(browser: Chrome, path: Path) -> None:
    """Each verdict stands under its model with the method's name before it."""
    show(browser, path, PHONE)
    label = ask(
        browser, "getComputedStyle(document.querySelector('.verdicts td'), '::before').content"
    )
    assert label == '"mean-field"'
    width = ask(browser, "document.querySelector('.verdicts td').getBoundingClientRect().width")
    assert width > 300


def test_columns_sort_up_and_down_from_the_keyboard(browser: Chrome, path: Path) -> None:
    """Enter on a header sorts by value, says so in aria-sort, and again turns it round."""
    from selenium.webdriver.common.keys import Keys  # only with a browser

    show_open(browser, path, DESK)
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
def test_labels_of_figures_can_be_read(browser: Chrome, path: Path, size: tuple[int, int]) -> None:
    """However many panels stand side by side, no label is smaller than 10 pixels."""
    show_open(browser, path, size)
    assert smaller(browser, 10) == []


def test_a_printed_page_is_not_cut(browser: Chrome, path: Path) -> None:
    """On A4 with the usual margins, 718 pixels, no table is wider than the paper."""
    show(browser, path, (718, 1000))
    with media(browser, "print"):
        assert ask(browser, "document.documentElement.scrollWidth") <= 718


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(browser: Chrome, path: Path, scheme: str) -> None:
    """It has a contrast of 4.5 everywhere; one that cannot be reached is found missing."""
    with media(browser, scheme=scheme):
        show(browser, path, DESK)
        paper = ask(browser, "getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 29)"}[scheme]
        ask(browser, OPEN)
        assert ask(browser, CONTRASTS.replace("LEAST", "4.5")) == {}
        assert ask(browser, CONTRASTS.replace("LEAST", "23"))
