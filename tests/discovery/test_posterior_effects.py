from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions
from causal_rl.discovery.posterior_effects import PosteriorEffects
from causal_rl.discovery.variational import VariationalLearner
from causal_rl.scm import SCM, Linear, Tanh, Variable


def learned(x: np.ndarray, do_target: np.ndarray | None = None, mechanism: str = "linear"):
    learner = VariationalLearner(mechanism=mechanism)
    learner.fit(x, do_target=do_target)
    return learner.posterior_


def pair(rows: int, seed: int, turned: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=rows)
    effect = 0.7 * cause + np.sqrt(0.51) * rng.normal(size=rows)
    return np.column_stack([effect, cause] if turned else [cause, effect])


def test_averaging_beats_the_best_graph_where_the_class_is_not_identified():
    averaged, best = [], []
    for seed in range(12):
        turned = seed % 2 == 1
        x = pair(400, seed, turned)
        truth = 0.0 if turned else 0.7
        learner = VariationalLearner(mechanism="linear")
        graph = learner.fit(x)
        effects = PosteriorEffects(learner.posterior_, x, samples=60, seed=seed)
        found = effects.effect("X1", "X2", low=0.0, high=1.0)
        averaged.append(found.mean - truth)
        best.append(graph.contemporaneous_weights[0, 1] - truth)
        assert found.low <= truth + 0.1
        assert found.high >= truth - 0.1
    assert np.sqrt(np.mean(np.square(averaged))) < 0.9 * np.sqrt(np.mean(np.square(best)))


def chain() -> SCM:
    return SCM(
        [
            Variable("a"),
            Variable("b", Linear([0.8]), parents=("a",)),
            Variable("c", Linear([1.5, -0.5]), parents=("b", "a")),
        ]
    )


def interventional(scm: SCM, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    parts, targets = [scm.sample(rows, rng)], [np.zeros((rows, 3), dtype=bool)]
    for k, name in enumerate(scm.names):
        for value in (-1.0, 1.0):
            parts.append(scm.do({name: value}).sample(rows, rng))
            target = np.zeros((rows, 3), dtype=bool)
            target[:, k] = True
            targets.append(target)
    return np.concatenate(parts), np.concatenate(targets)


def test_identified_linear_effects_are_the_exact_ones():
    x, do_target = interventional(chain(), 400, 0)
    posterior = learned(x, do_target)
    effects = PosteriorEffects(
        posterior, Transitions.from_table(x, do_target=do_target), samples=80
    )
    exact = {("X1", "X3"): 0.8 * 1.5 - 0.5, ("X2", "X3"): 1.5, ("X3", "X1"): 0.0, ("X1", "X2"): 0.8}
    for (cause, target), truth in exact.items():
        found = effects.effect(cause, target, low=-1.0, high=1.0)
        assert found.mean == pytest.approx(2 * truth, abs=0.15)
        assert found.low - 0.1 <= 2 * truth <= found.high + 0.1
        assert found.weights.sum() == pytest.approx(1.0)
    both = effects.mean("X3", {"X1": 1.0, "X2": 2.0})
    assert both.mean == pytest.approx(2.5, abs=0.15)
    assert effects.mean("X1", {"X1": 3.0}).mean == pytest.approx(3.0)
    # Nothing set: the mean of the mechanisms, not of the rows in which something was set.
    assert effects.mean("X3").mean == pytest.approx(0.0, abs=0.15)


def test_bent_effects():
    scm = SCM([Variable("a"), Variable("b", Tanh([3.0]), parents=("a",))])
    x = scm.sample(800, np.random.default_rng(0))
    posterior = learned(x, mechanism="smooth")
    effects = PosteriorEffects(posterior, x, mechanism="smooth", samples=40)
    if posterior.edge_probabilities[0, 1] > 0.99:
        for value in (-1.0, 0.0, 0.5):
            found = effects.mean("X2", {"X1": value})
            assert found.mean == pytest.approx(np.tanh(3 * value), abs=0.2)
    linear = PosteriorEffects(posterior, x, samples=40).mean("X2", {"X1": 2.0}).mean
    bent = effects.mean("X2", {"X1": 2.0}).mean
    assert abs(bent - 1.0) < abs(linear - 1.0)


@pytest.mark.parametrize("mechanism", ["linear", "smooth"])
def test_never_nan(mechanism: str):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 4))
    x[:, 2] = x[:, 0]
    x[:, 3] = 5.0
    for do_target in (None, np.ones(x.shape, dtype=bool)):
        posterior = learned(x, do_target)
        effects = PosteriorEffects(
            posterior, x, do_target=do_target, mechanism=mechanism, samples=10, rows=20
        )
        for name in ("X1", "X3", "X4"):
            found = effects.mean(name, {"X2": 100.0})
            assert np.isfinite([found.mean, found.low, found.high]).all()
            assert np.isfinite(found.draws).all()
    again = PosteriorEffects(
        posterior, x, do_target=do_target, mechanism=mechanism, samples=10, rows=20
    )
    assert again.mean("X1", {"X2": 1.0}).mean == effects.mean("X1", {"X2": 1.0}).mean


def test_bad_questions():
    x = pair(50, 0, False)
    posterior = learned(x)
    effects = PosteriorEffects(posterior, x, samples=5)
    with pytest.raises(ValueError, match="target: no variable is named 'X9'"):
        effects.mean("X9")
    with pytest.raises(ValueError, match="do: no variable is named 'Z'"):
        effects.mean("X1", {"Z": 1.0})
    with pytest.raises(ValueError, match="do sets 'X1' to nan"):
        effects.mean("X2", {"X1": float("nan")})
    with pytest.raises(ValueError, match=r"level is 1\.0"):
        effects.mean("X2", level=1.0)
    with pytest.raises(ValueError, match="data has 3 variables; the posterior has 2"):
        PosteriorEffects(posterior, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="mechanism is 'mixed'"):
        PosteriorEffects(posterior, x, mechanism="mixed")
    with pytest.raises(ValueError, match="data has 1 rows"):
        PosteriorEffects(posterior, x[:1])
    with pytest.raises(ValueError, match="a past"):
        PosteriorEffects(posterior, Transitions(state=x, next_state=x))
    with pytest.raises(TypeError, match="posterior must be a GraphPosterior"):
        PosteriorEffects(np.zeros((2, 2)), x)  # type: ignore[arg-type]
