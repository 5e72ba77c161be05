"""The pages that are made from the code have all of it, and links between pages lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest
import scripts
import yaml

from harness.methods import METHODS
from harness.metrics import METRICS
from harness.models import folders
from harness.why.causes import CAUSES
from harness.why.remedies import REMEDIES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SITE = scripts.load(DOCS / "site_hook.py")
WRITTEN = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(DOCS.rglob("*.md"))
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Return the Markdown of every page of the site, and the other generated files."""
    written = {address: SITE.on_page_markdown(text) for address, text in WRITTEN.items()}
    made: dict[str, str] = SITE.pages()
    assert not set(written) & set(made)
    return written | made | {SITE.EXAMPLE: "made by the slow test, and by make docs"}


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("methods", METHODS),
        ("metrics", METRICS),
        ("causes", CAUSES),
        ("remedies", REMEDIES),
    ],
)
def test_a_table_s_page_has_every_row_once_in_its_order(address: str, names: list[str]) -> None:
    """A row that is added to a table is on the site without another line."""
    page = SITE.TABLES[f"tables/{address}.md"]()
    if address == "methods":
        found = re.findall(r"(?m)^`(\w+)` ·", page)
        assert found == list(names)
    else:
        found = re.findall(r"(?m)^\| `([^`]+)` \|", page)
        assert sorted(found) == sorted(names)
        assert address != "remedies" or found == list(names)
    assert "None" not in page.replace("`None`", "")


def test_the_limits_and_reasons_of_metrics_are_there() -> None:
    """Each metric with a rule shows why its limits are these."""
    page = SITE.metrics_page()
    judged = [m for m in METRICS.values() if m.rule is not None]
    assert judged
    for metric in judged:
        assert metric.rule is not None
        assert SITE.cell(metric.rule.why) in page, metric.id
        assert SITE.cell(metric.limits(metric.rule)) in page, metric.id


def test_the_options_of_methods_are_there_with_their_defaults() -> None:
    """Every option of every method."""
    page = SITE.methods_page()
    for method in METHODS.values():
        section = page.partition(f"`{method.name}` ·")[2].partition("\n## ")[0]
        for name, value in method.defaults.items():
            assert f"| `{name}` | `{SITE.cell(str(value))}` |" in section, (method.name, name)


def test_the_lecture_s_page_has_every_model_s_lesson() -> None:
    """Each once, with its title; a model that there is not raises."""
    assert sorted(SITE.LESSON.findall(WRITTEN["lecture.md"])) == sorted(folders.lecture_models())
    page = SITE.on_page_markdown(WRITTEN["lecture.md"])
    for name in folders.lecture_models():
        assert f"### {folders.load(name).title}\n" in page
    with pytest.raises(FileNotFoundError):
        SITE.with_lessons("<!-- lesson: no_such_model -->")


def slug(heading: str) -> str:
    """Return the anchor that Python-Markdown gives a heading."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", heading)
    ascii_only = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_only).strip().lower())


def broken(pages: dict[str, str]) -> list[str]:
    """Return the links between pages that lead to no page or to no heading of it."""
    found = []
    for address, text in pages.items():
        if not address.endswith(".md"):
            continue
        prose = re.sub(r"(?ms)^```.*?^```$|`[^`\n]*`", "", text)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            path, _, anchor = target.partition("#")
            if re.match(r"\w+:", target):
                continue
            there = (DOCS / address).parent.joinpath(path).resolve() if path else DOCS / address
            name = there.relative_to(DOCS).as_posix() if there.is_relative_to(DOCS) else ""
            if (name not in pages and not (name and there.is_file())) or (
                anchor and anchor not in map(slug, re.findall(r"(?m)^#+ (.+)$", pages[name]))
            ):
                found.append(f"{address}: {target}")
    return found


def test_links_between_pages_lead_somewhere(pages: dict[str, str]) -> None:
    """Every page, file and heading that a link names exists on the site."""
    assert broken(pages) == []


@pytest.mark.parametrize("link", ["gone.md", "why.md#gone", "../harness/api.py", "#gone"])
def test_a_broken_link_is_found(link: str) -> None:
    """A page, a heading or a file outside the site."""
    pages = {"a.md": f"# A\n\n[there]({link})\n", "why.md": "# Why\n"}
    assert broken(pages) == [f"a.md: {link}"]


def test_every_page_is_in_the_navigation(pages: dict[str, str]) -> None:
    """No page can be found by search only, and none is missing."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"(\S+\.md)$", config, re.MULTILINE)
    wanted = sorted(name for name in pages if name.endswith(".md"))
    assert sorted([*listed, *SITE.unlisted()]) == wanted
    settings = yaml.safe_load(config)
    assert settings["strict"] is True
    assert settings["theme"]["font"] is False


def test_docstrings_roles_are_shown_as_code() -> None:
    """Sphinx's roles are for Sphinx."""
    html = (
        "<p>see :class:<code>~harness.vi.target.Target</code> and :mod:<code>harness.vi</code></p>"
    )
    shown = SITE.on_page_content(html)
    assert shown == "<p>see <code>Target</code> and <code>harness.vi</code></p>"


@pytest.mark.slow
def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """MkDocs has no warning, and the built pages name nothing to load from elsewhere."""
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed; make docs installs it")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = (tmp_path / SITE.EXAMPLE).read_text(encoding="utf-8")
    assert "eight_schools" in report
    for path in tmp_path.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]*"', html), path
