"""Calling other people's packages: silently, without their marks on the process, errors in line."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import sys
import warnings
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def call_peer(name: str, *, seed: int | None = None) -> Iterator[None]:
    """Run a peer's code.

    Its progress bars, prints, logs and warnings are swallowed. What it does to the process is
    undone: gcastle configures the root logger, NumPy's printing and the default dtype of torch;
    others draw from the global generators, whose states are put back.

    Args:
        name: of the learner, for the error.
        seed: of the global generators meanwhile; None leaves them as they are.

    Yields:
        Nothing.

    Raises:
        RuntimeError: the peer's arithmetic failed on these data.
    """
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with (
        _generators(seed),
        _torch_dtype(),
        np.printoptions(),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        # So that basicConfig finds a handler and leaves the logger alone.
        root.handlers = [logging.NullHandler()]
        try:
            yield
        except (ArithmeticError, np.linalg.LinAlgError, ValueError, IndexError) as error:
            raise RuntimeError(f"{name} failed on these data: {error}") from error
        finally:
            root.handlers = handlers
            root.setLevel(level)


@contextlib.contextmanager
def _generators(seed: int | None) -> Iterator[None]:
    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    if seed is not None:
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(legacy)  # noqa: NPY002


@contextlib.contextmanager
def _torch_dtype() -> Iterator[None]:
    """Put back the default dtype; torch is not imported for those who do not use it."""
    before = sys.modules["torch"].get_default_dtype() if "torch" in sys.modules else None
    try:
        yield
    finally:
        if "torch" in sys.modules:
            torch = sys.modules["torch"]
            torch.set_default_dtype(torch.float32 if before is None else before)
