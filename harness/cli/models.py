"""``harness models``."""

from __future__ import annotations

import click


@click.command()
def models() -> None:
    """List the lecture's models and the methods."""
    from harness.methods import METHODS
    from harness.models import folders
    from harness.report.terminal import print_models

    print_models([folders.load(name) for name in folders.lecture_models()], METHODS)
