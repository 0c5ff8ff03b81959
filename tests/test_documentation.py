"""Every Python block of README and docs runs, page by page, and every notebook."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.documentation_pages import ROOT, read_blocks, run_blocks

#: Pages and notebooks that take more than some seconds.
SLOW = {
    "agents", "attention_huggingface", "counterfactuals", "datasets", "discovery_abcd",
    "discovery_attention", "discovery_training", "downstream_clutrr", "downstream_cues",
    "downstream_scenes", "downstream_text", "effects_cina", "effects_estimators",
    "gymnasium_dynamics", "mechanism_watch", "planning", "sb3", "table3", "tianshou", "transfer",
    "effect_and_counterfactual", "graph_in_a_transformer",
}  # fmt: skip


def _marked(paths: Sequence[Path]) -> list[Any]:
    return [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW))
        for path in paths
    ]


PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if read_blocks(page)
]


@pytest.mark.parametrize("page", _marked(PAGES))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_blocks(page, tmp_path, monkeypatch)


NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("notebook", _marked(NOTEBOOKS))
def test_notebooks_run(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    space: dict[str, object] = {"__name__": "notebook"}
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            code = "".join(line for line in cell["source"] if not line.startswith("%"))
            exec(compile(code, f"{notebook.name}, cell {number}", "exec"), space)


def test_there_are_pages_and_notebooks() -> None:
    assert len(PAGES) > 20
    assert len(NOTEBOOKS) == 3
