"""CmdStan's processes: one time limit for all of a run's, and of what they print head and tail.

CmdStanPy gives every chain the whole limit, writes all that a program prints to a file and reads
that back. So its ``_run_cmdstan`` is replaced by :meth:`Starter.run`, and nothing else of it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from harness.stan.console import left_out

MOST_BYTES = 2_000_000
"""Of what one process prints are kept this many bytes from the beginning and from the end."""

_PIECE = 65_536


class Starter:
    """Starts the processes of one run, ends them at its time limit, and keeps their exit codes."""

    def __init__(self, limit_s: float) -> None:
        self._ends = time.monotonic() + limit_s
        self.codes: list[int] = []
        """Of processes that were not ended here; a signal's number is negative."""
        self.overdue = False
        self.fault: OSError | None = None
        """Why a process could not be started or heard: the machine's fault, not the program's."""

    def run(self, runset: Any, idx: int, **_: Any) -> None:
        """Start one process and wait for it; CmdStanPy calls this in threads, one a chain."""
        left_s = self._ends - time.monotonic()
        if left_s <= 0:
            self.overdue = True
            return
        try:
            self._run(runset.cmd(idx), Path(runset.stdout_files[idx]), left_s)
        except OSError as error:
            self.fault = error
        else:
            code = 1 if self.overdue else self.codes[-1]
            runset._set_retcode(idx, code)  # noqa: SLF001 - as its own does

    def _run(self, command: list[str], console: Path, left_s: float) -> None:
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None  # noqa: S101 - it is a pipe

            def end() -> None:
                self.overdue = True
                process.kill()

            timer = threading.Timer(left_s, end)
            timer.daemon = True
            timer.start()
            try:
                said = head_and_tail(process.stdout)
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                timer.cancel()
                timer.join()
        if not self.overdue:
            self.codes.append(process.returncode)
        console.write_bytes(said)


def head_and_tail(stream: Any) -> bytes:
    """Read a stream to its end; what is beyond the limit in its middle is only counted."""
    head, tail = bytearray(), deque[bytes]()
    kept = lost = 0
    while piece := stream.read1(_PIECE):
        room = MOST_BYTES - len(head)
        if room > 0:
            head += piece[:room]
            piece = piece[room:]
        if piece:
            tail.append(piece)
            kept += len(piece)
        while kept > MOST_BYTES + _PIECE:
            gone = len(tail.popleft())
            kept -= gone
            lost += gone
    between = left_out(lost).encode() if lost else b""
    return bytes(head) + between + b"".join(tail)
