from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from causal_rl.attention import CausalAttention
from causal_rl.discovery import ConvergenceWarning, GraphFromRepresentations
from causal_rl.discovery.independence import FisherZ, OneSide
from causal_rl.discovery.side_correlations import side_of_covariance


def chain(rows: int = 600, seed: int = 0) -> np.ndarray:
    """X1 -> X2 -> X3, and X4 apart."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(rows, 4))
    x = noise.copy()
    x[:, 1] += x[:, 0]
    x[:, 2] += x[:, 1]
    return x


def separated_naively(x: np.ndarray, alpha: float) -> np.ndarray:
    """Pairs that Fisher's z separates given nothing or one or two others: PC with all sets."""
    n = x.shape[1]
    test = FisherZ(OneSide(side_of_covariance(np.cov(x.T), len(x))))
    found = np.zeros((n, n), dtype=bool)
    for i in range(n):
        for j in range(n):
            others = [k for k in range(n) if k not in (i, j)]
            for given in [[], *[[k] for k in others], others]:
                if i != j and test.p_values(i, np.array([[j, *given]]))[0, 0] > alpha:
                    found[i, j] = found[j, i] = True
    return found


@pytest.mark.parametrize("row_normalise", [False, True])
@pytest.mark.parametrize("penalty", ["expm", "logdet"])
def test_a_step_equals_lines_16_to_35_done_naively(penalty, row_normalise) -> None:
    rng = np.random.default_rng(0)
    x, first = chain(), rng.uniform(-0.9, 0.9, (4, 4))
    eta, tau, lam, mu, alpha = 0.7, 0.05, 0.1, 0.2, 0.01
    learner = GraphFromRepresentations(
        4,
        initial=first,
        learning_rate=eta,
        threshold=tau,
        sparsity=lam,
        acyclicity=mu,
        alpha=alpha,
        penalty=penalty,
        row_normalise=row_normalise,
    )
    gradients = [rng.normal(size=(4, 4)) * 0.3 for _ in range(3)]
    for part, gradient in zip(np.array_split(x, 3), gradients, strict=True):
        learner.observe(part[:, :, None])
        learner.add_gradient(gradient)
    step = learner.step()

    G = first.astype(np.float32).astype(float)
    np.fill_diagonal(G, 0.0)
    if penalty == "expm":
        h_slope = expm(G * G).T * 2 * G
    else:
        h_slope = 2 * np.linalg.inv(4 * np.eye(4) - G * G).T * G
    away = separated_naively(x, alpha)
    expected = np.zeros((4, 4))
    for i in range(4):
        for j in range(4):
            if i == j or away[i, j]:
                continue
            task = sum(gradient[i, j] for gradient in gradients) / 3
            moved = G[i, j] - eta * (task + lam * np.sign(G[i, j]) + mu * h_slope[i, j])
            shrunk = np.sign(moved) * max(abs(moved) - tau, 0.0)
            expected[i, j] = min(max(shrunk, -1.0), 1.0)
    if row_normalise:
        for i in range(4):
            if np.abs(expected[i]).sum() > 0:
                expected[i] /= np.abs(expected[i]).sum()
    np.testing.assert_array_equal(step.separated, away)
    np.testing.assert_allclose(step.graph, expected, atol=1e-12)
    np.testing.assert_allclose(learner.strengths(), expected, atol=1e-6)
    assert step.batches == 3
    assert step.rows == len(x)
    assert not away[0, 1]
    assert away[0, 2]  # given X2 alone
    assert away[3, :3].all()


def test_removed_pairs_stay_removed_whatever_the_gradient() -> None:
    learner = GraphFromRepresentations(4)
    for _ in range(3):
        learner.observe(chain()[:, :, None])
        learner.add_gradient(-np.ones((4, 4)))
        step = learner.step()
        assert step.separated[0, 2]
        assert (learner.strengths()[step.separated] == 0).all()
        assert (np.diagonal(learner.strengths()) == 0).all()
    assert (learner.strengths()[0, 1] > 0) & (learner.strengths()[1, 2] > 0)


def train(seed: int, alpha: float | None, shallow: bool = True) -> GraphFromRepresentations:
    """X1 -> X2 -> X3 and X4; the network tells every variable from the others and itself."""
    torch.manual_seed(seed)
    x = torch.from_numpy(chain(300, seed)).float()
    lift, attend = torch.nn.Linear(1, 8), CausalAttention(8, 1, "log")
    identity = torch.nn.Parameter(0.5 * torch.randn(4, 8))
    read = torch.nn.Linear(8, 1)
    parameters = [identity, *(p for module in (lift, attend, read) for p in module.parameters())]
    learner = GraphFromRepresentations(4, every=2, alpha=alpha)
    for epoch in range(1, 5):
        for learning in (False, True) if learner.due(epoch) else (False,):
            for batch in x.split(100):
                tokens = lift(batch.unsqueeze(-1)) + identity
                after = attend(tokens, learner.graph if learning else learner.graph.detach())
                loss = (read(after).squeeze(-1) - batch.roll(1, 1)).square().mean()
                if learning:
                    learner.observe(tokens if shallow else after)
                    learner.add_gradient(torch.autograd.grad(loss, learner.graph)[0])
                    continue
                slopes = torch.autograd.grad(loss, parameters)
                with torch.no_grad():
                    for parameter, slope in zip(parameters, slopes, strict=True):
                        parameter -= 0.05 * slope
        if learner.due(epoch):
            learner.step()
    return learner


def test_in_a_training_loop_the_tests_find_the_skeleton_and_attended_tokens_hide_it() -> None:
    truth = np.zeros((4, 4), dtype=bool)
    truth[[0, 1], [1, 2]] = True
    learned = train(0, 0.01)
    found = learned.causal_graph()
    assert learned.last_ is not None
    assert np.array_equal(found.contemporaneous | found.contemporaneous.T, truth | truth.T)
    assert np.array_equal(~learned.last_.separated, truth | truth.T | np.eye(4, dtype=bool))
    # After attention under a graph of ones every token is made of all variables.
    mixed = train(0, 0.01, shallow=False)
    assert mixed.last_ is not None
    assert not mixed.last_.separated.any()
    task_alone = train(0, None)
    assert task_alone.last_ is not None
    assert task_alone.last_.skeleton is None
    assert not task_alone.last_.separated.any()


def test_the_graph_has_gradients_of_the_modulations_that_read_it() -> None:
    learner = GraphFromRepresentations(3, initial=0.5)
    attend = CausalAttention(4, 1, "log")
    attend(torch.randn(2, 3, 4), learner.graph).square().sum().backward()
    given = learner.graph.grad.clone()
    learner.add_gradient()
    assert learner.graph.grad is None
    learner.observe(torch.randn(20, 3, 2, dtype=torch.bfloat16))
    assert learner.step().batches == 1
    assert (given != 0).sum() == 6
    same = learner.graph
    assert same.is_leaf
    assert same.requires_grad
    attend.modulation = "hard"
    attend(torch.randn(2, 3, 4), learner.graph).sum().backward()
    with pytest.raises(ValueError, match=r"^graph.grad is None: .* 'log' or 'scale'"):
        learner.add_gradient()


def test_due() -> None:
    learner = GraphFromRepresentations(2, every=3)
    assert [epoch for epoch in range(1, 10) if learner.due(epoch)] == [3, 6, 9]


def test_a_graph_of_dozens_of_ones_has_an_acyclicity() -> None:
    learner = GraphFromRepresentations(60, alpha=None, threshold=0.0, sparsity=0.0)
    step = learner.step()
    assert np.isfinite(step.graph).all()
    assert 0 < learner.strengths()[0, 1] < 1
    overflowing = GraphFromRepresentations(4, alpha=None, penalty="expm", bound=30.0, initial=30.0)
    with pytest.raises(ValueError, match="W is too large"):
        overflowing.step()


def test_the_graph_at_the_end_is_acyclic_and_has_names() -> None:
    first = np.array([[0, 0.9, 0], [0.2, 0, -0.7], [0, 0, 0]])
    graph = GraphFromRepresentations(3, initial=first, names=["a", "b", "c"]).causal_graph()
    assert [(cause, effect) for _, cause, effect in graph.edges()] == [("a", "b"), ("b", "c")]
    assert graph.contemporaneous_weights[1, 2] == pytest.approx(-0.7)
    assert 0 < graph.contemporaneous_confidence[1, 0] < graph.contemporaneous_confidence[0, 1] < 1


def test_representations_are_sampled_beyond_the_capacity() -> None:
    learner = GraphFromRepresentations(4, capacity=100)
    for part in np.array_split(chain(), 4):
        learner.observe(part[:, :, None])
    assert learner.step().rows == 100


def test_resuming_gives_the_same_graph() -> None:
    whole, first = GraphFromRepresentations(4), GraphFromRepresentations(4)
    halves = np.array_split(chain(), 2)
    for learner in (whole, first):
        learner.observe(halves[0][:, :, None])
        learner.add_gradient(np.full((4, 4), 0.1))
    second = GraphFromRepresentations(4)
    second.load_state_dict(first.state_dict())
    for learner in (whole, second):
        learner.observe(halves[1][:, :, None])
        learner.add_gradient(np.full((4, 4), -0.3))
    np.testing.assert_array_equal(whole.step().graph, second.step().graph)
    np.testing.assert_array_equal(whole.strengths(), second.strengths())
    with pytest.raises(ValueError, match=r"^state has a graph \(4, 4\); it must be \(3, 3\)$"):
        GraphFromRepresentations(3).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ValueError, "n is 0; it must be >= 1"),
        ({"every": 1.5}, TypeError, "every must be an integer"),
        ({"sparsity": -1.0}, ValueError, "sparsity is -1.0"),
        ({"acyclicity": np.nan}, ValueError, "acyclicity is nan"),
        ({"threshold": "x"}, TypeError, "threshold must be a number"),
        ({"penalty": "trace"}, ValueError, "penalty is 'trace'; it must be one of logdet, expm"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate is 0.0"),
        ({"alpha": 1.0}, ValueError, "alpha is 1.0"),
        ({"components": 0}, ValueError, "components is 0"),
        ({"max_conditioning": -1}, ValueError, "max_conditioning is -1"),
        ({"max_tests": 0}, ValueError, "max_tests is 0"),
        ({"effective_share": 1.5}, ValueError, "effective_share is 1.5; it must be at most 1"),
        ({"capacity": 1}, ValueError, "capacity is 1"),
        ({"bound": 0.0}, ValueError, "bound is 0.0"),
        ({"row_normalise": 1}, TypeError, "row_normalise must be True or False"),
        ({"initial": "ones"}, TypeError, "initial must hold real numbers"),
        ({"initial": np.ones((2, 3))}, ValueError, r"initial has shape \(2, 3\)"),
        ({"initial": 2.0}, ValueError, "initial has NaN or an entry beyond bound=1"),
        ({"device": "gpu9"}, ValueError, "device is 'gpu9'"),
        ({"names": ["a", "a", "b"]}, ValueError, "names"),
    ],
)
def test_bad_options(options, error, message) -> None:
    with pytest.raises(error, match=message):
        GraphFromRepresentations(**{"n": 3, **options})


def test_bad_calls() -> None:
    learner = GraphFromRepresentations(3)
    with pytest.raises(ValueError, match=r"^no representations were observed; call observe"):
        learner.step()
    with pytest.raises(ValueError, match=r"^representations has 4 variables; it must have 3$"):
        learner.observe(np.zeros((5, 4, 2)))
    with pytest.raises(ValueError, match=r"^representations has NaN or infinite values"):
        learner.observe(torch.full((5, 3, 2), torch.nan))
    learner.observe(np.zeros((5, 3, 2)))
    with pytest.raises(ValueError, match=r"^representations has 3 dimensions; it had 2 before$"):
        learner.observe(np.zeros((5, 3, 3)))
    with pytest.raises(ValueError, match=r"^gradient has \(2, 2\); it must be finite and \(3, 3\)"):
        learner.add_gradient(np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"^gradient has NaN or infinite entries"):
        learner.add_gradient(np.full((3, 3), np.inf))
    with pytest.raises(TypeError, match=r"^gradient must hold real numbers"):
        learner.add_gradient("none")
    with pytest.raises(ValueError, match=r"^epoch is 0"):
        learner.due(0)
    few = GraphFromRepresentations(4, max_tests=1)
    few.observe(chain()[:, :, None])
    with pytest.warns(ConvergenceWarning, match="max_tests=1 tests"):
        few.step()
