"""How long the report is: one model's, the lecture's, and the committed sample's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import report_fixture as fixture
from browsing import (
    DESK,
    OPEN,
    OVERLAPS,
    PHONE,
    STRAY,
    TABLET,
    ask,
    chromium,
    log,
    requests,
    screens,
    show,
    show_open,
    smaller,
    words_in_sight,
)

from harness.models import folders
from harness.records import (
    Better,
    Cause,
    ClaimResult,
    Comparison,
    Estimate,
    Level,
    ModelComparison,
    VerdictCause,
)
from harness.report import html
from harness.report.figures import figures_for
from harness.report.html.summary import anchor

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

SAMPLE = Path(__file__).parents[1] / "reports" / "lecture" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Start a browser with the machine's fonts."""
    yield from chromium(tmp_path_factory.mktemp("profile"))


TELLING: dict[str, str] = {
    "correlation": "the best mean-field Gaussian is 0.7 nats from the posterior",
    "skew": "the posterior is skewed",
}


def ten_methods(entry: ModelComparison) -> ModelComparison:
    """Return a model with the methods that any program gets, and reasons as long as real ones."""
    names = ["fullrank_tuned", "dadvi", "dadvi_lr", "dadvi_psis", "pathfinder", "laplace"]
    source = [r for r in entry.runs if r.spec.method == "fullrank"]
    again = [
        dataclasses.replace(r, spec=dataclasses.replace(r.spec, method=name))
        for name in names
        for r in source
    ]
    cause = VerdictCause(
        Cause("family", "correlation", 0.68, {"said": TELLING["correlation"]}),
        whole=Estimate(0.7, 0.005),
        family="meanfield",
    )
    slow = VerdictCause(
        Cause("optimiser", "stopped early", 0.25, {"said": "the rule cannot see small changes"}),
        (1, 2), (0.2, 0.3), 1, 3,
    )  # fmt: skip
    known = {v.method: v for v in entry.verdicts}
    levels: dict[str, Level] = {"dadvi_lr": "pass", "dadvi_psis": "pass", "laplace": "warn"}
    verdicts = []
    for name in ["meanfield", "fullrank", "meanfield_tuned", *names]:
        level = levels.get(name, "fail")
        base = known.get(name, known["fullrank"])
        verdicts.append(
            dataclasses.replace(
                base,
                method=name,
                level=level,
                seeds=10,
                seeds_failed=10 * (level == "fail"),
                headline="all quantities close (4, and 1 generated)"
                if level == "pass"
                else "sd of intercept 0.50 of the reference's",
                causes=() if level == "pass" else (cause, slow),
                remedies=() if level == "pass" else (Better("dadvi_psis", "pass", 5, 0.23),),
            )
        )
    runs = [r for r in entry.runs if r.spec.method in {"nuts", "meanfield", "meanfield_tuned"}]
    nuts = dataclasses.replace(
        known["nuts"],
        headline="R-hat at most 1.003, bulk ESS at least 1566, tail ESS at least 1652",
    )
    return dataclasses.replace(entry, runs=(*runs, *source, *again), verdicts=(*verdicts, nuts))


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> ModelComparison:
    """Return one model of a user, with the methods that it gets without being asked for."""
    folder = tmp_path_factory.mktemp("own")
    return ten_methods(fixture.regression(folder, 3, 1000, np.random.default_rng(5)))


@pytest.fixture(scope="module")
def own_page(own: ModelComparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the report on that model."""
    target = tmp_path_factory.mktemp("own") / "index.html"
    html.render(Comparison((own,), (), {"date": "2026-11-21"}), target)
    return target


@pytest.fixture(scope="module")
def long_page(own: ModelComparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a report as long as the lecture's: ten models of ten methods, 55 claims."""
    drawn = figures_for(own)
    models = tuple(
        dataclasses.replace(own, model=dataclasses.replace(own.model, name=f"model_{i}"))
        for i in range(10)
    )
    text = "Reparameterisation makes for more stable gradients: the variance of the plain score "
    claims = tuple(
        ClaimResult(f"model_{i % 10}", text + f"function is {i} times larger, and not less.",
                    "lecture 1", "at least 100", 1867.0, 18.0, i % 5 > 0, "")
        for i in range(55)
    )  # fmt: skip
    target = tmp_path_factory.mktemp("long") / "index.html"
    figures = {m.model.name: drawn for m in models}
    html.render(Comparison(models, claims, {"date": "2026-11-21"}), target, figures)
    return target


def test_the_first_screen_decides(browser: Chrome, own_page: Path) -> None:
    """Answer, table and the densities of three quantities need no scrolling at 1280 × 900."""
    show(browser, own_page, DESK)
    bottoms = [
        ask(browser, f"document.querySelector('{one}').getBoundingClientRect().bottom")
        for one in ("h1", ".answer", ".decision", ".overlay")
    ]
    assert bottoms == sorted(bottoms)
    assert bottoms[-1] <= DESK[1]
    assert ask(browser, "document.querySelectorAll('.decision tbody').length") == 10
    assert ask(browser, "document.querySelectorAll('.overlay figure:not([hidden])').length") == 3
    assert screens(browser, DESK) <= 4
    shut = screens(browser, DESK)
    show_open(browser, own_page, DESK)
    assert screens(browser, DESK) > 2 * shut  # the rest is there, folded


@pytest.mark.parametrize(("size", "most"), [(DESK, 20), (PHONE, 45)])
def test_a_lecture_can_be_read(
    browser: Chrome, long_page: Path, size: tuple[int, int], most: int
) -> None:
    """Ten models are at most 20 screens on a desk, 45 on a phone, and 12 000 words."""
    show(browser, long_page, size)
    assert screens(browser, size) <= most
    assert 1000 < words_in_sight(browser) <= 12_000
    assert ask(browser, "document.documentElement.scrollWidth") <= size[0]


def test_claims_follow_the_verdicts_one_line_each(browser: Chrome, long_page: Path) -> None:
    """On a desk; each opens to what was measured."""
    show(browser, long_page, DESK)
    order = "[...document.querySelectorAll('section')].map(s => s.id).slice(0, 3)"
    assert ask(browser, order) == ["verdicts", "claims", anchor("model_0")]
    heights = ask(
        browser,
        "[...document.querySelectorAll('.claims li')].map(c => c.getBoundingClientRect().height)",
    )
    assert len(heights) == 55
    assert max(heights) < 25
    line = ask(browser, "document.querySelector('.claims summary')")
    line.click()
    assert "1867 ± 18" in ask(browser, "document.querySelector('.claims li').innerText")


def test_a_row_opens_to_its_findings(browser: Chrome, own_page: Path) -> None:
    """From the keyboard, too; before it is opened they take no room."""
    from selenium.webdriver.common.keys import Keys  # only with a browser

    show(browser, own_page, DESK)
    row = "document.querySelector('[data-method=meanfield] .more')"
    assert ask(browser, f"{row}.getBoundingClientRect().height") < 2
    ask(browser, f"{row}.querySelector('summary')").send_keys(Keys.ENTER)
    assert ask(browser, f"{row}.getBoundingClientRect().height") > 20
    assert "stopped early" in ask(browser, f"{row}.innerText") or "Why" in ask(
        browser, f"{row}.innerText"
    )


@pytest.fixture(scope="module", params=[DESK, TABLET, PHONE], ids=["desk", "tablet", "phone"])
def sample(request: pytest.FixtureRequest, browser: Chrome) -> tuple[int, int]:
    """Open the committed sample, once at each width, and return the size."""
    size: tuple[int, int] = request.param
    log(browser, "performance")
    log(browser, "browser")
    show(browser, SAMPLE, size)
    return size


def test_the_committed_sample_stands_up_to_the_same(
    browser: Chrome, sample: tuple[int, int]
) -> None:
    """The lecture's report: short as it opens; nothing leaves it, is silent, cut or too small."""
    most = {DESK: 20, TABLET: 25, PHONE: 45}[sample]
    assert screens(browser, sample) <= most
    assert 1000 < words_in_sight(browser) <= 12_000
    assert log(browser, "browser") == []
    assert requests(browser) == {SAMPLE.as_uri()}
    for name in folders.lecture_models():
        heading = f"document.querySelector('#{anchor(name)} h2')"
        assert name in ask(browser, f"{heading}.textContent")
    ask(browser, OPEN)
    assert ask(browser, "document.documentElement.scrollWidth") <= sample[0]
    assert ask(browser, STRAY) == []
    assert smaller(browser, 10) == []
    if sample == DESK:  # labels are compared at their natural size, whatever the page's
        assert ask(browser, OVERLAPS) == []
