"""Loaders of real data: where files are looked for, and what is said where they are not."""

from __future__ import annotations

import hashlib
import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from causal_rl.datasets import DataFile, DataUnavailableError, load_sachs, load_tuebingen, locate
from causal_rl.datasets.tuebingen import _table

TEXT = "a table\n"
FILE = DataFile("set/file.txt", hashlib.sha256(TEXT.encode()).hexdigest())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty "data" and an empty "cache"."""
    module = importlib.import_module("causal_rl.datasets.locate")
    monkeypatch.setattr(module, "_cache", lambda: tmp_path / "cache")
    monkeypatch.setenv("CAUSAL_RL_DATA", str(tmp_path / "data"))
    return tmp_path


def _put(folder: Path, text: str = TEXT) -> Path:
    path = folder / FILE.name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_the_users_folder_goes_before_the_cache(root: Path) -> None:
    cached = _put(root / "cache")
    assert locate(FILE) == cached
    own = _put(root / "data")
    assert locate(FILE) == own


def test_an_equivalent_file_does(root: Path) -> None:
    own = _put(root / "data")
    assert locate(DataFile("set/other.zip", "0" * 64), FILE) == own


def test_another_file_of_that_name_is_refused(root: Path) -> None:
    _put(root / "data", "something else\n")
    with pytest.raises(ValueError, match=r"file\.txt has the checksum"):
        locate(FILE)


def test_a_file_that_is_nowhere_says_where_to_put_it(root: Path) -> None:
    with pytest.raises(DataUnavailableError, match="CAUSAL_RL_DATA"):
        locate(FILE)


def test_a_source_that_does_not_answer_is_named(root: Path) -> None:
    source = (root / "none.txt").as_uri().replace("file://", "http://127.0.0.1:9")
    with pytest.raises(DataUnavailableError, match=r"could not be fetched from http"):
        locate(DataFile(FILE.name, FILE.sha256, source))
    assert not (root / "cache" / FILE.name).exists()


def test_tables_of_pairs_with_names_missing_values_and_empty_columns() -> None:
    text = "C1\tC2\tC3\n1.0\t2.0\t*\n3.0\t*\n5\t6\n"
    assert _table(text).tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert _table("1 2\n3 4\n").tolist() == [[1.0, 2.0], [3.0, 4.0]]


needs_data = pytest.mark.skipif(
    not os.environ.get("CAUSAL_RL_DATA"), reason="CAUSAL_RL_DATA names no folder of real data"
)


@needs_data
def test_the_pairs() -> None:
    pairs = load_tuebingen()
    assert len(pairs) == 102
    assert sum(pair.weight for pair in pairs) == pytest.approx(38.5, abs=0.01)
    assert all(pair.values.shape[1] == 2 and np.isfinite(pair.values).all() for pair in pairs)
    # Altitude causes temperature.
    assert np.corrcoef(pairs[0].values.T)[0, 1] < -0.8


@needs_data
def test_the_proteins() -> None:
    data = load_sachs(conditions=True)
    assert data.values.shape == (7466, 11)
    assert (data.values > 0).all()
    assert int(data.adjacency.sum()) == 20
    assert data.do_target is not None
    assert data.do_target.any(axis=0).sum() == 5
    assert (load_sachs().values == data.values).all()
