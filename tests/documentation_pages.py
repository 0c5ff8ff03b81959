"""What the tests of pages share: blocks that run, sections, and tables of options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import DependencyNotInstalled

from causal_rl.datasets import DataUnavailableError
from causal_rl.errors import MissingExtraError

ROOT = Path(__file__).resolve().parent.parent
#: The sections of the page of one registered thing, in their order.
SECTIONS = ["Formula", "Source", "Assumes", "Use it when", "Not when", "Options"]
#: A comment that a reader of the page does not see holds what its blocks take for granted.
BLOCK = re.compile(r"^(?:```python\n(.*?)^```|<!--python\n(.*?)^-->)", re.DOTALL | re.MULTILINE)

CODE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def read_blocks(page: Path) -> list[tuple[int, str]]:
    """Line and code of each block."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start()) + 2, found.group(1) or found.group(2))
        for found in BLOCK.finditer(text)
    ]


def run_blocks(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the blocks of a page in their order as one program, in an empty folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    space: dict[str, object] = {"__name__": "page"}
    for line, code in read_blocks(page):
        # Empty lines before it: a traceback then names the line of the page.
        program = compile("\n" * (line - 1) + code, str(page), "exec")
        try:
            exec(program, space)
        except (DataUnavailableError, DependencyNotInstalled, MissingExtraError) as error:
            pytest.skip(str(error))


def split_page(page: Path) -> tuple[str, dict[str, str]]:
    """What stands above the first section, and the text under each section's heading."""
    text = page.read_text(encoding="utf-8")
    # A comment of a block is no heading; what is masked keeps its length.
    bare = CODE.sub(lambda block: block[0].replace("#", " "), text)
    found = list(re.finditer(r"^## (.*)$", bare, re.MULTILINE))
    ends = [heading.start() for heading in found[1:]] + [len(text)]
    sections = {
        heading[1]: text[heading.end() : end] for heading, end in zip(found, ends, strict=True)
    }
    return text[: found[0].start()] if found else text, sections


def read_options(section: str) -> dict[str, str]:
    """Option and default, both as the first table of the section has them."""
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (?=\S)", section, re.MULTILINE)
    assert len(rows) == max(section.count("\n| ") - 1, 0), "a row is not: | `option` | `default` |"
    return dict(rows)


def check_page(page: Path, name: str, options: Mapping[str, Any]) -> None:
    """The page of one thing: its title, a block that shows something, its sections, its options."""
    above, sections = split_page(page)
    assert above.startswith(f"# {name}\n"), "the title is the name"
    assert list(sections) == SECTIONS
    assert all(text.strip() for text in sections.values()), "an empty section"
    shown = [code for _, code in read_blocks(page) if "print(" in code or ".plot(" in code]
    assert shown, "no block that shows a result"
    assert "```python\n" in above, "a block stands above the first section"
    assert read_options(sections["Options"]) == {
        option: repr(default) for option, default in options.items()
    }
