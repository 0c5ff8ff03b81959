from __future__ import annotations

import warnings

import numpy as np
import pytest

from causal_rl.discovery import ConvergenceWarning, Transitions, make_learner
from causal_rl.discovery.l1_descent import minimise_l1
from causal_rl.discovery.masked_likelihood import MaskedLikelihood, MaskedMoments
from causal_rl.graphs import is_dag

SMALL_MLP = {"mechanism": "mlp", "steps": 600, "hidden": 12, "batch_size": 128}


def world(rows: int, seed: int, kind: str = "linear", do: float = 0.8) -> Transitions:
    """a -> b -> c inside the step with c -> a lagged; variances do not follow the order."""
    rng = np.random.default_rng(seed)
    f = (lambda x: x) if kind == "linear" else (lambda x: 1.3 * np.tanh(2 * x))
    x, target = np.zeros((rows + 1, 3)), np.zeros((rows, 3), dtype=bool)
    for t in range(rows):
        if rng.random() < do:
            target[t, rng.integers(3)] = True
        value, noise = rng.uniform(-2, 2, size=3), rng.normal(0, 0.5, size=3)
        new = x[t + 1]
        new[0] = value[0] if target[t, 0] else 0.7 * f(x[t, 2]) + noise[0]
        new[1] = value[1] if target[t, 1] else -0.8 * f(new[0]) + noise[1]
        new[2] = value[2] if target[t, 2] else 0.8 * f(new[1]) + noise[2]
    return Transitions(
        state=x[:-1],
        next_state=x[1:],
        reward=x[1:, 2] - 0.5 * x[:-1, 0],
        do_target=target,
        names=["a", "b", "c"],
    )


TRUTH = [
    ("contemporaneous", "a", "b"),
    ("contemporaneous", "b", "c"),
    ("lagged", "c", "a"),
]


@pytest.mark.parametrize("acyclicity", ["expm", "logdet"])
def test_linear_recovers_both_blocks(acyclicity: str):
    learner = make_learner("algorithm5", acyclicity=acyclicity)
    graph = learner.fit(world(1500, 0))
    assert sorted(graph.edges()) == TRUTH
    assert learner.converged_ is True
    assert graph.contemporaneous_weights[0, 1] == pytest.approx(-0.8, abs=0.06)
    assert graph.lagged_weights[2, 0] == pytest.approx(0.7, abs=0.06)
    confidence = graph.contemporaneous_confidence
    assert ((confidence > 0.5) == graph.contemporaneous).all()


def test_gates_recover_both_blocks():
    graph = make_learner("algorithm5", **SMALL_MLP).fit(world(1500, 0, kind="tanh"))
    assert sorted(graph.edges()) == TRUTH
    assert graph.contemporaneous_weights is None


def test_reward_is_a_sink_with_parents_in_both_blocks():
    graph = make_learner("algorithm5", reward_node=True).fit(world(1500, 1))
    assert graph.parents("reward", block="contemporaneous") == ("c",)
    assert graph.parents("reward", block="lagged") == ("a",)
    assert graph.children("reward") == ()


def test_masking_decides_the_direction():
    """Two standardised variables, Markov equivalent without do-rows: only their targets tell."""
    rng = np.random.default_rng(2)
    for cause in (0, 1):
        effect = 1 - cause
        x = rng.normal(size=(4000, 2))
        x[:, effect] = 0.8 * x[:, cause] + 0.6 * x[:, effect]
        target = np.zeros((4000, 2), dtype=bool)
        target[:1000, 0] = target[1000:2000, 1] = True
        # do(cause) leaves the joint law as it is; do(effect) cuts the edge.
        x[target[:, effect], effect] = rng.normal(size=1000)
        data = Transitions(state=np.zeros((4000, 2)), next_state=x, do_target=target)
        graph = make_learner("algorithm5").fit(data)
        assert graph.contemporaneous[cause, effect]
        assert not graph.contemporaneous[effect, cause]
        # Unbiased because the rows of do(effect) are left out; pooled, it would be 0.8 * 3 / 4.
        assert graph.contemporaneous_weights[cause, effect] == pytest.approx(0.8, abs=0.04)
        blind = Transitions(state=data.state, next_state=x)
        weights = make_learner("algorithm5").fit(blind).contemporaneous_weights
        assert np.abs(weights).max() < 0.7


def test_kinds_rule_out_edges():
    data = world(1500, 3)
    renamed = Transitions(
        state=data.state, next_state=data.next_state, kinds=["state", "context", "action"]
    )
    for options in ({}, {**SMALL_MLP, "steps": 40}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            graph = make_learner("algorithm5", **options).fit(renamed)
        assert not graph.summary[:, 1:].any()
        assert not graph.lagged[1].any()


def test_linear_is_equivariant_under_relabelling():
    data, order = world(1500, 4), [2, 0, 1]
    graph = make_learner("algorithm5").fit(data)
    turned = Transitions(
        state=data.state[:, order],
        next_state=data.next_state[:, order],
        do_target=data.do_target[:, order],
        names=[data.names[i] for i in order],
    )
    again = make_learner("algorithm5").fit(turned).permute(data.names)
    assert again == graph
    assert np.allclose(
        again.contemporaneous_confidence, graph.contemporaneous_confidence, atol=1e-3
    )


def test_linear_does_not_see_units():
    data = world(1500, 5)
    scale, shift = np.array([1e-3, 1.0, 1e4]), np.array([5.0, -1e3, 2e5])
    moved = Transitions(
        state=data.state * scale + shift,
        next_state=data.next_state * scale + shift,
        do_target=data.do_target,
        names=data.names,
    )
    graph, again = (make_learner("algorithm5").fit(rows) for rows in (data, moved))
    assert again == graph
    assert again.contemporaneous_weights == pytest.approx(
        graph.contemporaneous_weights * scale[None, :] / scale[:, None], rel=1e-4
    )


@pytest.mark.parametrize("options", [{}, {**SMALL_MLP, "steps": 20, "batch_size": 32}])
def test_pieces_equal_the_whole_and_resume(options: dict):
    data = world(600, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        whole = make_learner("algorithm5", **options).fit(data)
        learner = make_learner("algorithm5", **options)
        learner.update(data[:1])
        learner.update(data[1:250])
        resumed = make_learner("algorithm5", **options)
        resumed.load_state_dict(learner.state_dict())
        assert resumed.graph_ == learner.graph_
        graphs = [learner.update(data[250:]), resumed.update(data[250:])]
        refit = learner.fit(data)
    for graph in graphs:
        assert graph == whole
        for name in ("contemporaneous_confidence", "lagged_confidence"):
            # Sums in another order differ in the last digits.
            assert getattr(graph, name) == pytest.approx(getattr(whole, name), abs=1e-4)
    assert np.array_equal(
        graphs[0].contemporaneous_confidence, graphs[1].contemporaneous_confidence
    )
    assert np.array_equal(refit.contemporaneous_confidence, whole.contemporaneous_confidence)


def test_capacity_keeps_the_latest_rows():
    data = world(300, 7)
    options = {**SMALL_MLP, "steps": 20, "capacity": 100}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        limited = make_learner("algorithm5", **options)
        limited.update(data[:250])
        graph = limited.update(data[250:])
        latest = make_learner("algorithm5", **options).fit(data[200:])
    assert np.array_equal(graph.contemporaneous_confidence, latest.contemporaneous_confidence)


def test_other_mechanisms_state_is_refused():
    with pytest.raises(ValueError, match="state has mechanism='linear'"):
        make_learner("algorithm5", mechanism="mlp").load_state_dict(
            make_learner("algorithm5").state_dict()
        )


@pytest.mark.parametrize("options", [{"max_iter": 40}, {**SMALL_MLP, "steps": 20}])
def test_degenerate_data_give_a_finite_dag(options: dict):
    """Constants, copies, a variable set in every row, one row: a DAG and no NaN."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(50, 4))
    x[:, 1], x[:, 2] = 1e6, x[:, 0]
    target = np.zeros((50, 4), dtype=bool)
    target[:, 3] = True
    data = Transitions(state=x, next_state=x, do_target=target)
    for rows in (data, data[:1]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            graph = make_learner("algorithm5", **options).fit(rows)
        assert is_dag(graph.contemporaneous)
        assert np.isfinite(graph.contemporaneous_confidence).all()
        assert np.isfinite(graph.lagged_confidence).all()


def test_it_says_that_it_did_not_converge():
    for options in ({"max_iter": 1}, {"penalty_end": 0.1}, {**SMALL_MLP, "steps": 1}):
        learner = make_learner("algorithm5", **options)
        with pytest.warns(ConvergenceWarning, match="did not converge"):
            graph = learner.fit(world(300, 9))
        assert learner.converged_ is False
        assert is_dag(graph.contemporaneous)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"mechanism": "cubic"}, ValueError, "mechanism is 'cubic'; it must be one of linear, mlp"),
        ({"acyclicity": "dag"}, ValueError, "acyclicity is 'dag'"),
        ({"sparsity": -1.0}, ValueError, "sparsity is -1.0"),
        ({"threshold": "high"}, TypeError, "threshold must be a number"),
        ({"penalty_growth": 1.0}, ValueError, "penalty_growth is 1.0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate is 0.0"),
        ({"steps": 0}, ValueError, "steps is 0"),
        ({"seed": 1.5}, TypeError, "seed must be an integer"),
    ],
)
def test_options_are_checked(options: dict, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        make_learner("algorithm5", **options)


def test_options_set_later_are_checked_at_fit():
    learner = make_learner("algorithm5")
    learner.mechanism = "cubic"
    with pytest.raises(ValueError, match="mechanism is 'cubic'"):
        learner.fit(world(10, 0))


def test_values_whose_squares_overflow_are_refused():
    with pytest.raises(ValueError, match="squares overflow"):
        make_learner("algorithm5").fit(
            Transitions(state=np.zeros((2, 2)), next_state=[[1e200, 0], [0, 0]])
        )


def test_likelihood_is_that_of_the_rows():
    """Moments against the definition on the rows, and the gradient against differences."""
    data = world(200, 10)
    moments = MaskedMoments(3)
    for part in (data[:7], data[7:8], data[8:]):
        moments.add(part.next_state, part.state, part.do_target)
    weights = np.random.default_rng(0).normal(size=(6, 3)) * 0.3
    value, gradient = MaskedLikelihood(moments, v_min=0.0)(weights)
    columns = np.hstack([data.next_state, data.state]) / np.hstack(
        [data.next_state.std(axis=0), data.state.std(axis=0)]
    )
    expected = 0.0
    for j in range(3):
        kept = ~data.do_target[:, j]
        residual = columns[kept, j] - columns[kept] @ weights[:, j]
        expected += kept.mean() * np.log(residual.var()) / 2
    assert value == pytest.approx(expected, rel=1e-9)
    for index in [(0, 1), (3, 2), (5, 0)]:
        step = np.zeros((6, 3))
        step[index] = 1e-6
        likelihood = MaskedLikelihood(moments, v_min=0.0)
        slope = (likelihood(weights + step)[0] - likelihood(weights - step)[0]) / 2e-6
        assert gradient[index] == pytest.approx(slope, rel=1e-5)


def test_descent_reaches_the_closed_form_and_respects_a_domain():
    centre = np.array([3.0, -0.2, 0.5, -2.0])
    scales = np.array([1.0, 10.0, 0.1, 4.0])

    def quadratic(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(scales @ (x - centre) ** 2) / 2, scales * (x - centre)

    found = minimise_l1(quadratic, np.zeros(4), 0.5)
    soft = np.sign(centre) * np.maximum(np.abs(centre) - 0.5 / scales, 0.0)
    assert found.converged
    assert found.x == pytest.approx(soft, abs=1e-4)
    assert (found.x[soft == 0] == 0).all()

    def barrier(x: np.ndarray) -> tuple[float, np.ndarray]:
        if (x >= 1).any():
            return np.inf, np.zeros_like(x)
        return float(-np.log(1 - x).sum() - 100 * x.sum()), 1 / (1 - x) - 100

    assert minimise_l1(barrier, np.zeros(2), 0.0).x == pytest.approx(0.99, abs=1e-4)
