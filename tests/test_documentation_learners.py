"""A page for every graph learner and every estimator of effects, which says what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from causal_rl.discovery import learner_options, list_learners
from causal_rl.discovery.registry import learner_class
from causal_rl.effects import estimator_options, list_estimators
from tests.documentation_pages import ROOT, check_page, run_blocks

# Read here: a page on learners of one's own registers one while the tests run.
LEARNERS, ESTIMATORS = list_learners(), list_estimators()
NAMES = [("learners", name) for name in LEARNERS] + [("estimators", name) for name in ESTIMATORS]
#: Their blocks load a heavy package, or train.
SLOW = {
    "learners/boss", "learners/dagma", "learners/fci", "learners/lingam", "learners/notears",
    "learners/notears-mlp", "learners/r2-sort-regress", "learners/sort-regress",
    "estimators/causal-forest", "estimators/dr-learner", "estimators/linear-dml",
    "estimators/s-learner",
}  # fmt: skip
OVERVIEWS = {"learners": "discovery.md", "estimators": "effects_estimators.md"}


def _page(folder: str, name: str) -> Path:
    return ROOT / "docs" / folder / f"{name}.md"


def _marked() -> list[Any]:
    return [
        pytest.param(folder, name, marks=[pytest.mark.slow] * (f"{folder}/{name}" in SLOW))
        for folder, name in NAMES
    ]


def test_slow_pages_are_pages() -> None:
    assert {f"{folder}/{name}" for folder, name in NAMES} >= SLOW


@pytest.mark.parametrize("folder", OVERVIEWS)
def test_every_name_has_a_page_and_every_page_a_name(folder: str) -> None:
    found = {path.stem for path in (ROOT / "docs" / folder).glob("*")}
    assert found == {name for group, name in NAMES if group == folder}


@pytest.mark.parametrize("folder", OVERVIEWS)
def test_the_overview_links_to_every_page(folder: str) -> None:
    overview = (ROOT / "docs" / OVERVIEWS[folder]).read_text(encoding="utf-8")
    linked = re.findall(rf"\]\({folder}/([\w-]+)\.md\)", overview)
    assert {name for group, name in NAMES if group == folder} <= set(linked)


@pytest.mark.parametrize(("folder", "name"), NAMES)
def test_page_has_its_sections_and_the_options_of_the_code(folder: str, name: str) -> None:
    options = learner_options(name) if folder == "learners" else estimator_options(name)
    check_page(_page(folder, name), name, options)


@pytest.mark.parametrize("name", LEARNERS)
def test_page_says_how_many_variables_a_learner_takes(name: str) -> None:
    most = learner_class(name).most_variables
    assert re.search(rf"\b{most:,} variables\b", _page("learners", name).read_text("utf-8"))


@pytest.mark.parametrize(("folder", "name"), _marked())
def test_blocks_run(
    folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_blocks(_page(folder, name), tmp_path, monkeypatch)
