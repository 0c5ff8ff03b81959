"""Invariants of exact counterfactuals, on random models."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.effects import abduct, counterfactual, predict
from causal_rl.scm import (
    SCM,
    Categorical,
    Function,
    Gaussian,
    Laplace,
    Linear,
    NoNoise,
    Structural,
    Uniform,
    Variable,
    random_scm,
    topology,
)

MECHANISMS = st.sampled_from(["linear", "tanh", "mlp", "gp", "polynomial"])
quick = settings(max_examples=25, deadline=None)


def draw_model(seed, mechanism, noise="gaussian", n=6):
    rng = np.random.default_rng(seed)
    return random_scm(_adjacency(n, rng), mechanism, rng, noise=noise)


def _adjacency(n, rng):
    return topology("er", n, rng, density=1.5)


# random_scm standardises on 20,000 rows: fewer draws of models, more questions to each.
MODELS = [
    draw_model(seed, mechanism, noise)
    for seed, (mechanism, noise) in enumerate(
        [("linear", "gaussian"), ("mlp", "uniform"), ("gp", "laplace"), ("tanh", "gaussian")]
    )
]


@quick
@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.integers(0, 5))
def test_setting_what_was_gives_back_what_was(scm, seed, j):
    rows = scm.sample(7, seed)
    answer = counterfactual(scm, rows, {scm.names[j]: rows[:, j]})
    assert answer.kind == "exact"
    assert np.array_equal(answer.counterfactual[:, 0], rows)


@quick
@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.integers(0, 5), st.floats(-2, 2))
def test_what_is_not_reached_keeps_its_value_bit_for_bit(scm, seed, j, value):
    rows = scm.sample(7, seed)
    name = scm.names[j]
    answer = counterfactual(scm, rows, {name: value})
    reached = {name} | {
        other for other in scm.names if name in scm.graph.ancestors([other], include_self=False)
    }
    for k, other in enumerate(scm.names):
        same = np.array_equal(answer.counterfactual[:, 0, k], rows[:, k])
        assert same or other in reached
    assert (answer.counterfactual[:, 0, j] == value).all()


@quick
@given(st.sampled_from(MODELS), st.integers(0, 10**6), st.integers(0, 5), st.floats(-2, 2))
def test_agrees_with_the_model_s_own_method(scm, seed, j, value):
    rows = scm.sample(5, seed)
    do = {scm.names[j]: value}
    own = scm.counterfactual(rows, do)
    assert np.array_equal(counterfactual(scm, rows, do).counterfactual[:, 0], own)
    posterior = abduct(scm, rows)
    assert np.array_equal(predict(posterior, do).counterfactual[:, 0], own)
    assert np.allclose(posterior.noise[:, 0], scm.abduct(rows), atol=1e-12)


@quick
@given(st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 5))
def test_linear_models_have_a_closed_form(seed, first, second):
    scm, rng = MODELS[0], np.random.default_rng(seed)
    rows = scm.sample(6, rng)
    values = dict(zip((scm.names[first], scm.names[second]), rng.normal(size=2), strict=True))
    answer = counterfactual(scm, rows, values)
    # x = W^T x + b + u, so with the set variables cut off: x' = (I - W'^T)^-1 (b + u)'.
    weights = np.array(scm.graph.contemporaneous_weights)
    bias = np.array([getattr(v.function, "bias", 0.0) for v in scm.variables])
    source = rows - rows @ weights
    cut, at = weights.copy(), {scm.names.index(n): v for n, v in values.items()}
    for j, value in at.items():
        cut[:, j], source[:, j] = 0.0, value
    expected = np.linalg.solve(np.eye(scm.d) - cut.T, source.T).T
    assert np.abs(answer.mean() - expected).max() < 1e-10
    assert np.isfinite(bias).all()


@pytest.mark.parametrize("scm", MODELS)
def test_a_row_alone_is_answered_as_in_a_batch(scm):
    rows = scm.sample(3, 5)
    batch = counterfactual(scm, rows, {"X2": 0.3})
    for r in range(3):
        alone = counterfactual(scm, rows[r : r + 1], {"X2": [0.3]})
        assert np.array_equal(alone.counterfactual[0], batch.counterfactual[r])
        assert alone.kinds == batch.kinds


def test_one_value_a_row():
    scm = MODELS[1]
    rows = scm.sample(4, 0)
    values = np.array([0.0, 1.0, -1.0, 2.0])
    together = counterfactual(scm, rows, {"X2": values}).mean()
    for r, value in enumerate(values):
        alone = counterfactual(scm, rows[r : r + 1], {"X2": value}).mean()
        assert np.allclose(alone[0], together[r], atol=1e-12)


@pytest.fixture
def chain():
    """x -> y -> z, with z = x + y^2 + noise."""
    return SCM(
        [
            Variable("x"),
            Variable("y", Linear([2.0]), Gaussian(0.5), ("x",)),
            Variable("z", Function(lambda x, y: x + y**2), Laplace(0.3), ("x", "y")),
        ]
    )


def test_soft_interventions_keep_the_noise(chain):
    rows = chain.sample(20, 1)
    x, y, z = rows.T
    answer = counterfactual(chain, rows, {"y": Linear([-1.0])})
    assert answer.kind == "exact"
    new_y = -x + (y - 2 * x)
    assert np.allclose(answer["y"], new_y)
    assert np.allclose(answer["z"], x + new_y**2 + (z - x - y**2))
    # Half the noise, the same ranks.
    assert np.allclose(
        counterfactual(chain, rows, {"y": Gaussian(0.25)})["y"], 2 * x + (y - 2 * x) / 2
    )
    # Another family: the rank is kept, so the order is.
    moved = counterfactual(chain, rows, {"y": Uniform(-1.0, 1.0)})["y"] - 2 * x
    assert (np.argsort(moved) == np.argsort(y - 2 * x)).all()
    assert (np.abs(moved) < 1).all()
    # Other parents.
    replaced = counterfactual(
        chain, rows, {"x": Variable("x", Linear([1.0]), parents=("y",)), "y": 0.5}
    )
    assert np.allclose(replaced["x"], 0.5 + x)


def test_a_soft_change_to_the_same_changes_nothing(chain):
    rows = chain.sample(9, 3)
    same = {v.name: v for v in chain.variables}
    assert np.array_equal(counterfactual(chain, rows, same).counterfactual[:, 0], rows)


def test_targets_are_answered_in_the_order_asked_for(chain):
    rows = chain.sample(5, 2)
    every, some = (
        counterfactual(chain, rows, {"x": 1.0}, targets=targets) for targets in (None, ["z", "x"])
    )
    assert some.targets == ("z", "x")
    assert np.array_equal(some.mean(), every.mean()[:, [2, 0]])
    assert np.array_equal(some.effect()[:, 0], some["z"] - rows[:, 2])
    assert (every.std() == 0).all()
    assert np.array_equal(every.quantile(0.3), every.mean())


def test_noise_that_a_mechanism_bends_is_found_by_its_inverse():
    scm = SCM(
        [
            Variable("x"),
            Variable(
                "y", Structural(lambda x, u: x * np.exp(u), lambda y, x: np.log(y / x)),
                parents=("x",),
            ),
        ]
    )  # fmt: skip
    rows = scm.sample(30, 0)
    answer = counterfactual(scm, rows, {"x": 2.0})
    assert answer.kind == "exact"
    assert np.allclose(answer["y"], 2.0 * rows[:, 1] / rows[:, 0])


def test_what_values_do_not_tell_is_only_interventional():
    scm = SCM(
        [Variable("x"), Variable("y", Structural(lambda x, u: x + u**2), parents=("x",)),
         Variable("z", Linear([1.0]), parents=("x",))]
    )  # fmt: skip
    rows = scm.sample(3, 0)
    answer = counterfactual(scm, rows, {"x": 2.0}, n_samples=4000)
    assert answer.kinds == {"x": "exact", "y": "interventional", "z": "exact"}
    assert answer.kind == "interventional"
    assert np.allclose(answer["y"], 3.0, atol=0.15)  # 2 + E[u^2], whatever was seen
    assert counterfactual(scm, rows, {"z": 2.0}).kind == "exact"


def test_categories_are_sampled_where_their_noise_matters():
    logits = [Linear([0.0]), Linear([2.0])]
    scm = SCM(
        [Variable("x"), Variable("t", Categorical(logits), parents=("x",)),
         Variable("y", Linear([1.0, 0.5]), parents=("t", "x"))]
    )  # fmt: skip
    rows = scm.sample(40, 0)
    flipped = counterfactual(scm, rows, {"t": 1 - rows[:, 1]})
    assert flipped.kind == "exact"
    assert np.allclose(flipped["y"], rows[:, 2] + 1 - 2 * rows[:, 1])
    moved = counterfactual(scm, rows, {"x": 1.0}, n_samples=2000)
    assert moved.kinds == {"x": "exact", "t": "sampled", "y": "sampled"}
    # P(t' = 1 | t, x) under the monotone coupling, in closed form.
    before, after = 1 / (1 + np.exp(2 * rows[:, 0])), 1 / (1 + np.exp(2.0))
    chance = np.where(
        rows[:, 1] == 0, np.maximum(before - after, 0) / before,
        (1 - np.maximum(before, after)) / (1 - before),
    )  # fmt: skip
    assert np.abs(moved["t"] - chance).max() < 0.05
    same = counterfactual(scm, rows, {"x": rows[:, 0]})
    assert np.array_equal(same.counterfactual, same.factual)


def test_impossible_evidence_is_refused_in_one_line():
    scm = SCM([Variable("x", noise=Uniform(0, 1)), Variable("y", Linear([1.0]), NoNoise(), ("x",))])
    assert counterfactual(scm, [[0.5, 0.5]], {"x": 0.1})["y"] == pytest.approx(0.1)
    with pytest.raises(ValueError, match=r"row 1 no noise of 'x' brings about its value 1\.5"):
        counterfactual(scm, [[0.5, 0.5], [1.5, 1.5]], {"x": 0.1})
    with pytest.raises(ValueError, match="no noise of 'y'"):
        counterfactual(scm, [[0.5, 0.6]], {"x": 0.1})


def test_bad_questions(chain):
    rows = chain.sample(4, 0)
    with pytest.raises(TypeError, match="scm must be"):
        counterfactual("chain", rows, {"x": 1.0})
    with pytest.raises(ValueError, match="no variable is named 'w'"):
        counterfactual(chain, rows, {"w": 1.0})
    with pytest.raises(ValueError, match="targets: no variable is named 'w'"):
        counterfactual(chain, rows, {"x": 1.0}, targets=["w"])
    with pytest.raises(ValueError, match="do of 'x' has 3 values; the evidence 4 rows"):
        counterfactual(chain, rows, {"x": [1.0, 2.0, 3.0]})
    with pytest.raises(ValueError, match="do of 'x' must be finite"):
        counterfactual(chain, rows, {"x": np.nan})
    with pytest.raises(TypeError, match="do must map names"):
        counterfactual(chain, rows, ["x"])
    with pytest.raises(TypeError, match="do of 'x' must be numbers"):
        counterfactual(chain, rows, {"x": "high"})
    with pytest.raises(ValueError, match="cycle"):
        counterfactual(chain, rows, {"x": Variable("x", Linear([1.0]), parents=("z",))})
    with pytest.raises(ValueError, match="evidence has shape"):
        counterfactual(chain, rows[:, :2], {"x": 1.0})
    with pytest.raises(TypeError, match="posterior must be"):
        predict(rows, {"x": 1.0})
    answer = counterfactual(chain, rows, {"x": 1.0}, targets=["z"])
    with pytest.raises(ValueError, match="no variable is named 'y'"):
        answer["y"]
    with pytest.raises(ValueError, match="level is 2"):
        answer.quantile(2.0)
