from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from causal_rl.scm import (
    Constant,
    DynamicSCM,
    Gaussian,
    Linear,
    Tanh,
    Uniform,
    Variable,
    keyed_uniform,
)


def world() -> DynamicSCM:
    """goal (context) -> b; h (hidden) -> b; a -> b; lags a -> a, h -> h, b -> a; reward at last."""
    return DynamicSCM(
        [
            Variable("r", Linear([-1.0, 1.0, 0.5]), parents=("b", "goal"), lagged_parents=("a",),
                     kind="reward"),
            Variable("b", Linear([1.0, 0.5, 2.0]), Gaussian(0.1), ("a", "goal", "h")),
            Variable("goal", Constant(3.0), Uniform(-1.0, 1.0), kind="context"),
            Variable("h", Tanh([0.9]), Gaussian(0.2), lagged_parents=("h",), kind="hidden"),
            Variable("a", Linear([0.5, -0.2]), Gaussian(0.3), lagged_parents=("a", "b")),
        ]
    )  # fmt: skip


def test_attributes():
    scm = world()
    assert scm.names == ("b", "goal", "h", "a")
    assert scm.kinds == ("state", "context", "hidden", "state")
    assert scm.n == 4
    assert scm.reward is not None
    assert scm.reward.name == "r"
    assert scm.observed.tolist() == [0, 1, 3]
    assert scm.contexts.tolist() == [1]
    assert scm.order.index(3) < scm.order.index(0)
    assert scm.graph.names == ("b", "goal", "h", "a", "r")
    assert scm.graph.kinds == ("state", "context", "hidden", "state", "reward")
    assert set(scm.graph.edges()) == {
        ("contemporaneous", "a", "b"),
        ("contemporaneous", "goal", "b"),
        ("contemporaneous", "h", "b"),
        ("contemporaneous", "b", "r"),
        ("contemporaneous", "goal", "r"),
        ("lagged", "a", "r"),
        ("lagged", "h", "h"),
        ("lagged", "a", "a"),
        ("lagged", "b", "a"),
    }
    assert repr(scm) == "DynamicSCM(b, goal, h, a, r)"


def test_a_step_by_hand():
    scm = world()
    previous = np.array([[1.0, 3.5, 0.4, 2.0]])
    noise = np.array([[0.1, 99.0, 0.2, -0.3]])
    a = 0.5 * 2.0 - 0.2 * 1.0 - 0.3
    h = np.tanh(0.9 * 0.4) + 0.2
    b = a + 0.5 * 3.5 + 2.0 * h + 0.1
    after = scm.step(previous, noise)
    np.testing.assert_allclose(after, [[b, 3.5, h, a]], rtol=1e-14)
    assert scm.reward_value(previous, after)[0] == pytest.approx(-b + 3.5 + 0.5 * 2.0)
    # The context argument takes precedence over the previous state.
    b_other = b + 0.5 * (2.0 - 3.5)
    context = np.array([[0.0, 2.0, 0.0, 0.0]])
    np.testing.assert_allclose(scm.step(previous, noise, context), [[b_other, 2.0, h, a]])


def test_do_in_a_step_ignores_parents_and_noise_of_its_target_alone():
    scm = world()
    previous, noise = np.ones((2, 4)), np.full((2, 4), 0.5)
    free = scm.step(previous, noise)
    mask, value = np.zeros((2, 4), dtype=bool), np.full((2, 4), 7.0)
    mask[1, 3] = True
    after = scm.step(previous, noise, None, mask, value)
    np.testing.assert_array_equal(after[0], free[0])
    assert after[1, 3] == 7.0
    np.testing.assert_array_equal(after[1, 1:3], free[1, 1:3])
    assert after[1, 0] - free[1, 0] == pytest.approx(7.0 - free[1, 3])


def test_initial_draws_contexts_and_steps_from_zeros():
    scm = world()
    noise = np.array([[0.1, 0.2, 0.3, 0.4]])
    goal, h, a = 3.2, 0.3, 0.4
    np.testing.assert_allclose(
        scm.initial(noise), [[a + 0.5 * goal + 2 * h + 0.1, goal, h, a]], rtol=1e-14
    )


def test_simulate_holds_contexts_and_is_reproducible():
    scm = world()
    run = scm.simulate(6, 0, batch=3)
    assert run.values.shape == run.noise.shape == (7, 3, 4)
    assert run.do_mask.shape == run.do_value.shape == (6, 3, 4)
    assert run.reward.shape == (6, 3)
    assert (run.values[:, :, 1] == run.values[0, :, 1]).all()
    assert len(set(run.values[0, :, 1])) == 3
    again = scm.simulate(6, np.random.default_rng(0), batch=3)
    np.testing.assert_array_equal(run.values, again.values)
    for t in range(6):
        np.testing.assert_array_equal(
            run.reward[t], scm.reward_value(run.values[t], run.values[t + 1])
        )


def test_stationary_variance_has_its_closed_form():
    # x' = .6 x + e: variance 1 / (1 - .36).
    scm = DynamicSCM([Variable("x", Linear([0.6]), lagged_parents=("x",))])
    values = scm.simulate(60, 0, batch=4000).values[30:]
    assert values.var() == pytest.approx(1 / (1 - 0.36), rel=0.02)
    assert scm.simulate(2, 0).reward is None


def test_do_shifts_no_noise_and_moves_descendants_alone():
    scm = world()
    free, done = scm.simulate(5, 1, batch=4), scm.simulate(5, 1, batch=4, do={"b": 1.0})
    np.testing.assert_array_equal(free.noise, done.noise)
    np.testing.assert_array_equal(free.values[0], done.values[0])
    np.testing.assert_array_equal(free.values[:, :, 1:3], done.values[:, :, 1:3])
    np.testing.assert_array_equal(free.values[1, :, 3], done.values[1, :, 3])
    assert (free.values[2:, :, 3] != done.values[2:, :, 3]).all()
    assert (done.values[1:, :, 0] == 1.0).all()


def test_do_and_soft_do_make_new_models():
    scm = world()
    fixed = scm.do(goal=0.0, a=1.0)
    values = fixed.simulate(4, 0, batch=2).values
    assert (values[:, :, 1] == 0.0).all()
    assert (values[:, :, 3] == 1.0).all()
    assert fixed.graph.parents("a") == ()
    changed = scm.soft_do({"a": Variable("a", Linear([1.0]), parents=("h",)), "h": Gaussian(2.0)})
    assert ("contemporaneous", "h", "a") in changed.graph.edges()
    assert ("lagged", "a", "a") not in changed.graph.edges()
    flipped = scm.soft_do({"r": Linear([1.0, 1.0, 0.0])})
    assert flipped.reward_value(np.ones((1, 4)), np.full((1, 4), 2.0))[0] == 4.0
    assert scm.graph.parents("a") == ("b", "a")


def test_counterfactual_with_the_factual_do_is_the_trajectory_bit_for_bit():
    scm = world()
    run = scm.simulate(8, 2, batch=5, do={"a": 0.7})
    same = scm.counterfactual(run, run.do_mask, run.do_value)
    np.testing.assert_array_equal(same.values, run.values)
    np.testing.assert_array_equal(same.reward, run.reward)
    np.testing.assert_array_equal(same.noise, run.noise)
    free = scm.counterfactual(run)
    np.testing.assert_array_equal(free.values, scm.simulate(8, 2, batch=5).values)


def test_counterfactual_of_a_linear_model_has_its_closed_form():
    scm = DynamicSCM([Variable("x", Linear([0.5]), lagged_parents=("x",))])
    run = scm.simulate(4, 0)
    mask, value = np.zeros((4, 1, 1), dtype=bool), np.zeros((4, 1, 1))
    mask[1] = True
    value[1] = 10.0
    answer = scm.counterfactual(run, mask, value).values[:, 0, 0]
    facts = run.values[:, 0, 0]
    shift = (10.0 - facts[2]) * np.array([0.0, 0.0, 1.0, 0.5, 0.25])
    np.testing.assert_allclose(answer, facts + shift, rtol=1e-12, atol=1e-12)


def test_abduction_recovers_the_noise_and_what_was_set_gets_its_prior():
    scm = world()
    run = scm.simulate(6, 3, batch=50, do={"h": 0.1})
    noise = scm.abduct(run.values, run.do_mask)
    free = ~np.concatenate([np.zeros((1, 50, 4), dtype=bool), run.do_mask])
    np.testing.assert_allclose(noise[free], run.noise[free], atol=1e-14)
    np.testing.assert_allclose(noise[~free], 0.0, atol=1e-14)
    drawn = scm.abduct(run.values, run.do_mask, rng=0)
    assert drawn[~free].std() == pytest.approx(0.2, rel=0.2)
    np.testing.assert_array_equal(drawn[free], noise[free])
    # The noise of abduction replays the facts, in values and in rewards.
    replay = scm.counterfactual(dataclasses.replace(run, noise=noise), run.do_mask, run.do_value)
    np.testing.assert_array_equal(replay.values, run.values)
    np.testing.assert_array_equal(replay.reward, run.reward)


def test_noise_from_keyed_uniforms():
    scm = world()
    uniforms = keyed_uniform(np.arange(5), 0, 0, scm.n)
    noise = scm.noise_from_uniforms(uniforms)
    for j, name in enumerate(scm.names):
        variable = next(v for v in scm.variables if v.name == name)
        np.testing.assert_array_equal(noise[:, j], variable.noise.ppf(uniforms[:, j].copy()))
    alone = scm.noise_from_uniforms(np.ascontiguousarray(uniforms[2:3]))
    np.testing.assert_array_equal(alone[0], noise[2])
    same = DynamicSCM([Variable("a"), Variable("b")])
    assert same.noise_from_uniforms(np.full((3, 2), 0.5)).tolist() == [[0.0, 0.0]] * 3
    assert scm.sample_noise(0, 7).shape == (7, 4)


def test_memory_layout_of_the_arguments_does_not_matter():
    scm = world()
    rng = np.random.default_rng(0)
    previous, noise, value = (rng.normal(size=(9, 4)) for _ in range(3))
    mask = rng.random((9, 4)) < 0.4
    mask[:, 1] = False
    kept = [a.copy() for a in (previous, noise, mask, value)]
    results = [
        scm.step(f(previous), f(noise), f(previous), f(mask), f(value))
        for f in (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2])
    ]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    for array, copy_ in zip((previous, noise, mask, value), kept, strict=True):
        np.testing.assert_array_equal(array, copy_)


def test_pickle_and_deepcopy():
    scm = world()
    for twin in (pickle.loads(pickle.dumps(scm)), copy.deepcopy(scm)):
        np.testing.assert_array_equal(twin.simulate(5, 0).values, scm.simulate(5, 0).values)
        assert twin.graph == scm.graph


Z = np.zeros((2, 4))
CONTEXT_SET = np.array([[False, True, False, False]] * 2)
NO_REWARD = DynamicSCM([Variable("x")])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.step(Z[:, :3], Z), ValueError, r"previous must have shape \(batch, 4\)"),
        (lambda s: s.step(Z[0], Z), ValueError, "previous must have shape"),
        (lambda s: s.step(Z, Z[:1]), ValueError, "noise must have 2 rows, got 1"),
        (lambda s: s.step(Z, Z, Z[:1]), ValueError, "context must have 2 rows, got 1"),
        (lambda s: s.step(Z, Z, None, Z > 0), ValueError, "must be given together"),
        (lambda s: s.step(Z, Z, None, None, Z), ValueError, "must be given together"),
        (lambda s: s.step(Z, Z, None, Z, Z), ValueError, "do_mask must be boolean"),
        (lambda s: s.step(Z, Z, None, Z[:1] > 0, Z), ValueError, r"do_mask must have shape \(2, 4"),
        (lambda s: s.step(Z, Z, None, Z > 0, Z[:1]), ValueError, "do_value must have 2 rows"),
        (lambda s: s.step(Z, Z, None, CONTEXT_SET, Z), ValueError, "context 'goal' must not be"),
        (lambda s: s.step(Z, Z + np.nan), ValueError, "not finite"),
        (lambda s: s.initial(Z[:, :2]), ValueError, "noise must have shape"),
        (lambda s: s.reward_value(Z, Z[:1]), ValueError, "current must have 2 rows"),
        (lambda s: s.reward_value(Z, Z + np.nan), ValueError, "variable 'r': .*not finite"),
        (lambda s: NO_REWARD.reward_value(Z, Z), ValueError, "this model has no reward"),
        (lambda s: s.noise_from_uniforms(Z[:, :2]), ValueError, "uniforms must have shape"),
        (lambda s: s.sample_noise(0, 0), ValueError, "batch must be >= 1"),
        (lambda s: s.simulate(0, 0), ValueError, "n_steps must be >= 1"),
        (lambda s: s.simulate(3, "seed"), TypeError, "rng must be"),
        (lambda s: s.simulate(3, 0, do={"q": 1}), ValueError, "do names 'q'"),
        (lambda s: s.simulate(3, 0, do={"goal": 1}), ValueError, "context 'goal' must not be set"),
        (lambda s: s.do(r=1.0), ValueError, "do must not set the reward 'r'"),
        (lambda s: s.soft_do({"a": 3}), TypeError, "soft_do of 'a' must be"),
        (lambda s: s.abduct(Z), ValueError, r"values must have shape \(time, batch, 4\)"),
        (lambda s: s.abduct([Z, Z + np.nan]), ValueError, "values must be finite, step 1 is not"),
        (lambda s: s.abduct([Z, Z], Z > 0), ValueError, "do_mask must be boolean of shape"),
        (lambda s: s.counterfactual(Z), TypeError, "trajectory must be a Trajectory"),
        (
            lambda s: s.counterfactual(s.simulate(1, 0, 2), [Z > 0]),
            ValueError,
            "must be given together",
        ),
        (
            lambda s: s.counterfactual(s.simulate(1, 0, 2), [Z > 0], [Z, Z]),
            ValueError,
            "do_value must have the shape of do_mask",
        ),
        (
            lambda s: s.counterfactual(s.simulate(1, 0, 2), [CONTEXT_SET], [Z]),
            ValueError,
            "context 'goal' must not be set",
        ),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(world())
