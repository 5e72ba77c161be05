"""The command line: one file per command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import click

from harness.cli.baseline import baseline
from harness.cli.cache import cache
from harness.cli.check import check
from harness.cli.common import EXIT_INTERRUPTED, EXIT_UNREAD, fail
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.judge import judge
from harness.cli.league import league
from harness.cli.models import models
from harness.cli.report import report


class _Refusing(click.Group):
    """Commands whose refusals are a message and exit code 2, not a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # before there are runs to keep
            click.echo("interrupted", err=True)
            raise SystemExit(EXIT_INTERRUPTED) from interrupt
        except BrokenPipeError as error:
            # The reader of the pipe has ended, as `| head` does; Python would fail again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(EXIT_UNREAD) from error
        except Exception as error:
            from harness.check.baseline.form import BaselineError
            from harness.intake import DrawsError
            from harness.methods.settings import OptionError
            from harness.models.data import ModelError
            from harness.report.files import ResultsError
            from harness.stan import ToolchainError
            from harness.study.comparing import NothingToRunError

            refusals = (
                BaselineError,
                DrawsError,
                ModelError,
                NothingToRunError,
                OptionError,
                ResultsError,
            )
            if isinstance(error, (*refusals, ToolchainError, OSError)):
                raise fail(str(error)) from error
            raise


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=_Refusing, context_settings=_SETTINGS)
@click.version_option(package_name="stan-advi-harness", prog_name="harness")
def main() -> None:
    """May I use ADVI on this Stan model instead of NUTS, and if not, why not?"""
    # Records are many and have no cycles: looking for some took a sixth of a report's seconds.
    gc.set_threshold(200_000, 50, 50)


for command in (compare, judge, check, baseline, models, report, league, cache, doctor):
    main.add_command(command)
