"""Every world has its page, which says what the code says."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import gymnasium
import pytest

import causal_rl.envs
from causal_rl.envs import gym_dynamics
from causal_rl.envs.registry import GYM_FACTORIES
from causal_rl.envs.worlds import BUILT_IN
from tests.documentation_pages import (
    ROOT,
    SECTIONS,
    figures_without_source,
    load_script,
    option_defaults,
    sections,
)

FOLDER = ROOT / "docs" / "worlds"
#: As Gymnasium's registry has them: worlds of one's own have partial functions for entry points.
WORLDS = sorted(
    spec.name
    for spec in gymnasium.registry.values()
    if spec.namespace == "causal_rl" and isinstance(spec.entry_point, str)
)


fill_pages = load_script("fill_pages")


def _page(name: str) -> Path:
    return FOLDER / f"{name}.md"


def test_every_world_has_a_page_and_every_page_a_world() -> None:
    assert causal_rl.envs.list_envs().keys() >= BUILT_IN.keys()
    assert len(WORLDS) == len(BUILT_IN) + len(GYM_FACTORIES)
    assert sorted(page.stem for page in FOLDER.glob("*.md")) == WORLDS
    assert sorted(picture.stem for picture in FOLDER.glob("*.png")) == WORLDS


@pytest.mark.parametrize("name", WORLDS)
def test_the_page_has_its_sections_its_picture_and_a_block(name: str) -> None:
    found = sections(_page(name))
    assert list(found) == ["", *SECTIONS]
    assert found[""].startswith(f"# {name}\n")
    assert f"![{name}]({name}.png)" in found[""]
    assert re.search(r"^```python\n(?:.*\n)*?.*print\((?:.*\n)*?```", found[""], re.MULTILINE)
    for heading in SECTIONS:
        assert len(found[heading].split()) > 5, heading


@pytest.mark.parametrize("name", WORLDS)
def test_the_table_of_options_is_that_of_the_code(name: str) -> None:
    if name in BUILT_IN:
        known = {f.name: f.default for f in dataclasses.fields(BUILT_IN[name].options)}
    else:
        factory = getattr(gym_dynamics, GYM_FACTORIES[name])
        known = {p.name: p.default for p in inspect.signature(factory).parameters.values()}
    assert option_defaults(_page(name)) == {key: str(value) for key, value in known.items()}


@pytest.mark.parametrize("name", WORLDS)
def test_tables_and_figures_are_those_of_code_and_results(name: str) -> None:
    page = _page(name)
    text = page.read_text(encoding="utf-8")
    assert fill_pages.filled(page) == text, "run: python scripts/fill_pages.py"
    tables = re.findall(r"<!-- table: ([a-z]+) -->\n\|", text)
    assert tables == ["facts", "measured", "options"]
    assert not figures_without_source(page)


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    text = _page("chain-scm").read_text(encoding="utf-8")
    page = tmp_path / "chain-scm.md"
    wrong = "0.123 [0.122, 0.124]"
    page.write_text(text.replace("| `8` |", "| `9` |") + f"\nThe default agent gets {wrong}.\n")
    assert figures_without_source(page) == {wrong}
    assert option_defaults(page)["n"] == "9"
    page.write_text(text.replace("## Assumes", "## Assumptions"))
    assert "Assumptions" in sections(page)
