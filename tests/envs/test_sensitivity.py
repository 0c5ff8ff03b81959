from __future__ import annotations

import dataclasses
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from causal_rl.envs.gym_dynamics import make_cartpole, make_mountain_car, make_pendulum
from causal_rl.envs.known_dynamics import CARTPOLE, GYM_DYNAMICS, PENDULUM, KnownDynamics
from causal_rl.envs.sensitivity import (
    edge_strengths,
    near_unfaithful,
    perturbation_check,
    sensitivity_graph,
)
from causal_rl.errors import MissingExtraError

VARIANTS = {
    **GYM_DYNAMICS,
    "cartpole-paid": make_cartpole(sutton_barto_reward=True).known,
    "pendulum-light": make_pendulum(g=3.0).known,
    "mountain-car-fast": make_mountain_car(goal_velocity=0.02).known,
}


@pytest.mark.parametrize("known", VARIANTS.values(), ids=VARIANTS)
def test_the_real_simulator_shows_the_stated_graph(known: KnownDynamics) -> None:
    assert perturbation_check(known, 0, 400) == known.one_step_graph
    assert perturbation_check(known, 1, 400, direct=True) == known.causal_graph


def test_a_wrong_graph_is_found_out() -> None:
    lacking = dataclasses.replace(CARTPOLE, lagged=CARTPOLE.lagged[:-1])
    assert perturbation_check(lacking, 0, 20) != lacking.one_step_graph
    # The old velocity instead of the new one: the same whole step, another direct graph.
    early = dataclasses.replace(
        PENDULUM,
        contemporaneous=(("torque", "theta_dot"), ("torque", "theta")),
        lagged=(*PENDULUM.lagged, ("theta_dot", "theta")),
    )
    late = dataclasses.replace(PENDULUM, lagged=(*PENDULUM.lagged, ("theta_dot", "theta")))
    shown = perturbation_check(PENDULUM, 0, 20)
    assert early.one_step_graph == late.one_step_graph == PENDULUM.one_step_graph == shown
    assert perturbation_check(late, 0, 20, direct=True) == PENDULUM.causal_graph


@pytest.mark.parametrize("known", GYM_DYNAMICS.values(), ids=GYM_DYNAMICS)
def test_the_near_unfaithful_edges_are_the_measured_ones(known: KnownDynamics) -> None:
    strengths = edge_strengths(known, 0, 1500)
    listed = [(s.block, s.parent, s.child) for s in strengths]
    assert listed == known.causal_graph.edges()
    assert set(near_unfaithful(strengths)) == {weak[:3] for weak in known.near_unfaithful}


def test_strengths_that_can_be_computed_by_hand() -> None:
    strengths = {(s.parent, s.child): s for s in edge_strengths(CARTPOLE, 3, 800)}
    push = strengths["push", "theta_dot"]
    # Half of the permuted pushes are the same push.
    assert push.moved == pytest.approx(0.5, abs=0.06)
    # theta' = theta + 0.02 theta_dot is linear: either parent explains what the other leaves.
    for parent in ("theta", "theta_dot"):
        assert strengths[parent, "theta"].partial_r2 == pytest.approx(1.0, abs=1e-9)
        assert strengths[parent, "theta"].moved > 0.99
    # An independent value of the same spread moves x by sqrt 2 of its spread, about.
    assert strengths["x", "x"].effect == pytest.approx(np.sqrt(2), abs=0.25)
    weak = strengths["theta_dot", "x_dot"]
    assert weak.moved > 0.9
    assert weak.effect < 0.001
    again = edge_strengths(CARTPOLE, np.random.default_rng(3), 800)
    assert {(s.parent, s.child): s for s in again} == strengths


def test_bad_numbers_of_points() -> None:
    for n in (1, 2.0, True, None):
        with pytest.raises(ValueError, match="n_points must be an integer above 1"):
            perturbation_check(CARTPOLE, 0, n)
    for n in (9, 50.0):
        with pytest.raises(ValueError, match="n must be an integer above 9"):
            edge_strengths(CARTPOLE, 0, n)


# ------------------------------------------------------------------ MuJoCo


def test_without_mujoco_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[mujoco\]"):
        sensitivity_graph("HalfCheetah-v5", 0, 1)


@pytest.fixture(scope="module")
def _mujoco() -> None:
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")


@pytest.mark.usefixtures("_mujoco")
def test_the_cart_with_a_pole_slides_freely() -> None:
    result = sensitivity_graph("InvertedPendulum-v5", 0, 10)
    names = ("qpos:slider", "qpos:hinge", "qvel:slider", "qvel:hinge")
    assert result.outputs == names
    assert result.inputs == (*names, "ctrl:slide")
    # Where the cart is moves nothing but where it will be; all else moves everything.
    np.testing.assert_allclose(result.mean_abs[0], [1.0, 0.0, 0.0, 0.0], atol=1e-7)
    np.testing.assert_array_equal(result.nonzero[0], [1.0, 0.0, 0.0, 0.0])
    assert (result.nonzero[1:] == 1.0).all()
    # A step lasts 0.04 s: dx'/dv is about that.
    assert result.mean_abs[2, 0] == pytest.approx(0.04, rel=0.1)


@pytest.mark.usefixtures("_mujoco")
def test_a_free_joint_has_six_freedoms_and_the_ground_only_counts_in_contact() -> None:
    env = gymnasium.make("Ant-v5")
    result = sensitivity_graph(env, 0, 6, stride=3)
    assert result.mean_abs.shape == (2 * 14 + 8, 2 * 14)
    assert result.inputs[5:7] == ("qpos:root[5]", "qpos:hip_1")
    # A flat floor: moving the ant along it changes no velocity; turning it does.
    velocities = slice(14, 28)
    assert result.mean_abs[:2, velocities].max() < result.threshold
    assert result.mean_abs[3, velocities].max() > 0.1
    # Height matters in contact only: not in every state.
    height = result.nonzero[2, velocities]
    assert 0.0 < height.max() < 1.0
    again = sensitivity_graph(gymnasium.make("Ant-v5"), 0, 6, stride=3)
    np.testing.assert_array_equal(again.mean_abs, result.mean_abs)


@pytest.mark.usefixtures("_mujoco")
def test_bad_arguments() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"n_points": 0}, "n_points must be a positive integer"),
        ({"stride": 1.5}, "stride must be a positive integer"),
        ({"step_size": 0.0}, "step_size must be a positive number"),
        ({"threshold": -1.0}, "threshold must be a positive number"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            sensitivity_graph("InvertedPendulum-v5", 0, **arguments)
    with pytest.raises(TypeError, match="env must be a MuJoCo environment"):
        sensitivity_graph(gymnasium.make("CartPole-v1"), 0)
