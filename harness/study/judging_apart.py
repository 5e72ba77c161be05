"""Judging with a program, in a process that can be ended: a density may come to no end."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from harness.records.text import seconds
from harness.study import judging
from harness.study.pool import Pool
from harness.study.worker import OverdueError

if TYPE_CHECKING:
    from harness.study.judging import Found, Request


def judge(request: Request) -> Found:
    """Judge fits against a reference; see :func:`harness.study.judging.judge`.

    Where causes are wanted, the program is evaluated in a worker process. If that passes the time
    limit inside one call, or ends its process, the draws are judged without causes, and a note
    says why.

    Raises
    ------
    DrawsError
        As :func:`harness.study.judging.judge`.
    """
    if request.model is None or not request.why:
        return judging.judge(request)
    pool = Pool(1)
    done = False
    try:
        pool.submit("judge", judging.judge, request)
        while True:
            for _, found, error in pool.finished():
                done = True
                if error is None:
                    return found  # type: ignore[no-any-return]
                return _without(request, error)
    finally:
        pool.close(kill=not done)


def _without(request: Request, error: BaseException) -> Found:
    """Judge without the program that an error came from; raise an error of another kind."""
    if isinstance(error, OverdueError):
        limit = seconds(request.timeout_s)
        why = f"evaluating the program took longer than the limit of {limit}; a longer one: "
        why += "--timeout"
    elif isinstance(error, ChildProcessError):
        why = f"evaluating the program failed: {error}"
    else:
        raise error
    alone = dataclasses.replace(request, why=False)
    return judging.judge(alone, (f"causes are not known: {why}",))
