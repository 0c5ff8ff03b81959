"""One SCM world as a Gymnasium environment."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import error
from numpy.typing import NDArray

from causal_rl.envs.counterfactual import Do, counterfactual, with_costs
from causal_rl.envs.engine import Engine
from causal_rl.envs.frames import Shown
from causal_rl.envs.interventions import Interventions
from causal_rl.envs.rendering import GraphRenderer
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.graphs import CausalGraph
from causal_rl.scm import Trajectory

_EVERY = np.ones(1, dtype=np.bool_)


class SCMEnv(gymnasium.Env[NDArray[np.float64], NDArray[np.int64]]):
    """A world run by its structural causal model, one intervention a step.

    The observation is the state after the within-step pass: float64 (n_observed,), contexts
    included, hidden variables left out. The action is ``(target, value index)``, see
    :class:`~causal_rl.envs.Interventions`. The reward is the reward mechanism's value minus the
    cost of the action. An episode ends by truncation at ``scm_spec.horizon``; nothing terminates.

    ``info`` holds what was done, and only that: ``do_target`` bool (n_observed,) and ``do_value``
    float64 (n_observed,), 0 where nothing was set.

    Under ``reset(seed=s)`` and the same actions, the trajectory equals that of row i of an
    :class:`~causal_rl.envs.SCMVectorEnv` whose seed is s, bit for bit. A ``reset()`` without a
    seed begins the next episode of that seed.

    Args:
        scm_spec: the world.
        render_mode: None, or "rgb_array": :meth:`render` draws the true graph with its values.

    Raises:
        TypeError: ``scm_spec`` is no :class:`~causal_rl.envs.SCMEnvSpec`.
        ValueError: another render mode.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["rgb_array"],
        "render_fps": 4,
    }

    def __init__(self, scm_spec: SCMEnvSpec, *, render_mode: str | None = None) -> None:
        check_arguments(scm_spec, render_mode)
        self.scm_spec = scm_spec
        self.render_mode = render_mode
        self._renderer: GraphRenderer | None = None
        self._shown: Shown = Shown()
        self.observation_space = scm_spec.observation_space()
        self.action_space = scm_spec.action_space()
        self._engine = Engine(scm_spec, 1)
        self._take_tables()
        self._shape = (self._tables.n_targets, self._tables.n_values)
        hidden = len(scm_spec.observed) < scm_spec.scm.n
        self._columns: NDArray[np.int64] | None = scm_spec.observed if hidden else None

    @property
    def causal_graph(self) -> CausalGraph:
        """The true graph over the observed variables and the reward: the explicit oracle."""
        return self.scm_spec.causal_graph

    @property
    def interventions(self) -> Interventions:
        """The action space: settable names, values and costs."""
        return self.scm_spec.interventions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Begin an episode: number 0 of ``seed``, or the next of the present seed.

        Args:
            seed: integer in [0, 2**64), or None; without any seed so far, one is drawn from
                ``np_random``.
            options: ignored.

        Returns:
            The observation and an info in which nothing was set.

        Raises:
            ValueError: a seed out of range.
        """
        key = None if seed is None else check_seed(seed)
        super().reset(seed=key)
        if key is None and not self._engine.started[0]:
            key = int(self.np_random.integers(0, 2**63))
        if key is not None:
            self._engine.reseed(_EVERY, np.array([key], dtype=np.uint64))
        self._engine.restart(_EVERY)
        n = len(self.scm_spec.observed)
        info = {"do_target": np.zeros(n, dtype=np.bool_), "do_value": np.zeros(n)}
        self._shown = Shown()
        return self._observation(), info

    def step(
        self, action: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """Set what the action says, then let every mechanism run once.

        Args:
            action: int (2,), target and value index.

        Returns:
            Observation, reward, terminated (always False), truncated, info.

        Raises:
            ValueError: an action outside the space, or a mechanism that returned NaN or an
                infinity; the variable is named.
            gymnasium.error.ResetNeeded: before the first reset.
        """
        engine = self._engine
        if not engine.started[0]:
            raise error.ResetNeeded("call reset before step")
        target, index = self._split(action)
        code = target * self._shape[1] + index
        column, number = self._settings[code]
        paid = engine.advance_one(column, number, self._costs[target], code)
        mask, value = self._tables.mask[:, target], self._tables.value[:, code]
        if self._columns is None:
            mask, value = mask.copy(), value.copy()
        else:
            mask, value = mask[self._columns], value[self._columns]
        truncated = bool(engine.step[0] >= self.scm_spec.horizon)
        if self.render_mode is not None:
            self._shown = self._shown.after(paid, mask, value)
        info = {"do_target": mask, "do_value": value}
        return self._observation(), paid, False, truncated, info

    def render(self) -> NDArray[np.uint8] | None:
        """A picture of the true graph, each variable with its value: what was set is marked.

        It shows the truth, so it is for people, not for agents. Hidden variables are left out.

        Returns:
            uint8 (height, width, 3); None without a render mode.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if self.render_mode is None:
            return None
        if not self._engine.started[0]:
            raise error.ResetNeeded("call reset before render")
        if self._renderer is None:
            self._renderer = GraphRenderer(self.scm_spec.causal_graph)
        return self._shown.frame(self._renderer, self._observation(), int(self._engine.step[0]))

    def natural_action(self) -> NDArray[np.float64]:
        """What the settable variables would be in the coming step if nothing were set.

        It is what an agent that follows its intent is about to do, hidden causes and all, and
        (targets - 1,) numbers in the order of ``interventions.settable``. The state stays as it is.

        Raises:
            gymnasium.error.ResetNeeded: before the first reset.
        """
        if not self._engine.started[0]:
            raise error.ResetNeeded("call reset before natural_action")
        names = self.scm_spec.scm.names
        columns = [names.index(name) for name in self.interventions.settable]
        return np.asarray(self._engine.natural()[0, columns], dtype=np.float64)

    def see(self) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """One step in which nothing is set: every variable follows its own mechanism."""
        return self.step(np.zeros(2, dtype=np.int64))

    def do(
        self, name: str, value: float
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """One step in which a variable is set.

        Args:
            name: a settable variable.
            value: one of the values on offer for it.

        Raises:
            ValueError: another name or value.
        """
        return self.step(self.interventions.action(name, value))

    def ctf_do(
        self, policy: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.int64]]
    ) -> tuple[NDArray[np.float64], float, bool, bool, dict[str, Any]]:
        """One step decided in view of the natural action (Bareinboim, Forney & Pearl 2015).

        The noise of the step is the one that made the natural action: an agent that overrides its
        intent does so in the same situation. No policy of the observation alone can do as much
        where a hidden variable causes both action and reward.

        Args:
            policy: from the observation (n_observed,) and :meth:`natural_action` to an action (2,);
                target 0 lets the natural action happen.
        """
        return self.step(policy(self._observation(), self.natural_action()))

    def trajectory(self) -> Trajectory:
        """The present episode so far with its noise, an oracle: ``scm.Trajectory`` of batch 1.

        ``reward`` is what :meth:`step` paid, costs included.

        Raises:
            ValueError: no step was made yet, or the episode began before :meth:`set_state`.
        """
        return with_costs(self.scm_spec, self._engine.trajectory(0))

    def counterfactual(self, trajectory: Trajectory, do: Do) -> Trajectory:
        """What an episode would have been; see :func:`causal_rl.envs.counterfactual`."""
        return counterfactual(self.scm_spec, trajectory, do)

    def set_world(self, scm_spec: SCMEnvSpec) -> None:
        """Change the world from the next step on; values, seed and counters stay as they are.

        Args:
            scm_spec: a world with the same variables and actions.

        Raises:
            TypeError: ``scm_spec`` is no :class:`~causal_rl.envs.SCMEnvSpec`.
            ValueError: other variables or actions.
        """
        check_same_interface(self.scm_spec, scm_spec)
        self.scm_spec = scm_spec
        self._take_tables()
        self._renderer = None
        self._engine.set_world(scm_spec)

    def get_state(self) -> dict[str, NDArray[np.generic]]:
        """What an exact resume needs, as arrays; see :meth:`SCMVectorEnv.get_state`."""
        return self._engine.get_state()

    def set_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Take up where :meth:`get_state` was called.

        Raises:
            ValueError: a key is missing, or an array has another shape.
        """
        self._engine.set_state(state)

    def _take_tables(self) -> None:
        self._tables = self.scm_spec.action_tables
        self._costs = self._tables.cost.tolist()
        # The column that each action sets, -1 for none, and to what.
        self._settings = [
            (int(mask.argmax()), float(value[mask.argmax()])) if mask.any() else (-1, 0.0)
            for code, value in enumerate(self._tables.value.T)
            for mask in [self._tables.mask[:, code // self._tables.n_values]]
        ]

    def _observation(self) -> NDArray[np.float64]:
        row: NDArray[np.float64] = self._engine.values[0]
        return row.copy() if self._columns is None else row[self._columns]

    def _split(self, action: object) -> tuple[int, int]:
        array = np.asarray(action)
        if array.shape == (2,) and array.dtype.kind in "iu":
            target, index = array.tolist()
            if 0 <= target < self._shape[0] and 0 <= index < self._shape[1]:
                return target, index
        raise ValueError(
            f"action must be two integers, target 0..{self._shape[0] - 1} (0 sets nothing) and "
            f"value index 0..{self._shape[1] - 1}, got {action!r}"
        )


def check_arguments(scm_spec: object, render_mode: str | None) -> None:
    """Refuse what neither environment can run.

    Raises:
        TypeError: ``scm_spec`` is no :class:`~causal_rl.envs.SCMEnvSpec`.
        ValueError: a render mode that there is not.
    """
    if not isinstance(scm_spec, SCMEnvSpec):
        raise TypeError(f"scm_spec must be an SCMEnvSpec, got {type(scm_spec).__name__}")
    if render_mode not in (None, "rgb_array"):
        raise ValueError(f"render_mode must be None or 'rgb_array', got {render_mode!r}")


def check_same_interface(old: SCMEnvSpec, new: object) -> None:
    """Refuse a world that an agent of another could not be run in.

    Raises:
        TypeError: ``new`` is no :class:`~causal_rl.envs.SCMEnvSpec`.
        ValueError: other variables or actions.
    """
    if not isinstance(new, SCMEnvSpec):
        raise TypeError(f"scm_spec must be an SCMEnvSpec, got {type(new).__name__}")
    if new.scm.names != old.scm.names or new.observed_names != old.observed_names:
        raise ValueError(
            f"scm_spec {new.name!r} has other variables than {old.name!r}: "
            f"{', '.join(new.scm.names)}"
        )
    if (
        new.interventions.settable != old.interventions.settable
        or new.interventions.values != old.interventions.values
    ):
        raise ValueError(f"scm_spec {new.name!r} has other actions than {old.name!r}")


def check_seed(seed: object) -> int:
    """An integer seed in [0, 2**64).

    Raises:
        ValueError: anything else.
    """
    try:
        number = operator.index(seed)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"seed must be an integer or None, got {seed!r}") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"seed must lie in [0, 2**64), got {number}")
    return number
