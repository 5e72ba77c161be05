"""How CmdStan is started through cmdstanpy, and how a run of it ended.

cmdstanpy 1.3.2 starts CmdStan and knows its command line; its readers are not used, because
they cannot read ``adapt engaged=0`` output and return the mean where draws are asked for. The
CSV files, the console text and the exit code are read here.
"""

from __future__ import annotations

import dataclasses
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from harness.methods.method import Outcome, timed_out
from harness.methods.started import Starter
from harness.records import Cost, Reason, RunContext
from harness.records.faults import fault_words, machine_fault, named_fault, names_memory, sent
from harness.stan import console
from harness.stan.csv import CsvError, CutShortError

SIGNIFICANT_DIGITS = 18
"""Enough to read back the double: at CmdStan's 6 digits k-hat changes."""

_PROBE = 65_536
"""Bytes that fit where a program's output did."""

T = TypeVar("T")


class Attempt(NamedTuple, Generic[T]):
    """How a run of CmdStan ended, what it printed, and what its files held if all is well."""

    outcome: Outcome  # without draws
    text: str
    found: T | None


def attempt(
    context: RunContext, folder: Path, command: str, read: Callable[[], T], **arguments: Any
) -> Attempt[T]:
    """Run ``CmdStanModel.<command>`` with these arguments, then read its files in the folder.

    The time limit is that of all its processes together.

    Raises
    ------
    OSError
        If a process cannot be started or its output cannot be written.
    """
    import cmdstanpy

    begin = time.perf_counter()
    words = ""
    starter = Starter(context.timeout_s)
    with _quiet():
        try:
            cmdstanpy.set_cmdstan_path(str(context.program.cmdstan))
            model = cmdstanpy.CmdStanModel(exe_file=str(context.program.executable))
            # It has no public place for this.
            vars(model)["_run_cmdstan"] = starter.run
            data = context.data_file
            given = {
                "data": None if data is None else str(data.resolve()),
                "seed": context.cmdstan_seed,
                "output_dir": str(folder.resolve()),
                "sig_figs": SIGNIFICANT_DIGITS,
                **arguments,
            }
            # A program with profile blocks writes profile.csv where it is started.
            start = folder / "start"
            start.mkdir()
            with chdir(start):
                getattr(model, command)(**given)
        except Exception as error:
            if machine_fault(error):
                raise
            words = str(error)  # whatever cmdstanpy raises, the files decide
    if starter.fault is not None:
        raise starter.fault
    codes = starter.codes
    cost = Cost(time.perf_counter() - begin)
    files = sorted(folder.glob("*.txt"))
    text = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in files)
    found: T | None = None
    if starter.overdue:
        ended = timed_out(context, cost)
    elif any(codes):
        ended = _failed(codes, text, words, folder, context.program.stan_file)
    else:
        ended = Outcome("ok")
        try:
            found = read()
        except (CsvError, OSError) as error:
            # CmdStanPy refuses some arguments before it starts anything.
            ended = _unread(error, console.error_text(text) or ("" if files else words), folder)
    ended = dataclasses.replace(ended, cost=cost, console=console.excerpt(text))
    return Attempt(ended, text, found)


def _failed(codes: Sequence[int], text: str, words: str, folder: Path, stan_file: Path) -> Outcome:
    """Tell whether the machine or the program ended a run, by exit codes and what was printed."""
    signals = ", ".join(str(-c) for c in codes if c < 0)
    if any(c < 0 and sent(-c) for c in codes):
        message = f"the process was killed (signal {signals}); often the machine is out of memory"
        return Outcome("killed", message=message)
    if names_memory(text):
        return Outcome("killed", message=named_fault(text), reason=Reason.MEMORY)
    if fault := named_fault(text) or no_room(folder):
        return Outcome("killed", message=fault, reason=Reason.MACHINE)
    if signals:
        return Outcome("failed", message=f"the program crashed (signal {signals})")
    thrown = console.generated_error(text, stan_file)
    said = thrown or console.error_text(text) or words.strip().split("\n")[0]
    reason = Reason.GENERATED if thrown else None
    return Outcome("failed", message=said or f"exit code {codes[0]}", reason=reason)


def _unread(error: Exception, said: str, folder: Path) -> Outcome:
    """Tell whether the machine or the program is at fault for files that cannot be read.

    ``said`` is what the program printed about it, perhaps: a program that ended well and says
    nothing wrote whole files.
    """
    cut = isinstance(error, CutShortError)
    message = f"CmdStan's output: {error}" if cut or not said else said
    if fault := fault_words(error) if machine_fault(error) else no_room(folder):
        return Outcome("killed", message=fault, reason=Reason.MACHINE)
    if cut or not said:
        return Outcome("killed", message=message, reason=Reason.MACHINE)
    return Outcome("failed", message=message, reason=Reason.BAD_OUTPUT)


def no_room(folder: Path) -> str:
    """Say why nothing can be written to a folder; empty if something can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_PROBE))
            probe.flush()
    except OSError as error:
        return fault_words(error)
    return ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep cmdstanpy's log to itself: what went wrong is in the files and exit codes."""
    logger = logging.getLogger("cmdstanpy")
    logger.addFilter(_nothing)
    try:
        yield
    finally:
        logger.removeFilter(_nothing)


def _nothing(_: logging.LogRecord) -> bool:
    return False


def preflight(context: RunContext, scratch: Path) -> str | None:
    """Start the program once and draw a single point; return what kept it from starting.

    Data that do not fit, and a log density that is −inf everywhere, are found here once
    instead of in every run.
    """
    said = ""
    for more in range(3):
        folder = scratch / str(more)
        folder.mkdir()
        found, *_ = attempt(
            context,
            folder,
            "sample",
            lambda: None,
            seed=context.cmdstan_seed + more,
            chains=1,
            iter_warmup=0,
            iter_sampling=1,
            adapt_engaged=False,
            max_treedepth=1,
            sig_figs=None,
            show_progress=False,
        )
        if found.status == "ok":
            return None
        said = found.message
        if not re.search(r"[Ii]nitial", said):
            return said
    return said
