"""A finished run that the tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest
from program import SMALL, run


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert run("train", *SMALL, "--out", folder) == 0
    return folder
