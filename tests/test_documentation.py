"""Every Python block of README and docs runs, page by page, and every notebook."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled

from causal_rl.datasets import DataUnavailableError
from causal_rl.errors import MissingExtraError
from tests.documentation_checks import CHECKS
from tests.documentation_pages import figures_without_source

ROOT = Path(__file__).resolve().parent.parent
#: A comment that a reader of the page does not see holds what its blocks take for granted.
BLOCK = re.compile(r"^(?:```python\n(.*?)^```|<!--python\n(.*?)^-->)", re.DOTALL | re.MULTILINE)


def _blocks(page: Path) -> list[tuple[int, str]]:
    """Line and code of each block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 2, found.group(1) or found.group(2))
        for found in BLOCK.finditer(text)
    ]


#: Pages and notebooks that take more than some seconds.
SLOW = {
    "agents", "attention_huggingface", "counterfactuals", "datasets", "discovery_abcd",
    "discovery_attention", "discovery_training", "downstream_clutrr",
    "downstream_cues", "downstream_scenes", "downstream_text", "effects_cina", "effects_estimators",
    "mechanism_watch", "planning", "sb3", "sb3-a2c", "sb3-dqn", "sb3-ppo",
    "sb3-sac", "table3", "tianshou", "tianshou-ppo", "tianshou-sac", "transfer",
    "effect_and_counterfactual", "graph_in_a_transformer",
    # Learners and estimators of packages that are slow to import, or to train.
    "boss", "causal-forest", "dagma", "dr-learner", "fci", "linear-dml", "lingam", "notears",
    "notears-mlp", "r2-sort-regress", "s-learner", "sort-regress",
}  # fmt: skip


def _marked(paths: Sequence[Path]) -> list[Any]:
    return [
        pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in SLOW))
        for path in paths
    ]


PAGES = [
    page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if _blocks(page)
]


@pytest.mark.parametrize("page", _marked(PAGES))
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    printed: list[tuple[Any, ...]] = []
    space: dict[str, Any] = {"__name__": "page"}
    if page.stem in CHECKS:
        space["print"] = lambda *values: printed.append(values)
    for line, code in _blocks(page):
        # Empty lines before it: a traceback then names the line of the page.
        program = compile("\n" * (line - 1) + code, str(page), "exec")
        try:
            exec(program, space)
        except (DataUnavailableError, DependencyNotInstalled, MissingExtraError) as error:
            pytest.skip(str(error))
    if page.stem in CHECKS:
        CHECKS[page.stem](space, printed)


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
    assert set(CHECKS) <= {page.stem for page in PAGES}
    assert len(PAGES) > 20
    assert len(NOTEBOOKS) == 3


def test_the_walk_through_the_house_names_what_is_there() -> None:
    """Each file and folder of the tables, a bare name lying there, and what a file defines."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    named, defined = 0, 0
    for row in rows:
        beside = ROOT
        for path, name in re.findall(r"`([\w/]+(?:\.py|/))`(?: \(`([\w.]+)`\))?", row):
            file = ROOT / path if path.startswith("causal_rl/") else beside / path
            assert file.exists(), f"{path}: {row}"
            beside = file if file.is_dir() else file.parent
            named += 1
            if name:
                part = name.rpartition(".")[2]
                assert re.search(rf"^ *(?:def|class) {part}\b", file.read_text(), re.M), row
                defined += 1
    assert named > 20
    assert defined > 4


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_figures_with_an_interval_are_those_of_the_results(page: Path) -> None:
    assert not figures_without_source(page)
