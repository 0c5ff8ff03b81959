"""What the tests of documentation pages share: sections, tables of options, quoted figures."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
#: Headings of the page of a registered thing, in their order.
SECTIONS = ["Formula", "Source", "Assumes", "Use it when", "Not when", "Options"]
_FENCED = re.compile(r"^```.*?^```|^<!--python\n.*?^-->", re.DOTALL | re.MULTILINE)
#: A mean or interquartile mean with its interval, as results pages print them.
_FIGURE = re.compile(r"-?\d[\d.]* \[-?[\d.]+, -?[\d.]+\]")
_RESULTS = re.compile(r"\]\((?:\.\./)+(results/[\w-]+/RESULTS\.md)[^)]*\)")


def sections(page: Path) -> dict[str, str]:
    """Text below each second-level heading; what comes before the first stands under ""."""
    parts = re.split(r"^## (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {"": parts[0]} | dict(zip(parts[1::2], parts[2::2], strict=True))


def option_defaults(page: Path) -> dict[str, str]:
    """Option and default, as the table of the section on options has them."""
    table = sections(page)["Options"]
    rows = re.findall(r"^\| `([^`]+)` \| (.*?) \| \S.* \|$", table, re.MULTILINE)
    return {name: default.strip("`") for name, default in rows}


def figures_without_source(page: Path) -> set[str]:
    """Figures with an interval that no linked page of results has."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    results = [(ROOT / path).read_text(encoding="utf-8") for path in set(_RESULTS.findall(text))]
    return {
        figure
        for figure in _FIGURE.findall(text)
        if not any(figure in result for result in results)
    }


def load_script(name: str) -> ModuleType:
    """A program of ``scripts``, which is no module of a package."""
    found = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
