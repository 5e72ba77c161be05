"""matplotlib's SVG without what a page does not need, its paths shortened."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from matplotlib.figure import Figure

_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "harness", "path.simplify_threshold": 0.25}
_PATH = re.compile(r' d="([^"]*)"')
_TAG = re.compile(r"<[^>]+>")
_USED = re.compile(r'<use href="#(\w+)"([^>]*?) style="([^"]*)"/>')
_LONG = re.compile(r"-?\d+\.\d{3,}(?:e[-+]?\d+)?")


def svg(figure: Figure) -> str:
    """Render a figure as a compact SVG element for the page."""
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return compact(buffer.getvalue())


def compact(text: str) -> str:
    """Drop what a page does not need from matplotlib's SVG and shorten its paths.

    Coordinates keep a tenth of a point, an eighth of a pixel; straight paths are written
    as relative moves. Names of XML, the style sheet, the size and the font go: the page has them.
    """
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)
    text = _PATH.sub(lambda m: f' d="{_shorter(m.group(1))}"', text)
    # Only inside tags: labels keep their digits and whatever else is written in them.
    text = _TAG.sub(lambda tag: _shorter_tag(tag.group()), text)
    text = re.sub(r">\s+<", "><", text)
    box = re.search(r'viewBox="[^"]*"', text)
    text = re.sub(r"^<svg[^>]*>", f"<svg {box.group(0)}>" if box else "<svg>", text)
    return _styled_once(_without_bare_groups(text.replace("xlink:href", "href"))).strip()


def _styled_once(text: str) -> str:
    """Give a marker the style that all its uses have, so that it is not said with each."""
    styles: dict[str, set[str]] = {}
    for name, _, style in _USED.findall(text):
        styles.setdefault(name, set()).add(style)
    for name, (style, *others) in styles.items():
        marker = re.compile(rf'(<path id="{name}" d="[^"]*")(?: style="([^"]*)")?')
        found = marker.search(text)
        if others or found is None:
            continue
        # The marker's own style stands behind: it wins over that of its use, as it did.
        whole = ";".join(dict.fromkeys(f"{style};{found.group(2) or ''}".strip(";").split(";")))
        text = marker.sub(rf'\1 style="{whole}"', text)
        text = re.sub(rf'(<use href="#{name}"[^>]*?) style="[^"]*"/>', r"\1/>", text)
    return text


def _shorter_tag(tag: str) -> str:
    tag = _LONG.sub(lambda m: _trim(float(m.group())), tag)
    tag = re.sub(r"<g id=\"[^\"]*\"", "<g", tag)
    # Releases differ in how they write the font.
    tag = re.sub(r"font:\s*([\d.]+)px[^;\"]*", r"font-size:\1px", tag)
    tag = re.sub(r"font-family:[^;\"]*;?", "", tag)
    tag = re.sub(r' transform="rotate\(-?0(?: [^)]*)?\)"', "", tag)
    return re.sub(r"(?<=[;:]) +", "", tag)


def _without_bare_groups(text: str) -> str:
    """Drop groups without attributes, which change nothing on the page."""
    bare: list[bool] = []

    def kept(tag: re.Match[str]) -> str:
        found = tag.group(0)
        if found == "<g/>":
            return ""
        if found == "</g>":
            return "" if bare.pop() else found
        if re.match(r"<g[ >]", found) and not found.endswith("/>"):
            bare.append(found == "<g>")
            return "" if bare[-1] else found
        return found

    return _TAG.sub(kept, text)


def _trim(value: float) -> str:
    """Write two decimals, without trailing zeros."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _shorter(path: str) -> str:
    """Write a path of moves and straight lines relatively; only round any other."""
    tokens = path.split()
    if any(t.isalpha() and t not in "MLz" for t in tokens):
        return " ".join(t if t.isalpha() else _trim(float(t)) for t in tokens)
    parts: list[str] = []
    at = [0, 0]  # tenths of a point, so that rounding errors do not add up
    start = [0, 0]
    command = ""
    position = 0
    while position < len(tokens):
        word = tokens[position]
        if word == "z":
            parts.append("z")
            at = list(start)
            command = ""
            position += 1
            continue
        to = [round(float(t) * 10) for t in tokens[position + 1 : position + 3]]
        letter = "m" if word == "M" else "l"
        move = _pair(to[0] - at[0], to[1] - at[1])
        if letter == "m":
            start = to
        # After a move, further pairs are lines: the letter need not be said again.
        implied = (command, letter) in {("l", "l"), ("m", "l")}
        separator = "" if not implied or move.startswith("-") else " "
        parts.append(f"{separator if implied else letter}{move}")
        command = letter
        at = to
        position += 3
    return "".join(parts)


def _pair(x: int, y: int) -> str:
    first, second = _tenths(x), _tenths(y)
    return f"{first}{second}" if second.startswith("-") else f"{first} {second}"


def _tenths(value: int) -> str:
    if value % 10 == 0:
        return str(value // 10)
    sign = "-" if value < 0 else ""
    whole, rest = divmod(abs(value), 10)
    return f"{sign}{whole or ''}.{rest}"
