"""Evidence for edges and decisions: closed forms, invariances, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import f_oneway

from causal_rl.agents.report import changed_decisions, edge_evidence
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph

NAMES = ("a", "b", "c", "reward")
KINDS = ("state", "state", "state", "reward")
TRUTH = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def _transitions(rows: int = 3000, noise: float = 1.0, seed: int = 0) -> Transitions:
    """a -> b -> c -> reward, a set to -1, 0 or 1 in half of the rows."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=(rows, 3))
    done = rng.random(rows) < 0.5
    a = np.where(done, rng.integers(-1, 2, rows), 0.5 * before[:, 0] + rng.normal(size=rows))
    b = a + noise * rng.normal(size=rows)
    c = b**2 + noise * rng.normal(size=rows)
    return Transitions(
        state=before,
        next_state=np.column_stack([a, b, c]),
        reward=-(c**2),
        do_target=np.column_stack([done, np.zeros((rows, 2), dtype=bool)]),
        names=NAMES[:3],
    )


def _graph(adjacency: object = TRUTH, lagged: object = None) -> CausalGraph:
    return CausalGraph(adjacency, lagged=lagged, names=NAMES, kinds=KINDS)


def test_true_edges_have_evidence_and_false_ones_have_none() -> None:
    wrong = np.array(TRUTH)
    wrong[0, 2] = 1  # a tells nothing of c once b is known
    found = {(e.parent, e.child): e for e in edge_evidence(_graph(wrong), _graph(), _transitions())}
    assert {pair: e.status for pair, e in found.items()} == {
        ("a", "b"): "right", ("a", "c"): "extra", ("b", "c"): "right", ("c", "reward"): "right",
    }  # fmt: skip
    assert found["a", "b"].partial_p < 1e-20
    assert found["b", "c"].partial_p < 1e-20  # c is a square of b: no line tells
    assert found["a", "c"].partial_p > 1e-3
    assert found["a", "c"].partial_r2 < 0.01
    assert found["a", "c"].do_p < 1e-3  # along b it is moved all the same
    assert found["c", "reward"].partial_r2 == 1.0  # a function of c: nothing is left


def test_doing_is_a_one_way_analysis_of_variance_by_value() -> None:
    rows = _transitions()
    edge = next(e for e in edge_evidence(_graph(), _graph(), rows) if e.parent == "a")
    groups = [
        rows.next_state[rows.do_target[:, 0] & (rows.next_state[:, 0] == value), 1]
        for value in (-1.0, 0.0, 1.0)
    ]
    assert [level.value for level in edge.do_levels] == [-1.0, 0.0, 1.0]
    for level, group in zip(edge.do_levels, groups, strict=True):
        assert level.rows == len(group)
        assert level.mean == pytest.approx(group.mean())
        assert level.error == pytest.approx(group.std(ddof=1) / np.sqrt(len(group)))
    assert edge.do_p == pytest.approx(f_oneway(*groups).pvalue)


def test_partial_r2_is_that_of_the_linear_gaussian_model() -> None:
    # b = a + noise: R2 of a is var(a) / (var(a) + 1), whatever the scale of either.
    rows = _transitions(rows=40_000)
    edge = next(e for e in edge_evidence(_graph(), _graph(), rows) if e.child == "b")
    variance = rows.next_state[:, 0].var()
    assert edge.partial_r2 == pytest.approx(variance / (variance + 1), abs=0.02)
    assert edge.rows == 40_000


def test_rows_in_which_the_child_was_set_do_not_count() -> None:
    rows = _transitions()
    turned = np.zeros((4, 4), dtype=int)
    turned[1, 0] = 1
    (edge,) = (e for e in edge_evidence(_graph(turned), _graph(turned), rows))
    assert edge.rows == int((~rows.do_target[:, 0]).sum())
    assert edge.do_levels == ()
    assert edge.do_p is None


def test_missing_edges_have_evidence_too_and_no_weight() -> None:
    empty = CausalGraph.empty(NAMES, KINDS).with_(contemporaneous_weights=np.zeros((4, 4)))
    found = edge_evidence(empty, _graph(), _transitions())
    assert {e.status for e in found} == {"missing"}
    assert all(e.weight is None for e in found)
    assert found[0].partial_p < 1e-20


def test_lagged_edges_read_the_state_before() -> None:
    lagged = np.zeros((4, 4), dtype=int)
    lagged[0, 0] = 1
    graph = _graph(lagged=lagged)
    edge = edge_evidence(graph, graph, _transitions())[-1]
    assert edge.lagged
    assert edge.partial_p < 1e-20
    assert edge.do_levels == ()


def test_order_of_the_variables_does_not_matter() -> None:
    rows = _transitions()
    turned = _graph().permute(("reward", "c", "a", "b"))
    first = {(e.parent, e.child): e.partial_r2 for e in edge_evidence(_graph(), _graph(), rows)}
    second = {(e.parent, e.child): e.partial_r2 for e in edge_evidence(turned, turned, rows)}
    assert first == pytest.approx(second)


def test_constant_columns_and_few_rows_tell_nothing_rather_than_fail() -> None:
    rows = Transitions(
        state=np.zeros((4, 3)), next_state=np.zeros((4, 3)), reward=np.zeros(4), names=NAMES[:3]
    )
    for kept in (rows, rows[:1]):
        for edge in edge_evidence(_graph(), _graph(), kept):
            assert edge.partial_r2 is None
            assert edge.partial_p is None


def test_a_deterministic_child_of_two_values_is_moved() -> None:
    rows = _transitions(noise=0.0)
    edge = next(e for e in edge_evidence(_graph(), _graph(), rows) if e.child == "b")
    assert edge.do_p == 0.0
    assert edge.partial_r2 == 1.0


def test_refuses_a_graph_over_other_variables() -> None:
    other = CausalGraph.empty(("a", "b", "x", "reward"), KINDS)
    with pytest.raises(ValueError, match="node 'x'"):
        edge_evidence(other, other, _transitions())


def test_decisions_change_with_what_they_are_made_of() -> None:
    states = np.random.default_rng(0).normal(size=(2000, 3))

    def control(observation: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.stack([observation[:, 1] > 0, np.zeros(len(observation))], axis=1).astype(int)

    shares = changed_decisions(control, states, np.random.default_rng(1))
    assert shares[[0, 2, 3]].tolist() == [0.0, 0.0, 0.0]
    assert shares[1] == pytest.approx(0.5, abs=0.04)  # two signs agree half of the time
