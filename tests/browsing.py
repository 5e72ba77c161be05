"""A real Chromium for tests of the report, and what they ask it."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PHONE = (390, 844)
TABLET = (768, 1024)
DESK = (1280, 900)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium(profile: Path, fonts: Path | None = None) -> Iterator[Chrome]:
    """Start the machine's own Chromium; skip with the reason where there is none."""
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        missing = "Chromium" if binary is None else "chromedriver"
        pytest.skip(f"{missing} is not on the PATH: apt-get install chromium chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    seen = {} if fonts is None else {"FONTCONFIG_FILE": str(fonts)}
    service = webdriver.ChromeService(driver, env={**os.environ, **seen})
    chrome = webdriver.Chrome(options=options, service=service)
    chrome.set_script_timeout(120)  # seconds; the lecture's report has hundreds of figures
    yield chrome
    chrome.quit()


def show(browser: Chrome, path: Path, size: tuple[int, int]) -> None:
    """Open the report at a width and height, as a device of that size would."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get(path.as_uri())


OPEN = """(() => {
  for (const folded of document.querySelectorAll('details')) folded.open = true;
  for (const figure of document.querySelectorAll('main [hidden]')) figure.hidden = false;
})()"""


def show_open(browser: Chrome, path: Path, size: tuple[int, int]) -> None:
    """Open the report with all that is folded opened, and the figures of every quantity."""
    show(browser, path, size)
    ask(browser, OPEN)


def ask(browser: Chrome, script: str) -> Any:
    """Return the value of a script."""
    return browser.execute_script(f"return {script}")


def log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """Return what was logged since the last call."""
    entries: list[dict[str, Any]] = browser.execute("getLog", {"type": kind})["value"]
    return entries


def smaller(browser: Chrome, least: float) -> list[tuple[str, float]]:
    """Return the labels of figures that are smaller than some CSS pixels, and their sizes."""
    found: list[tuple[str, float]] = ask(
        browser,
        """[...document.querySelectorAll('figure svg text')].map(t => {
          const svg = t.ownerSVGElement;
          return [t.textContent, parseFloat(getComputedStyle(t).fontSize)
            * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width];
        }).filter(([text, pixels]) => pixels < LEAST)""".replace("LEAST", str(least)),
    )
    return found


CONTRASTS = """(() => {
  const brush = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    brush.clearRect(0, 0, 1, 1); brush.fillStyle = colour; brush.fillRect(0, 0, 1, 1);
    return [...brush.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const [r, g, b, a] = rgba(getComputedStyle(e).backgroundColor);
      if (a === 255) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const poor = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const e = text.parentElement, style = getComputedStyle(e);
    if (!text.textContent.trim() || e.closest('script, style')) continue;
    const label = e.closest('svg') !== null;
    const ink = rgba(label ? style.fill : style.color);
    const [dim, bright] = [light(ink), light(behind(e))].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dim + 0.05);
    if (contrast < (label ? LEAST - 1.5 : LEAST)) poor[`${e.tagName} ${e.className}`] = contrast;
  }
  return poor;
})()"""
"""Where text has less contrast than LEAST with what is behind it (WCAG 2.2, 1.4.3).

The labels of curves have their colour, for which 3 instead of 4.5 is asked (1.4.11).
"""

OVERLAPS = """(() => {
  const found = [];
  const drawings = [...document.querySelectorAll('figure svg')];
  drawings.forEach(s => { s.style.width = s.getAttribute('width') + 'px'; });
  for (const drawing of drawings) {
    const name = drawing.getAttribute('aria-label').slice(0, 40);
    const frame = drawing.getBoundingClientRect();
    const boxes = [...drawing.querySelectorAll('text')].map(
      t => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([text, a], i) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1
  || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
        found.push(name + ': cut: ' + text);
      for (const [other, b] of boxes.slice(i + 1)) {
        const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const up = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (across > 1.5 && up > 4) found.push(name + ': ' + text + ' over ' + other);
      }
    });
  }
  return found;
})()"""
"""Texts of figures, at their natural size, that lie over each other or are cut."""

STRAY = """[...document.querySelectorAll('body *')].filter(e => !e.closest(
  '.scroll, nav, pre, svg, .hidden, .quiet, .skip')
  && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
"""What reaches beyond the right edge of the page without a box of its own that scrolls."""


def requests(browser: Chrome) -> set[str]:
    """Return the addresses that were asked for since the log was last read, data URIs aside."""
    events = [json.loads(entry["message"])["message"] for entry in log(browser, "performance")]
    sent = [e for e in events if e["method"] == "Network.requestWillBeSent"]
    urls = {e["params"]["request"]["url"] for e in sent}
    # The browser's own first page may still be loading what it is made of; it is no network.
    return {u for u in urls if not u.startswith(("data:", "chrome://"))}


def screens(browser: Chrome, size: tuple[int, int]) -> float:
    """Return how many screens the page is long."""
    return float(ask(browser, "document.documentElement.scrollHeight")) / size[1]


def words_in_sight(browser: Chrome) -> int:
    """Return how many words can be read without opening anything."""
    text = str(ask(browser, "document.querySelector('main').innerText"))
    return len(re.findall(r"\S*\w\S*", text))


@contextmanager
def media(browser: Chrome, kind: str = "", scheme: str = "light") -> Iterator[None]:
    """Show pages as on paper (``print``) or in a colour scheme, inside."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
