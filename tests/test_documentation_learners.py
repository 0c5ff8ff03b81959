"""A page for every graph learner and every estimator of effects, which says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from causal_rl.discovery import learner_options, list_learners
from causal_rl.discovery.registry import learner_class
from causal_rl.effects import estimator_options, list_estimators
from tests.documentation_pages import (
    ROOT,
    SECTIONS,
    figures_without_source,
    load_script,
    option_defaults,
    sections,
)

fill_pages = load_script("fill_pages")
# Read here: a page on learners of one's own registers one while the tests run.
LEARNERS, ESTIMATORS = list_learners(), list_estimators()
NAMES = [("learners", name) for name in LEARNERS] + [("estimators", name) for name in ESTIMATORS]
OVERVIEWS = {"learners": "discovery.md", "estimators": "effects_estimators.md"}
#: A decimal number, of which results pages are full; one in a name or a formula is none.
NUMBER = re.compile(r"(?<![\w./^-])\d+\.\d+(?![\w.])")


def _page(folder: str, name: str) -> Path:
    return ROOT / "docs" / folder / f"{name}.md"


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
def test_page_has_its_sections_and_a_block_that_shows_something(folder: str, name: str) -> None:
    above, *found = (parts := sections(_page(folder, name))).items()
    assert above[1].startswith(f"# {name}\n")
    assert [title for title, _ in found] == SECTIONS
    assert all(text.strip() for text in parts.values())
    block = re.search(r"^```python\n(.*?)^```", above[1], re.DOTALL | re.MULTILINE)
    assert block is not None
    assert "print(" in block[1]


@pytest.mark.parametrize(("folder", "name"), NAMES)
def test_options_are_those_of_the_code(folder: str, name: str) -> None:
    options = learner_options(name) if folder == "learners" else estimator_options(name)
    page = _page(folder, name)
    assert option_defaults(page) == {option: repr(value) for option, value in options.items()}
    # No row but those.
    assert sections(page)["Options"].count("\n| ") == len(options) + 1


@pytest.mark.parametrize(("folder", "name"), NAMES)
def test_measured_figures_are_those_of_the_results(folder: str, name: str) -> None:
    page = _page(folder, name)
    assert not figures_without_source(page)
    said = "".join(sections(page)[title] for title in ("Use it when", "Not when"))
    linked = set(re.findall(r"\]\(\.\./\.\./(results/[\w-]+/RESULTS\.md)", page.read_text("utf-8")))
    results = "".join((ROOT / path).read_text(encoding="utf-8") for path in linked)
    known = [float(number) for number in re.findall(r"\d+\.\d+|\d+", results.replace(",", ""))]
    for number in NUMBER.findall(said):
        places = len(number.partition(".")[2])
        assert any(abs(value - float(number)) < 0.51 * 10**-places for value in known), number


@pytest.mark.parametrize("name", ESTIMATORS)
def test_tables_of_estimators_are_those_of_the_results(name: str) -> None:
    page = _page("estimators", name)
    text = page.read_text(encoding="utf-8")
    assert fill_pages.filled(page) == text, "run: python scripts/fill_pages.py"


@pytest.mark.parametrize("name", LEARNERS)
def test_page_says_how_many_variables_a_learner_takes(name: str) -> None:
    most = learner_class(name).most_variables
    assert re.search(rf"\b{most:,} variables\b", _page("learners", name).read_text("utf-8"))
