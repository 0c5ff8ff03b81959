"""What must hold once the blocks of a page have run, beyond that they do.

A check takes the names that the page has defined, and the arguments of every ``print``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

Printed = Sequence[tuple[Any, ...]]


def _recording(names: dict[str, Any], printed: Printed) -> None:
    assert names["graph"] == names["spec"].causal_graph
    assert names["data"].do_target.any()


def _counterfactuals(names: dict[str, Any], printed: Printed) -> None:
    (truth, spread, kind), fitted, encoder, regression, intervened, _, amortised = printed
    assert truth == pytest.approx([0.32])
    assert np.abs(spread).max() < 1e-6
    assert kind == "sampled"
    assert fitted[0] == pytest.approx([0.32], abs=0.04)
    assert encoder[0] == pytest.approx([0.32], abs=0.08)
    assert regression[0] == pytest.approx(0.5, abs=0.04)
    assert intervened[0] == pytest.approx([0.632], abs=0.06)
    assert amortised[0] == pytest.approx([0.32], abs=1e-6)


#: Checks by the name of the page.
CHECKS: dict[str, Callable[[dict[str, Any], Printed], None]] = {
    "counterfactuals": _counterfactuals,
    "recording": _recording,
}
