from __future__ import annotations

import numpy as np
import pytest

from causal_rl.scm import (
    SCM,
    DynamicSCM,
    Linear,
    Mechanism,
    NoNoise,
    Variable,
    perturbation_graph,
    varsortability,
)

CHAIN = np.eye(3, k=1)


def columns_with_variances(*variances):
    return np.array([[-1.0], [1.0]]) * np.sqrt(variances)


@pytest.mark.parametrize(
    ("variances", "score"),
    [
        ((1.0, 2.0, 3.0), 1.0),
        ((3.0, 2.0, 1.0), 0.0),
        ((1.0, 1.0, 1.0), 0.5),
        # Paths 1-2 up, 2-3 down, 1-3 up.
        ((1.0, 3.0, 2.0), 2 / 3),
        ((1.0, 1.0, 0.5), 0.5 / 3),
    ],
)
def test_varsortability_counts_paths(variances, score):
    assert varsortability(columns_with_variances(*variances), CHAIN) == pytest.approx(score)


def test_a_pair_counts_once_for_each_length_of_path():
    triangle = CHAIN.copy()
    triangle[0, 2] = 1
    data = columns_with_variances(1.0, 3.0, 2.0)
    # 1-2 up, 2-3 down, 1-3 up by length 1 and again by length 2.
    assert varsortability(data, triangle) == pytest.approx(3 / 4)


def test_a_naive_chain_leaks_its_order():
    scm = SCM(
        [Variable("x0")]
        + [Variable(f"x{j}", Linear([1.2]), parents=(f"x{j - 1}",)) for j in range(1, 6)]
    )
    assert varsortability(scm.sample(2000, 0), scm.graph.contemporaneous) == 1.0


class Liar(Mechanism):
    """Says that it takes two parents and reads the first alone."""

    n_parents = 2

    def __call__(self, parents):
        return np.sin(parents[:, 0])


def test_perturbation_sees_what_the_specification_does_not_say():
    scm = DynamicSCM(
        [
            Variable("a"),
            Variable("b", lagged_parents=("b",), mechanism=Linear([0.5])),
            Variable("now", Liar(), parents=("a", "b")),
            Variable("lag", Liar(), lagged_parents=("a", "now")),
            Variable("r", Liar(), parents=("now",), lagged_parents=("lag",), kind="reward"),
        ]
    )
    found = perturbation_graph(scm, 0)
    assert set(found.edges()) == {
        ("contemporaneous", "a", "now"),
        ("contemporaneous", "now", "r"),
        ("lagged", "b", "b"),
        ("lagged", "a", "lag"),
    }
    assert len(scm.graph.edges()) == 7


def test_perturbation_separates_direct_from_mediated_effects():
    # a -> b -> c, without noise, so that c = a: holding b, a does not move c.
    scm = DynamicSCM(
        [
            Variable("c", Linear([1.0]), NoNoise(), ("b",)),
            Variable("b", Linear([1.0]), NoNoise(), ("a",)),
            Variable("a"),
        ]
    )
    assert perturbation_graph(scm, 0).edges() == scm.graph.edges()
    assert len(scm.graph.edges()) == 2


def test_contexts_have_no_edge_to_themselves_and_reach_the_reward():
    scm = DynamicSCM(
        [
            Variable("goal", kind="context"),
            Variable("x", Linear([1.0, 0.3]), parents=("goal",), lagged_parents=("x",)),
            Variable("r", lambda x, g: -np.abs(x - g), parents=("x", "goal"), kind="reward"),
        ]
    )
    found = perturbation_graph(scm, 0)
    assert found == scm.graph
    assert ("contemporaneous", "goal", "r") in found.edges()
    assert found.kinds == ("context", "state", "reward")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: varsortability(np.zeros((5, 2)), CHAIN), ValueError, r"data must have shape"),
        (lambda: varsortability(np.zeros((1, 3)), CHAIN), ValueError, "at least 2 rows"),
        (lambda: varsortability(np.full((5, 3), np.nan), CHAIN), ValueError, "data must be finite"),
        (lambda: varsortability(np.zeros((5, 3)), np.zeros((3, 3))), ValueError, "one edge"),
        (lambda: varsortability(np.zeros((5, 3)), CHAIN + CHAIN.T), ValueError, "acyclic"),
        (
            lambda: perturbation_graph(SCM([Variable("a")]), 0),
            TypeError,
            "scm must be a DynamicSCM",
        ),
        (lambda: perturbation_graph(DynamicSCM([Variable("a")]), 0, 0), ValueError, "n_points"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
