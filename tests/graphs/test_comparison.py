from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import (
    CausalGraph,
    auprc,
    auprc_lagged,
    f1,
    precision_recall,
    shd,
    shd_lagged,
    sid,
    sid_lagged,
    skeleton_f1,
)

METRICS = ["shd", "sid", "precision", "recall", "f1", "auprc", "skeleton_f1", "n_true", "n_learned"]
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def random_graph(rng, names, evidence=()):
    n = len(names)
    order = rng.permutation(n)
    upper = np.triu(rng.random((n, n)) < rng.random(), 1)
    return CausalGraph(
        upper[np.ix_(order, order)],
        rng.random((n, n)) < rng.random(),
        names,
        **{field: rng.integers(0, 5, (n, n)) / 4 for field in evidence},
    )


@settings(deadline=None)
@given(seeds, st.integers(1, 6), st.booleans())
def test_compare_does_not_depend_on_the_order_of_the_variables(rng, n, scored):
    names = [f"v{i}" for i in range(n)]
    evidence = ("contemporaneous_confidence", "lagged_weights") if scored else ()
    truth, learned = random_graph(rng, names), random_graph(rng, names, evidence)
    expected = learned.compare(truth).to_dict()
    for _ in range(2):
        shuffled = truth.permute(rng.permutation(names))
        found = learned.permute(rng.permutation(names)).compare(shuffled)
        assert found.to_dict() == pytest.approx(expected)


@settings(deadline=None)
@given(seeds, st.integers(1, 6))
def test_compare_reports_the_metrics_of_the_aligned_blocks(rng, n):
    names = [f"v{i}" for i in range(n)]
    truth, learned = random_graph(rng, names), random_graph(rng, names)
    a, b = truth.contemporaneous, learned.contemporaneous
    c, d = truth.lagged, learned.lagged
    found = learned.permute(rng.permutation(names)).compare(truth)
    assert found.to_dict() == {
        "shd_contemporaneous": shd(a, b),
        "sid_contemporaneous": sid(a, b),
        "precision_contemporaneous": precision_recall(a, b)[0],
        "recall_contemporaneous": precision_recall(a, b)[1],
        "f1_contemporaneous": f1(a, b),
        "auprc_contemporaneous": auprc(a, b),
        "skeleton_f1_contemporaneous": skeleton_f1(a, b),
        "n_true_contemporaneous": a.sum(),
        "n_learned_contemporaneous": b.sum(),
        "shd_lagged": shd_lagged(c, d),
        "sid_lagged": sid_lagged(c, d),
        "precision_lagged": precision_recall(c, d)[0],
        "recall_lagged": precision_recall(c, d)[1],
        "f1_lagged": f1(c, d),
        "auprc_lagged": auprc_lagged(c, d),
        "skeleton_f1_lagged": f1(c, d),
        "n_true_lagged": c.sum(),
        "n_learned_lagged": d.sum(),
    }
    rows = found.rows()
    assert [row["block"] for row in rows] == ["contemporaneous", "lagged"]
    for row in rows:
        block = row.pop("block")
        assert row == {metric: found.to_dict()[f"{metric}_{block}"] for metric in METRICS}


def test_truth_against_itself_is_perfect():
    truth = random_graph(np.random.default_rng(0), list("abcde"))
    for row in truth.compare(truth).rows():
        assert row["shd"] == row["sid"] == 0
        assert all(row[m] == 1.0 for m in ("precision", "recall", "f1", "auprc", "skeleton_f1"))


def test_confidence_ranks_before_weights_and_weights_before_presence():
    truth = CausalGraph([[0, 1], [0, 0]], [[0, 1], [0, 0]])
    right, wrong = np.array([[0, 0.9], [0.1, 0]]), np.array([[0, 0.1], [0.9, 0]])
    edges = {"contemporaneous": [[0, 0], [1, 0]], "lagged": [[0, 0], [1, 0]]}

    def areas(**evidence):
        scores = CausalGraph(**edges, **evidence).compare(truth)
        return scores.contemporaneous.auprc, scores.lagged.auprc

    assert areas() == (1 / 2, 1 / 4)
    # The sign of a weight says nothing about its strength.
    assert areas(contemporaneous_weights=-right, lagged_weights=-right) == (1, 1)
    assert areas(
        contemporaneous_confidence=wrong,
        lagged_confidence=wrong,
        contemporaneous_weights=right,
        lagged_weights=right,
    ) == (1 / 2, 1 / 2)


def test_what_is_undefined_is_none():
    names = ["a", "b"]
    scores = CausalGraph.full(names).compare(CausalGraph.empty(names))
    assert scores.contemporaneous.sid is None
    assert scores.lagged.sid == 0
    assert scores.contemporaneous.auprc is scores.lagged.auprc is None
    assert scores.contemporaneous.f1 == 0.0
    assert CausalGraph.empty(names).compare(CausalGraph.full(names)).contemporaneous.sid is None


def test_other_names_and_other_things_are_refused():
    graph = CausalGraph.empty(["a", "b", "c"])
    with pytest.raises(ValueError, match=r"truth must have the names.*missing: c; unknown: d"):
        graph.compare(CausalGraph.empty(["a", "b", "d"]))
    with pytest.raises(TypeError, match="truth must be a CausalGraph"):
        graph.compare(np.zeros((3, 3)))


@pytest.mark.parametrize("score", [shd, shd_lagged, sid, sid_lagged, precision_recall, f1])
def test_bad_matrices_are_refused_by_name(score):
    good = np.zeros((3, 3))
    for bad in (np.zeros((2, 2)), np.zeros(3), np.full((3, 3), 0.5), np.full((3, 3), np.nan)):
        with pytest.raises(ValueError, match="guess must"):
            score(good, bad)
    with pytest.raises(ValueError, match="truth must"):
        score(np.zeros((3, 2)), good)
    with pytest.raises(TypeError, match="truth must hold numbers"):
        score([["a"]], [[0]])


def test_diagonals_and_bad_scores_are_refused():
    for score in (shd, sid, skeleton_f1):
        with pytest.raises(ValueError, match="guess must have a zero diagonal"):
            score(np.zeros((2, 2)), np.eye(2))
    with pytest.raises(ValueError, match="truth must have a zero diagonal"):
        auprc(np.eye(2), np.zeros((2, 2)))
    for score in (auprc, auprc_lagged):
        with pytest.raises(ValueError, match="scores must be finite"):
            score(np.zeros((2, 2)), np.full((2, 2), np.nan))
