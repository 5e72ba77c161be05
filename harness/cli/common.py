"""What the commands share: exit codes, and reading what the user named."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.records import Model

EXIT_LEVEL = 1
EXIT_UNUSABLE = 2
EXIT_INTERRUPTED = 130


class UnusableError(click.ClickException):
    """A command that cannot do what was asked."""

    exit_code = EXIT_UNUSABLE


def fail(message: str) -> click.ClickException:
    """Return what a command raises when it cannot do what was asked."""
    return UnusableError(message)


def end_gently() -> None:
    """Let a SIGTERM do what Ctrl-C does: finished runs are kept."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def check_reference(reference: str) -> None:
    """Refuse a reference that is neither a word of ours nor a file."""
    if reference not in {"auto", "nuts"} and not Path(reference).is_file():
        raise fail(f"no such reference: {reference}; allowed: auto, nuts, or a NetCDF file")


def chosen_methods(methods: str | None) -> tuple[str, ...] | None:
    """Return the methods of a list with commas, None for none."""
    if methods is None:
        return None
    import difflib

    from harness.methods import METHODS

    chosen = names(methods)
    for name in chosen:
        if name not in METHODS:
            near = difflib.get_close_matches(name, METHODS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise fail(f"unknown method {name!r}{hint} (known: {', '.join(METHODS)})")
    if not chosen:
        raise fail(f"--methods is empty (known: {', '.join(METHODS)})")
    return chosen


def names(listed: str | None) -> tuple[str, ...]:
    """Return the words of a list with commas, each once."""
    return tuple(dict.fromkeys(w.strip() for w in (listed or "").split(",") if w.strip()))


def read_models(what: Sequence[str], quantities: str | None = None) -> list[Model]:
    """Read what the user named: nothing (all lecture models), models, or FILE.stan DATA.json.

    Raises
    ------
    harness.models.folders.ModelError
        For an unknown model or unusable files.
    """
    import dataclasses

    from harness.models import folders

    words = list(what) or list(folders.lecture_models())
    models = []
    while words:
        word = words.pop(0)
        if word.endswith(".stan"):
            data = Path(words.pop(0)) if words and words[0].endswith(".json") else None
            models.append(folders.user_model(Path(word), data))
        elif word.endswith(".json"):
            msg = f"{word}: a data file follows its program: harness compare FILE.stan {word}"
            raise folders.ModelError(msg)
        else:
            models.append(folders.load(word))
    called = [m.name for m in models]
    for name in called:
        if called.count(name) > 1:
            msg = f"{name} is named twice; rename one of the programs"
            raise folders.ModelError(msg)
    if quantities is not None:
        models = [dataclasses.replace(m, quantities=names(quantities)) for m in models]
    return models
