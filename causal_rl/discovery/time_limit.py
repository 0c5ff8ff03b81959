"""A calculation with a time limit: it runs in a process of its own, which is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

_READY, _PROGRESS, _DONE, _FAILED = "ready", "progress", "done", "failed"


class TimeLimitError(ValueError):
    """A calculation took longer than its user allows."""


def within(
    seconds: float,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    progress: Callable[[int], None],
) -> Any:
    """Call a function in a new process, and kill it when the time is up.

    The clock starts when the process has started and holds its arguments.

    Args:
        seconds: how long it may take.
        function: of a module's top level; called with the arguments and then a function of its
            own that passes whole numbers on to ``progress``.
        arguments: anything that pickles.
        progress: called here with those numbers.

    Returns:
        What the function returned.

    Raises:
        TimeLimitError: the time was up.
        ValueError: the function failed (with its message), or its process died.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, function, arguments), daemon=True)
    process.start()
    there.close()
    deadline = None
    try:
        while True:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not here.poll(left):
                raise TimeLimitError(f"the time limit of {seconds:g} s is up; nothing is written")
            kind, value = here.recv()
            if kind == _READY:
                deadline = time.monotonic() + seconds
            elif kind == _PROGRESS:
                progress(value)
            elif kind == _DONE:
                return value
            else:
                raise ValueError(value)
    except (EOFError, OSError):
        raise ValueError("the learner's process died (killed, or out of memory)") from None
    finally:
        process.kill()
        process.join()
        here.close()


def _work(there: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C is the parent's; when that is gone, nobody reads the answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    there.send((_READY, None))
    try:
        value = function(*arguments, lambda done: there.send((_PROGRESS, done)))
    except Exception as error:
        there.send((_FAILED, f"{error}" or type(error).__name__))
    else:
        there.send((_DONE, value))


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)
