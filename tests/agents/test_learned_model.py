from __future__ import annotations

import numpy as np
import pytest

from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.agents.planning.learned_noise import noise_points
from causal_rl.agents.planning.learned_reward import FoldRegression
from causal_rl.discovery import Transitions
from causal_rl.discovery.smooth_regression import SmoothRegression
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.envs.recording import record
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, Gaussian, Linear, Uniform, Variable

COST = {"x": 0.3, "w": 0.1}


def world():
    """w -> x -> y <- y before; reward = -|y - goal|; columns in no causal order."""
    scm = DynamicSCM(
        [
            Variable("y", Linear([1.0, 0.5]), Gaussian(0.2), parents=["x"], lagged_parents=["y"]),
            Variable("w", noise=Uniform(-1.0, 1.0)),
            Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
            Variable("x", lambda w: np.tanh(2.0 * w), Gaussian(0.3), parents=["w"]),
            Variable(
                "reward", lambda y, goal: -np.abs(y - goal), parents=["y", "goal"], kind="reward"
            ),
        ]
    )
    values = tuple(np.linspace(-2, 2, 5))
    return SCMEnvSpec("small", scm, Interventions(["x", "w"], values, COST), horizon=16)


@pytest.fixture(scope="module")
def spec():
    return world()


@pytest.fixture(scope="module")
def data(spec):
    return record(spec, 2000, seed=0, num_envs=8)


@pytest.fixture(scope="module")
def model(spec, data):
    return LearnedSCM.fit(data, spec.causal_graph)


def test_mechanisms_noise_reward_and_costs_are_those_of_the_world(spec, model):
    rows = record(spec, 500, seed=1)
    truth = spec.scm.step(
        rows.state, np.zeros_like(rows.state), None, rows.do_target, rows.next_state
    )
    found = model.step(rows.state, np.zeros_like(rows.state), None, rows.do_target, rows.next_state)
    np.testing.assert_allclose(found, truth, atol=0.15)
    assert model.mechanism("y").family == "line"  # nothing more supple is needed
    np.testing.assert_allclose(model.sigma, [0.2, np.sqrt(1 / 3), 0.0, 0.3], rtol=0.1)
    np.testing.assert_allclose(model.costs, [0.0, 0.1, 0.0, 0.3], atol=1e-6)
    np.testing.assert_allclose(
        model.reward(rows.state, rows.next_state, rows.do_target), rows.reward, atol=1e-6
    )
    assert len(model.reward_model.terms) == 1


def test_rows_where_a_variable_was_set_are_left_out_of_its_mechanism(spec, data):
    # A do that contradicts the mechanism everywhere, in as many rows as there are others.
    wrong = data.next_state.copy()
    x = data.names.index("x")
    target = np.zeros_like(data.do_target)
    target[::2, x] = True
    wrong[::2, x] = 50.0
    model = LearnedSCM.fit(
        Transitions(
            state=data.state,
            next_state=wrong,
            reward=data.reward,
            do_target=target | data.do_target,
            names=data.names,
            kinds=data.kinds,
        ),
        spec.causal_graph,
    )
    clean = LearnedSCM.fit(data, spec.causal_graph)
    still = np.zeros((5, 4))
    still[:, data.names.index("w")] = np.linspace(-1, 1, 5)
    for found in (model, clean):
        np.testing.assert_allclose(
            found.predict(still, still)[:, x], np.tanh(2 * np.linspace(-1, 1, 5)), atol=0.15
        )


def test_a_do_cuts_the_parents_and_contexts_are_held(model):
    rng = np.random.default_rng(0)
    state = rng.normal(size=(64, 4))
    noise = model.draw_noise(rng, 64)
    mask, value = np.zeros((64, 4), dtype=bool), np.zeros((64, 4))
    mask[:, 3], value[:, 3] = True, 1.25
    after = model.step(state, noise, None, mask, value)
    assert (after[:, 3] == 1.25).all()
    np.testing.assert_array_equal(after[:, 2], state[:, 2])
    # What is no descendant of x does not move.
    np.testing.assert_array_equal(after[:, 1], model.step(state, noise)[:, 1])
    # A row depends on itself alone.
    part = model.step(state[5:9], noise[5:9], None, mask[5:9], value[5:9])
    np.testing.assert_array_equal(part, after[5:9])


def test_predict_do_is_the_closed_form(model):
    # y | do(x = v) = v + y / 2 + noise, and E|N(m, .2)| is known.
    state = np.array([[0.4, 0.0, -0.5, 0.0], [-0.4, 0.3, 0.9, 0.0]])
    mask, value = np.zeros((2, 4), dtype=bool), np.zeros((2, 4))
    mask[:, 3], value[:, 3] = True, 1.0
    mean, reward = model.predict_do(state, mask, value, samples=256)
    np.testing.assert_allclose(mean[:, 0], 1.0 + state[:, 0] / 2, atol=0.05)
    draws = np.random.default_rng(0).normal(scale=0.2, size=100_000)
    distance = np.abs(1.0 + state[:, :1] / 2 + draws - state[:, 2:3]).mean(axis=1)
    np.testing.assert_allclose(reward, -distance - 0.3, atol=0.05)


def test_updates_in_pieces_are_a_fit_on_all(spec, data):
    whole = LearnedSCM(spec.causal_graph).update(data[:100]).update(data[100:])
    pieces = LearnedSCM(spec.causal_graph).update(data[:100])
    for start in range(100, 2000, 380):
        pieces.update(data[start : start + 380])
    assert pieces.rows == whole.rows == 2000
    rng = np.random.default_rng(0)
    state, noise = rng.normal(size=(50, 4)), whole.draw_noise(rng, 50)
    np.testing.assert_allclose(pieces.step(state, noise), whole.step(state, noise), atol=1e-6)
    np.testing.assert_allclose(pieces.sigma, whole.sigma, rtol=1e-6)


def test_the_past_is_bounded(spec, data):
    model = LearnedSCM.fit(data, spec.causal_graph, rows_kept=64)
    assert model.rows == 2000
    assert model.reward_model.rows == 64
    assert model.mechanism("x").rows > 1000  # sums keep all


def test_save_and_load(tmp_path, model, data):
    path = tmp_path / "model.npz"
    model.save(path)
    twin = LearnedSCM.load(path)
    rng = np.random.default_rng(0)
    state, noise = rng.normal(size=(50, 4)), model.draw_noise(rng, 50)
    after = model.step(state, noise)
    np.testing.assert_array_equal(twin.step(state, noise), after)
    np.testing.assert_array_equal(twin.reward_value(state, after), model.reward_value(state, after))
    np.testing.assert_array_equal(twin.costs, model.costs)
    # And it goes on from there.
    np.testing.assert_allclose(
        twin.update(data[:200]).step(state, noise),
        LearnedSCM.load(path).update(data[:200]).step(state, noise),
    )
    assert twin.rows == 2200
    (tmp_path / "other.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is not a file of a learned model"):
        LearnedSCM.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        LearnedSCM.load(tmp_path / "absent.npz")


def test_columns_are_matched_by_name(spec, data, model):
    order = [2, 0, 3, 1]
    turned = Transitions(
        state=data.state[:, order],
        next_state=data.next_state[:, order],
        reward=data.reward,
        do_target=data.do_target[:, order],
        names=[data.names[i] for i in order],
        kinds=[data.kinds[i] for i in order],
    )
    twin = LearnedSCM.fit(turned, spec.causal_graph)
    assert twin.names == model.names
    np.testing.assert_array_equal(twin.costs, model.costs)


def test_information_is_where_rows_are_scarce(spec):
    data = record(spec, 600, seed=0, num_envs=8)
    x = data.names.index("x")
    often = data[~data.do_target[:, x] | (data.do_value[:, x] > 0)]  # x was never set low
    low = ~often.do_target[:, x] & (often.next_state[:, x] > -0.3)
    model = LearnedSCM.fit(often[low | often.do_target[:, x]], spec.causal_graph)
    mask, value = np.zeros((2, 4), dtype=bool), np.zeros((2, 4))
    mask[:, x], value[:, x] = True, [-2.0, 1.0]
    seldom, usual = model.expected_information(np.zeros((2, 4)), mask, value)
    assert seldom > usual > 0
    more = model.update(record(spec, 2000, seed=5))
    assert more.expected_information(np.zeros((2, 4)), mask, value)[0] < seldom


def test_without_a_learned_cause_of_the_reward_there_is_nothing_to_plan_for(data):
    kinds = [*data.kinds, "reward"]
    model = LearnedSCM.fit(data, CausalGraph.empty([*data.names, "reward"], kinds))
    assert not model.has_reward
    assert np.ptp(model.reward_value(data.state[:9], data.next_state[:9])) == 0
    lone = LearnedSCM.fit(data, CausalGraph.empty(data.names, data.kinds))
    assert not lone.has_reward
    # A root's residuals are its own distribution.
    noise = lone.draw_noise(np.random.default_rng(0), 4000)[:, 1]
    assert noise.std() == pytest.approx(np.sqrt(1 / 3), rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: LearnedSCM.fit(d[:0], m.graph), "no rows"),
        (lambda m, d: LearnedSCM(m.graph, rows_kept=3), "rows_kept must be an integer"),
        (lambda m, d: LearnedSCM(m.graph).step(np.zeros((1, 4)), np.zeros((1, 4))), "not fitted"),
        (lambda m, d: m.step(np.zeros((1, 3)), np.zeros((1, 4))), "previous must have shape"),
        (lambda m, d: m.step(np.zeros((2, 4)), np.zeros((1, 4))), r"noise must have shape \(2, 4"),
        (
            lambda m, d: m.step(np.zeros((1, 4)), np.zeros((1, 4)), None, np.ones((1, 4))),
            "given together",
        ),
        (lambda m, d: m.noise_from_uniforms(np.full((1, 4), 1.5)), "uniforms must lie"),
        (lambda m, d: m.mechanism("z"), "name must be one of"),
        (lambda m, d: m.save("model.txt"), "npz"),
        (
            lambda m, d: m.update(
                Transitions(state=d.state, next_state=d.next_state, names=d.names, kinds=d.kinds)
            ),
            "no reward",
        ),
        (
            lambda m, d: m.update(
                Transitions(
                    state=d.state, next_state=d.next_state, reward=d.reward, names=list("abcd")
                )
            ),
            "same variables",
        ),
        (
            lambda m, d: LearnedSCM(CausalGraph.full(["a", "b"], ["state", "state"])),
            "->",
        ),
    ],
)
def test_bad_input(model, data, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, data)


def test_bad_types(model):
    with pytest.raises(TypeError, match="graph must be a CausalGraph"):
        LearnedSCM("graph")
    with pytest.raises(TypeError, match="transitions must be Transitions"):
        model.update(np.zeros((3, 4)))


def test_regression_finds_curves_and_products_and_stays_within_what_it_saw():
    rng = np.random.default_rng(0)
    parents = rng.normal(size=(3000, 2))
    truth = np.tanh(2 * parents[:, 0]) + parents[:, 0] * parents[:, 1]
    fitted = SmoothRegression(np.zeros(2), np.ones(2))
    fitted.add(parents, truth + 0.1 * rng.normal(size=3000))
    fitted.solve()
    assert "products" in fitted.family
    fresh = rng.uniform(-2, 2, size=(500, 2))
    error = fitted(fresh) - np.tanh(2 * fresh[:, 0]) - fresh[:, 0] * fresh[:, 1]
    assert np.sqrt((error**2).mean()) < 0.1
    assert fitted.noise_variance == pytest.approx(0.01, rel=0.3)
    far = fitted(np.array([[40.0, 0.0], [50.0, 0.0]]))
    assert far[0] == far[1]


def test_regression_on_next_to_nothing():
    fitted = SmoothRegression(np.zeros(1), np.ones(1))
    fitted.solve()
    assert (fitted(np.ones((3, 1))) == 0).all()
    fitted.add(np.ones((2, 1)), np.array([3.0, 5.0]))
    fitted.solve()
    assert fitted.family == "constant"
    np.testing.assert_allclose(fitted(np.zeros((2, 1))), 4.0)
    np.testing.assert_allclose(fitted.uncertainty(np.zeros((2, 1))), 1.0)


@pytest.mark.parametrize(
    "shape",
    [
        lambda a, b: -np.abs(a - b),
        lambda a, b: -((a - b) ** 2),
        lambda a, b: np.maximum(0.0, a + 2 * b - 0.5),
    ],
)
def test_a_fold_or_a_square_is_exact_after_sixty_rows(shape):
    rng = np.random.default_rng(1)
    rows, fresh = rng.normal(size=(60, 3)), rng.uniform(-1, 1, size=(200, 3))
    covariates = np.eye(3)[rng.integers(0, 3, size=60)][:, :2]
    target = shape(rows[:, 0], rows[:, 1]) - covariates @ [0.1, 0.4]
    fitted = FoldRegression()
    fitted.fit(rows, covariates, target)
    np.testing.assert_allclose(fitted(fresh), shape(fresh[:, 0], fresh[:, 1]), atol=1e-4)
    np.testing.assert_allclose(fitted.covariate_weights, [-0.1, -0.4], atol=1e-4)
    twin = FoldRegression.from_dict(fitted.to_dict())
    np.testing.assert_array_equal(twin(fresh), fitted(fresh))


def test_noise_alone_gives_few_terms():
    rng = np.random.default_rng(2)
    fitted = FoldRegression()
    fitted.fit(rng.normal(size=(400, 2)), np.zeros((400, 0)), rng.normal(size=400))
    assert len(fitted.terms) <= 1
    assert fitted.noise_variance == pytest.approx(1.0, rel=0.2)


def test_noise_points_integrate_one_noise_by_the_midpoint_rule():
    points = noise_points(64, 2, 3, seed=0)
    assert points.shape == (2, 64, 3)
    middles = (np.arange(64) + 0.5) / 64
    for column in points.swapaxes(1, 2).reshape(6, 64):
        np.testing.assert_allclose(np.sort(column), middles)
    for samples in (0, 3, 2.0, True):
        with pytest.raises(ValueError, match="samples must be a power of two"):
            noise_points(samples, 1, 1, seed=0)
