"""``harness doctor``."""

from __future__ import annotations

import base64
import csv
import hashlib
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.common import EXIT_UNUSABLE

if TYPE_CHECKING:
    from harness.stan.doctor import Check

DISTRIBUTION = "stan-advi-harness"


@click.command()
@click.option("--install", is_flag=True, help="Download and build CmdStan if there is none.")
def doctor(install: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Say what was found, what is missing, and which command fixes it."""
    from harness import stan
    from harness.report.terminal import print_checks

    if install:
        stan.ensure_cmdstan(click.echo)
    checks = [*stan.diagnose(), *(own_files(d) for d in metadata.distributions(name=DISTRIBUTION))]
    print_checks(checks)
    raise SystemExit(0 if all(c.ok for c in checks) else EXIT_UNUSABLE)


def own_files(distribution: metadata.Distribution) -> Check:
    """Check that no other package replaced the command or the package ``harness``.

    Each file is compared with the checksum that the installer recorded for it.
    """
    from harness.stan.doctor import Check

    # Not `distribution.files`: from Python 3.12 on that leaves lost files out.
    record = csv.reader((distribution.read_text("RECORD") or "").splitlines())
    own = {
        name: checksum
        for name, checksum, _ in record
        if checksum and (Path(name).stem == "harness" or name == "harness/__init__.py")
    }
    replaced = [
        name
        for name, checksum in own.items()
        if checksum != f"sha256={_sha256(Path(str(distribution.locate_file(name))))}"
    ]
    if own and not replaced:
        return Check("command harness", ok=True, found=f"belongs to {DISTRIBUTION}")
    found = f"another package replaced {' and '.join(replaced)}; {DISTRIBUTION} is the same command"
    return Check(
        "command harness",
        False,  # noqa: FBT003 - by position, as the other three
        found if own else "unknown whose it is: the installer recorded no files",
        f"{sys.executable} -m pip uninstall harness, then "
        f"{sys.executable} -m pip install --force-reinstall --no-deps {DISTRIBUTION}",
    )


def _sha256(file: Path) -> str | None:
    try:
        content = file.read_bytes()
    except OSError:
        return None
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
