from __future__ import annotations

import math

import numpy as np
import pytest

from causal_rl.benchmarks import find_benchmark
from causal_rl.benchmarks.abcd import METHODS, difference
from causal_rl.benchmarks.abcd_readings import score
from causal_rl.benchmarks.cleann import METHODS as WAYS
from causal_rl.benchmarks.cleann import run
from causal_rl.benchmarks.results import Results
from causal_rl.graphs import PartialGraph


def test_undirected_edges_and_circles_are_alike():
    dag = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    cpdag = PartialGraph.cpdag(dag)
    marks = cpdag.marks.copy()
    marks[marks == 1] = 3
    pag = PartialGraph(marks)
    assert score(cpdag, pag) == score(pag, pag)
    assert score(cpdag, pag)["ends"] == score(cpdag, pag)["f1"] == 1.0
    empty = score(PartialGraph(np.zeros((3, 3))), pag)
    assert empty["shd"] == 2
    assert math.isnan(empty["ends"])


def test_half_of_the_arrowheads():
    truth = PartialGraph([[0, 0, 2], [0, 0, 2], [3, 3, 0]])
    learned = PartialGraph([[0, 0, 3], [0, 0, 2], [3, 3, 0]])
    assert score(learned, truth)["ends"] == 0.75


def test_differences_are_paired():
    rows = [{"world": "w", "f1_a": 0.1 * k, "f1_b": 0.1 * k - 0.3} for k in range(5)]
    rows.append({"world": "w", "f1_a": None, "f1_b": 1.0})
    found = difference(Results(rows, []), "f1", "a", "b", "w")
    assert found.value == pytest.approx(0.3)
    assert found.low == pytest.approx(found.high)
    assert difference(Results(rows, []), "f1", "a", "b", "v") is None


def test_a_cell_has_every_way():
    cell = find_benchmark("cleann").grid(1, True)[0]
    figures = run(cell).figures
    for name in WAYS:
        # One who finds no explanation has the size of the session.
        assert 1 <= figures[f"cost_{name}"] <= 4
        assert 0 <= figures[f"found_{name}"] <= 1
    assert figures["found_cleann-printed"] <= figures["found_exhaustive"]
    assert set(METHODS) > {"printed", "mended", "fci", "complete", "empty"}
