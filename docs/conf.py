"""The documentation site: ``make docs``.

The source folder is the whole repository, so that pages, results and examples link to each other by
the same relative paths as on a code host.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import causal_rl

project = "causal_rl"
author = "The causal_rl developers"
copyright = f"2026, {author}"
release = version = causal_rl.__version__
html_title = "causal_rl"

root_doc = "docs/index"
include_patterns = [
    "docs/**.md", "results/**.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "README.md",
]  # fmt: skip
templates_path = ["_templates"]
html_theme = "furo"
# The top of the site leads to the first page, which lies among the sources' folders.
html_additional_pages = {"index": "redirect.html"}

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
# A property's shape reads like a type: its n is no name to look up.
suppress_warnings = ["ref.python"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
# Docstrings quote names by single backticks.
default_role = "code"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

os.environ.setdefault("OMP_NUM_THREADS", "1")
