"""Name a test's baseline and find its file. Imports the standard library and pytest only."""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = "posterior_baselines"
LONGEST = 100

_VALID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]*(?<![.])")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_CANDIDATE = ".candidate"


@dataclass(frozen=True, slots=True)
class Place:
    """A check's baseline: its name, its file, and the address of its test.

    Messages name files relative to ``root``.
    """

    name: str
    path: Path
    root: Path
    test: str

    @property
    def candidate(self) -> Path:
        """The file to review, written where there is no baseline."""
        return self.path.with_name(f"{self.name}{_CANDIDATE}.json")

    @property
    def shown(self) -> str:
        """The baseline's file in messages."""
        return self.show(self.path)

    def show(self, path: Path) -> str:
        """Name a file relative to the root of the tests."""
        return (
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        )

    @property
    def command(self) -> str:
        """The command that writes this baseline again."""
        return f"pytest --posterior-regen {shlex.quote(self.test)}"


def usable(name: str) -> bool:
    """Tell whether a name makes a file name on every system, and not a candidate's."""
    return (
        _VALID.fullmatch(name) is not None
        and _DEVICE.fullmatch(name) is None
        and len(name) <= LONGEST
        and not name.lower().endswith(_CANDIDATE)
    )


def valid_name(name: str) -> str:
    """Return the name that a test gave.

    Raises
    ------
    TypeError
        If it is not a text.
    ValueError
        If a file cannot have that name.
    """
    __tracebackhide__ = True
    if not isinstance(name, str):
        raise TypeError(f"the name of a check must be a text, not {name!r}")
    if not usable(name):
        raise ValueError(
            f"{name!r} cannot name a baseline's file: letters, digits and _ . + = - are allowed, "
            f"at most {LONGEST}, no dot at either end, and no {_CANDIDATE!r} at the end"
        )
    return name


def default_name(node: pytest.Item) -> str:
    """Return the test's name with its classes and parameters, as a valid file name.

    A hash distinguishes names that would otherwise become equal: ``[a/b]`` and ``[a b]``.
    """
    test, bracket, parameters = node.name.partition("[")
    classes = [parent.name for parent in node.listchain() if isinstance(parent, pytest.Class)]
    parts = [*classes, test, *([parameters.removesuffix("]")] if bracket else [])]
    wanted = "-".join(parts)
    if usable(wanted):
        return wanted
    digest = hashlib.sha256(wanted.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    clean = re.sub(r"[^A-Za-z0-9_+=-]+", "_", wanted)
    return f"{clean[: LONGEST - len(digest) - 1].strip('_+=-') or 'test'}-{digest}"


def find(request: pytest.FixtureRequest, name: str) -> Place:
    """Return where a check's baseline is.

    It is in ``posterior_baselines/<test file>/`` beside the test file, or in the folder of the
    setting ``posterior_regression_dir``, which mirrors the folders of the tests.

    Raises
    ------
    ValueError
        If that setting is given and the test file is outside the root.
    """
    __tracebackhide__ = True
    config, file = request.config, request.path
    root = config.rootpath
    setting = str(config.getini("posterior_regression_dir")).strip()
    folder = file.parent / FOLDER / file.stem
    if setting:
        if not file.is_relative_to(root):
            msg = f"posterior_regression_dir cannot mirror {file}, which is outside {root}"
            raise ValueError(msg)
        folder = root / setting / file.relative_to(root).with_suffix("")
    return Place(name, folder / f"{name}.json", root, request.node.nodeid)
