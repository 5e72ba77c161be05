"""How CmdStan is started through cmdstanpy, and how a run of it ended.

cmdstanpy 1.3.2 starts CmdStan and knows its command line; its readers are not used, because
they cannot read ``adapt engaged=0`` output and return the mean where draws are asked for. The
CSV files, the console text and the exit code are read here.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from harness.methods.method import Outcome, timed_out
from harness.records import Cost, Reason, RunContext, Status, Trace
from harness.stan import console
from harness.stan.csv import CsvError

SIGNIFICANT_DIGITS = 18
"""Enough to read back the double: at CmdStan's 6 digits k-hat changes."""

T = TypeVar("T")


@dataclass(slots=True)
class Attempt:
    """A run of CmdStan: what it printed, and how it ended unless all is well."""

    seconds: float
    text: str
    status: Status | None = None
    reason: Reason | None = None
    message: str = ""

    def read(self, reader: Callable[[], T]) -> T | None:
        """Return what a reader finds in CmdStan's files, None where the run or they failed."""
        if self.status is not None:
            return None
        try:
            return reader()
        except (CsvError, OSError) as error:
            said = console.error_text(self.text)
            self.status, self.reason = "failed", Reason.BAD_OUTPUT
            self.message = said or f"CmdStan's output: {error}"
            return None

    def outcome(
        self, trace: Trace | None = None, diagnostics: Mapping[str, float] | None = None
    ) -> Outcome:
        """Return the outcome of a run without draws."""
        return Outcome(
            self.status or "failed",
            Cost(self.seconds),
            self.message,
            self.reason,
            trace=trace,
            diagnostics=diagnostics or {},
            console=console.excerpt(self.text),
        )


def attempt(context: RunContext, folder: Path, command: str, **arguments: Any) -> Attempt:
    """Run ``CmdStanModel.<command>`` with these arguments; its files go to the folder."""
    import cmdstanpy

    begin = time.perf_counter()
    status: Status | None = None
    words = ""
    with _exit_codes() as codes:
        try:
            cmdstanpy.set_cmdstan_path(str(context.program.cmdstan))
            model = cmdstanpy.CmdStanModel(exe_file=str(context.program.executable))
            getattr(model, command)(
                **{
                    "data": None if context.data_file is None else str(context.data_file),
                    "seed": context.cmdstan_seed,
                    "output_dir": str(folder),
                    "timeout": context.timeout_s,
                    "sig_figs": SIGNIFICANT_DIGITS,
                    **arguments,
                }
            )
        except TimeoutError:
            status = "timed_out"
        except Exception as error:  # noqa: BLE001 - whatever cmdstanpy raises, the files decide
            words = str(error)
    seconds = time.perf_counter() - begin
    files = sorted(folder.glob("*.txt"))
    text = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in files)
    found = Attempt(seconds, text, status)
    if status == "timed_out":
        found.message = timed_out(context, Cost(seconds)).message
    elif any(c < 0 for c in codes):
        signals = ", ".join(str(-c) for c in codes if c < 0)
        found.status = "killed"
        found.message = (
            f"the process was killed (signal {signals}); often the machine is out of memory"
        )
    elif any(c != 0 for c in codes):
        found.status = "failed"
        said = console.error_text(text) or words.strip().split("\n")[0]
        found.message = said or f"exit code {codes[0]}"
    return found


@contextmanager
def _exit_codes() -> Iterator[list[int]]:
    """Collect the exit codes that cmdstanpy logs and its exceptions may lose."""
    codes: list[int] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            args = record.args
            if isinstance(args, tuple) and "error: code" in str(record.msg):
                codes.extend(a for a in args if isinstance(a, int))

    logger = logging.getLogger("cmdstanpy")
    listener, level, propagate = Listener(), logger.level, logger.propagate
    handlers = list(logger.handlers)
    logger.handlers = [listener]
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        yield codes
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def preflight(context: RunContext, scratch: Path) -> str | None:
    """Start the program once and draw a single point; return what kept it from starting.

    Data that do not fit, and a log density that is −inf everywhere, are found here once
    instead of in every run.
    """
    said = ""
    for more in range(3):
        folder = scratch / str(more)
        folder.mkdir()
        found = attempt(
            context,
            folder,
            "sample",
            seed=context.cmdstan_seed + more,
            chains=1,
            iter_warmup=0,
            iter_sampling=1,
            adapt_engaged=False,
            max_treedepth=1,
            sig_figs=None,
            show_progress=False,
        )
        if found.status is None:
            return None
        said = found.message
        if not re.search(r"[Ii]nitial", said):
            return said
    return said
