"""The command line: one file per command. Heavy imports wait until a command needs them."""

from __future__ import annotations

import click

from harness.cli.baseline import baseline
from harness.cli.check import check
from harness.cli.compare import compare
from harness.cli.doctor import doctor
from harness.cli.models import models
from harness.cli.report import report


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stan-advi-harness", prog_name="harness")
def main() -> None:
    """May I use ADVI on this Stan model instead of NUTS, and if not, why not?"""


for command in (compare, check, baseline, models, report, doctor):
    main.add_command(command)
