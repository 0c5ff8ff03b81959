"""A calculation with a time limit: it runs in a process of its own, which is killed."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

_READY, _PROGRESS, _DONE, _FAILED, _DIED = "ready", "progress", "done", "failed", "died"
# What the process runs. It takes over the path, and nothing of the program that asks: a new
# multiprocessing process would import that whole program again before it begins.
_START = (
    "import sys; sys.path[:] = {path!r}; from causal_rl.discovery.time_limit import _serve; "
    "_serve()"
)


class TimeLimitError(ValueError):
    """A calculation took longer than its user allows."""


def within(
    seconds: float,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    progress: Callable[[int], None],
) -> Any:
    """Call a function in a new process, and kill it when the time is up, whatever it is doing.

    The clock starts when the process has started and holds its arguments.

    Args:
        seconds: how long it may take.
        function: of the top level of a module that can be imported; called with the arguments and
            then a function of its own that passes whole numbers on to ``progress``.
        arguments: anything that pickles.
        progress: called here with those numbers.

    Returns:
        What the function returned.

    Raises:
        TimeLimitError: the time was up.
        ValueError: the function failed (with its message), or its process died.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _START.format(path=sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to answer
    )
    told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process.stdout, told), daemon=True).start()
    deadline: float | None = None
    try:
        with suppress(BrokenPipeError):  # it died, and will be found to have
            _tell(process.stdin, (function, arguments))
        while True:
            # Reports without a pause must not keep the clock from being read.
            left = None if deadline is None else deadline - time.monotonic()
            try:
                if left is not None and left <= 0:
                    raise queue.Empty
                kind, value = told.get(timeout=left)
            except queue.Empty:
                raise TimeLimitError(
                    f"the time limit of {seconds:g} s is up; nothing is written"
                ) from None
            if kind == _READY:
                deadline = time.monotonic() + seconds
            elif kind == _PROGRESS:
                progress(value)
            elif kind == _DONE:
                return value
            elif kind == _FAILED:
                raise ValueError(value)
            else:
                raise ValueError("the learner's process died (killed, or out of memory)")
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.close()


def _listen(stream: IO[bytes], told: queue.SimpleQueue[tuple[str, Any]]) -> None:
    """Pass on what the process says, and that it says no more."""
    with stream:
        try:
            while True:
                told.put(pickle.load(stream))
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            told.put((_DIED, None))


def _tell(stream: IO[bytes] | None, thing: Any) -> None:
    if stream is not None:
        pickle.dump(thing, stream)
        stream.flush()


def _serve() -> None:
    """The process: take a function and its arguments from standard input, answer on output."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a package prints is no answer
    function, arguments = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_leave_with_the_asker, daemon=True).start()
    _tell(answers, (_READY, None))
    try:
        value = function(*arguments, lambda done: _tell(answers, (_PROGRESS, done)))
    except Exception as error:
        _tell(answers, (_FAILED, f"{error}" or type(error).__name__))
    else:
        _tell(answers, (_DONE, value))


def _leave_with_the_asker() -> None:
    """Its end of the pipe is closed when it is gone, and nobody reads the answer."""
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)
