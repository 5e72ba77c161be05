"""``harness models``."""

from __future__ import annotations

import click

from harness.cli.common import fail


@click.command()
def models() -> None:
    """List the lecture's models and the methods."""
    from harness.methods import METHODS
    from harness.models import folders
    from harness.models.data import ModelError
    from harness.report.terminal import print_models

    try:
        found = [folders.load(name) for name in folders.lecture_models()]
    except ModelError as error:
        raise fail(str(error)) from error
    print_models(found, METHODS)
