"""The report's fonts in a real Chromium.

Every test runs once for each set of fonts that a reader's machine may have, and only that set:
the page carries its own font, so that nothing depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browsing import DESK, OPEN, OVERLAPS, ask, chromium, show, show_open

from harness.report.figures import canvas
from harness.report.figures.canvas import width_px

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

FONTS = {
    "DejaVu": ("DejaVuSans.ttf", "fonts-dejavu-core"),
    "Liberation": ("LiberationSans-Regular.ttf", "fonts-liberation"),
    "Noto": ("NotoSans-Regular.ttf", "fonts-noto-core"),
}
"""A family that may be all that a machine has: the file that shows it, and Debian's package."""

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts")


@pytest.fixture(scope="module", params=FONTS)
def fonts(request: pytest.FixtureRequest) -> str:
    """Return the family that is all Chromium gets to see."""
    return str(request.param)


@pytest.fixture(scope="module")
def only_these(fonts: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a fontconfig file that knows no other family; skip where it is not installed."""
    file, package = FONTS[fonts]
    places = [Path(folder).expanduser() for folder in FONT_FOLDERS]
    found = next((path for place in places for path in place.rglob(file)), None)
    if found is None:
        pytest.skip(f"{file} is not installed: apt-get install {package}")
    folder = tmp_path_factory.mktemp("fonts")
    config = folder / "fonts.conf"
    config.write_text(
        f"<fontconfig><dir>{found.parent}</dir><cachedir>{folder}/cache</cachedir></fontconfig>\n",
        encoding="utf-8",
    )
    return config


@pytest.fixture(scope="module")
def browser(only_these: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start a browser that sees these fonts only."""
    yield from chromium(tmp_path_factory.mktemp("profile"), only_these)


def families(browser: Chrome, selector: str) -> list[tuple[str, bool]]:
    """Return the fonts that draw an element, and whether the page brought each itself."""
    for domain in ("DOM", "CSS"):
        browser.execute_cdp_cmd(f"{domain}.enable", {})
    root = browser.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
    where = {"nodeId": root, "selector": selector}
    node = browser.execute_cdp_cmd("DOM.querySelector", where)["nodeId"]
    used = browser.execute_cdp_cmd("CSS.getPlatformFontsForNode", {"nodeId": node})["fonts"]
    return [(font["familyName"], font["isCustomFont"]) for font in used]


def test_text_and_labels_take_the_font_of_the_page(
    browser: Chrome, report_page: Path, fonts: str
) -> None:
    """Only programs and commands take one of the machine's, which is the family meant."""
    from selenium.webdriver.support.ui import WebDriverWait  # only with a browser

    show(browser, report_page, DESK)
    for own in ("h1", ".verdicts .mark", "figcaption .pt", "figure svg text"):
        assert {custom for _, custom in families(browser, own)} == {True}, own
    ask(browser, OPEN)
    # What was opened has fonts only once it is painted, which nothing waits for.
    WebDriverWait(browser, 10).until(lambda b: families(b, "pre.stan code"))
    code = families(browser, "pre.stan code")
    assert code
    assert all(name.startswith(fonts) and not custom for name, custom in code)


def test_figures_know_how_wide_their_labels_are(browser: Chrome, report_page: Path) -> None:
    """The widths that leave room for labels are those of the font, kerning aside."""
    show(browser, report_page, DESK)
    wanted = {character: width_px(character, 750) for character in canvas._advances()}
    measure = "const c = document.createElement('canvas').getContext('2d');"
    measure += "c.font = '1000px report'; return arguments[0].map(t => c.measureText(t).width)"
    found = browser.execute_script(measure, list(wanted))
    assert found == pytest.approx(list(wanted.values()), abs=0.5)


def test_labels_inside_a_figure_do_not_lie_over_each_other(
    browser: Chrome, report_page: Path
) -> None:
    """At a panel's natural size no two texts of it overlap, and none is cut off."""
    show_open(browser, report_page, DESK)
    complaints = ask(browser, OVERLAPS)
    assert complaints == []
