"""The page on counterfactuals says what its code prints."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "counterfactuals.md"


@pytest.mark.slow
def test_the_page_runs_and_says_the_truth():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    told: list[tuple[object, ...]] = []
    names["print"] = lambda *values: told.append(values)
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    (truth, spread, kind), fitted, encoder, regression, intervened, _, amortised = told
    assert truth == pytest.approx([0.32])
    assert np.abs(spread).max() < 1e-6
    assert kind == "sampled"
    assert fitted[0] == pytest.approx([0.32], abs=0.04)
    assert encoder[0] == pytest.approx([0.32], abs=0.08)
    assert regression[0] == pytest.approx(0.5, abs=0.04)
    assert intervened[0] == pytest.approx([0.632], abs=0.06)
    assert amortised[0] == pytest.approx([0.32], abs=1e-6)
