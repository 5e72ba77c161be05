"""Engines for tests that plan and run nothing."""

from __future__ import annotations

from pathlib import Path

from harness.stan import CmdStan
from harness.study.engines import Engines

CMDSTAN = CmdStan(Path("/nowhere"), (2, 27, 0), "2.27.0", "a test")


def engines(*, cmdstan: bool = True, embedded: bool = True, version: str = "stanli 1") -> Engines:
    """Return what a machine has; an engine that is not there says so."""
    versions = {"python": "3.13"}
    if cmdstan:
        versions |= {"cmdstan": "2.27.0", "compiler": "g++ 12", "cmdstanpy": "1.3"}
    if embedded:
        versions |= {"embedded": version}
    absent = {} if cmdstan else {"cmdstan": "there is no CmdStan"}
    absent |= {} if embedded else {"embedded": "there is no wheel for this system"}
    return Engines(versions, CMDSTAN if cmdstan else None, absent)  # type: ignore[arg-type]
