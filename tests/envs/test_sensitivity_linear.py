"""Sensitivities of a simulator whose Jacobian is known: a linear one in the place of MuJoCo."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from causal_rl.envs.sensitivity import sensitivity_graph

STEP, FRAMES = 0.01, 3
#: Springs on the second and third freedom, which pull at each other; the first slides freely.
STIFFNESS = np.array([[0.0, 0.0, 0.0], [0.0, 4.0, -1.0], [0.0, -1.0, 2.0]])
#: The one motor pushes the first freedom.
MOTOR = np.array([[5.0], [0.0], [0.0]])
JOINTS = [
    SimpleNamespace(id=0, name="slider", dofadr=[0]),
    SimpleNamespace(id=1, name="", dofadr=[1]),  # two freedoms
]


class Data:
    def __init__(self, model: Any = None) -> None:
        self.qpos, self.qvel, self.ctrl = np.zeros(3), np.zeros(3), np.zeros(1)


class Model:
    nv, nu = 3, 1
    dof_jntid = (0, 1, 1)

    def joint(self, index: int) -> Any:
        return JOINTS[index]

    def actuator(self, index: int) -> Any:
        return SimpleNamespace(name="")


def step(model: Model, data: Data, nstep: int) -> None:
    for _ in range(nstep):
        force = MOTOR @ data.ctrl - STIFFNESS @ data.qpos
        data.qpos, data.qvel = data.qpos + STEP * data.qvel, data.qvel + STEP * force


def keep(model: Model, data: Data, state: np.ndarray, kind: int) -> None:
    state[:] = np.concatenate([data.qpos, data.qvel])


def restore(model: Model, data: Data, state: np.ndarray, kind: int) -> None:
    data.qpos, data.qvel = state[:3].copy(), state[3:].copy()


def move(model: Model, qpos: np.ndarray, direction: np.ndarray, size: float) -> None:
    qpos += size * direction


def difference(model: Model, out: np.ndarray, time: float, a: np.ndarray, b: np.ndarray) -> None:
    out[:] = (b - a) / time


SIMULATOR = SimpleNamespace(
    MjData=Data,
    mjtState=SimpleNamespace(mjSTATE_INTEGRATION=0),
    mj_stateSize=lambda model, kind: 6,
    mj_getState=keep,
    mj_setState=restore,
    mj_integratePos=move,
    mj_differentiatePos=difference,
    mj_step=step,
)


class Task:
    """As one of Gymnasium's tasks, with episodes of four steps."""

    frame_skip = FRAMES
    action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def __init__(self) -> None:
        self.model, self.data, self.steps, self.resets = Model(), Data(), 0, 0

    @property
    def unwrapped(self) -> Task:
        return self

    def reset(self, *, seed: int) -> None:
        self.data, self.steps, self.resets = Data(), 0, self.resets + 1
        self.data.qpos = np.random.default_rng(seed).normal(size=3)

    def step(self, action: np.ndarray) -> tuple[None, float, bool, bool, dict[str, Any]]:
        self.data.ctrl[:] = action
        step(self.model, self.data, FRAMES)
        self.steps += 1
        return None, 0.0, self.steps == 4 and self.resets % 2 == 0, self.steps == 4, {}


@pytest.fixture(autouse=True)
def _simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", SIMULATOR)


def jacobian() -> np.ndarray:
    """Of `FRAMES` steps, inputs in rows: powers of the matrix of one."""
    once = np.block([[np.eye(3), STEP * np.eye(3)], [-STEP * STIFFNESS, np.eye(3)]])
    push = np.concatenate([np.zeros((3, 1)), STEP * MOTOR])
    powers = [np.linalg.matrix_power(once, k) for k in range(FRAMES)]
    return np.concatenate([np.linalg.matrix_power(once, FRAMES), sum(powers) @ push], axis=1).T


def test_they_are_the_known_jacobian_at_every_state() -> None:
    task = Task()
    found = sensitivity_graph(task, 0, 9, stride=2)
    expected = np.abs(jacobian())
    np.testing.assert_allclose(found.mean_abs, expected, atol=1e-8)
    np.testing.assert_array_equal(found.nonzero, expected > found.threshold)
    assert found.n_points == 9
    assert task.resets == 1 + 18 // 4
    freedoms = ("slider", "joint1[0]", "joint1[1]")
    assert found.outputs == (*(f"qpos:{n}" for n in freedoms), *(f"qvel:{n}" for n in freedoms))
    assert found.inputs == (*found.outputs, "ctrl:0")
    # The free slider is told nothing by the springs.
    assert not found.nonzero[[1, 2, 4, 5], 0].any()


def test_the_environment_itself_is_not_moved_by_differences() -> None:
    one, other = Task(), Task()
    sensitivity_graph(one, 3, 1, stride=1)
    rng = np.random.default_rng(3)
    other.reset(seed=int(rng.integers(2**31)))
    other.step(rng.uniform(-1.0, 1.0, 1).astype(np.float32))
    np.testing.assert_array_equal(one.data.qpos, other.data.qpos)
    np.testing.assert_array_equal(one.data.qvel, other.data.qvel)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_points": 0}, "n_points must be a positive integer, got 0"),
        ({"n_points": True}, "n_points must be a positive integer, got True"),
        ({"stride": 1.5}, r"stride must be a positive integer, got 1\.5"),
        ({"step_size": 0.0}, r"step_size must be a positive number, got 0\.0"),
        ({"step_size": np.nan}, "step_size must be a positive number, got nan"),
        ({"threshold": -1.0}, r"threshold must be a positive number, got -1\.0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sensitivity_graph(Task(), 0, **arguments)


@pytest.mark.parametrize("env", ["CartPole-v1", object()])
def test_what_is_no_task_of_mujoco_is_refused(env: Any) -> None:
    with pytest.raises(TypeError, match="env must be a MuJoCo environment of Gymnasium, got"):
        sensitivity_graph(env, 0, 1)
