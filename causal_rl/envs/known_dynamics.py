"""What is known of Gymnasium's own dynamics: their variables, their edges, their latent state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph

REWARD = "reward"

#: An unwrapped Gymnasium environment that keeps its latent state in the attribute ``state``.
Simulator = Any
State = NDArray[Any]
Edge = tuple[str, str]


class WeakEdge(NamedTuple):
    """A real edge (block, parent, child) that data from a random policy hardly show, and why."""

    block: str
    parent: str
    child: str
    note: str


def read_state(simulator: Simulator) -> State:
    """A copy of the latent state, in the precision in which the simulator keeps it."""
    return np.array(simulator.state)


def write_state(simulator: Simulator, state: State) -> None:
    """Put the simulator into a state; the array's precision becomes the simulator's."""
    simulator.state = np.array(state)


def _free(
    simulator: Simulator, before: State, action: Any, after: State, done: Mapping[int, float]
) -> State:
    """No new value is computed from another one: what is set is set, and nothing follows."""
    for column, value in done.items():
        after[column] = value
    return after


def _unchanged(
    simulator: Simulator, action: Any, after: State, reward: float, terminated: bool
) -> tuple[float, bool]:
    return reward, terminated


@dataclass(frozen=True, eq=False)
class KnownDynamics:
    """One environment of Gymnasium, described as a causal model that its source runs.

    The model has one column a latent state variable, then the action. A state variable reads the
    state BEFORE the step by lagged edges, and the action and other new values by contemporaneous
    ones. There is no noise: the draw of the first state is the only randomness.

    Args:
        name: short name, as in ``causal_rl/<name>-v0``.
        gym_id: Gymnasium's id.
        states: names of the latent state variables, in the simulator's order.
        action: name of the action variable.
        contemporaneous: edges (parent, child) inside the step.
        lagged: edges (parent, child) from the state before the step to the one after it.
        reward_contemporaneous: what the reward reads of the action and the NEW state.
        reward_lagged: what the reward reads of the state BEFORE the step.
        low: (n states,) least values that a do may set.
        high: (n states,) greatest values that a do may set.
        probe_low: (n states,) corner of the box that perturbation probes beside visited states; put
            it where the dynamics switch, since bounds are probed too.
        probe_high: (n states,) the other corner.
        latent_observation: observe the latent state; False keeps Gymnasium's own observation.
        options: (name, value) pairs for ``gymnasium.make``.
        near_unfaithful: real edges that a random policy's data hardly show, each with a reason.
        notes: what a user should know, a sentence each.
        read: simulator -> copy of its state.
        write: (simulator, state) puts it into that state, as if freshly reset.
        settle: (simulator, before, action, after, {column: value}) -> the new state where some of
            its variables were set, their children inside the step recomputed.
        outcome: (simulator, action, after, reward, terminated) -> reward and termination where a
            state was set; the two given are those of the step without a do.

    Raises:
        ValueError: an edge names no variable, or the bounds do not match ``states``.
    """

    name: str
    gym_id: str
    states: tuple[str, ...]
    action: str
    contemporaneous: tuple[Edge, ...]
    lagged: tuple[Edge, ...]
    reward_contemporaneous: tuple[str, ...]
    reward_lagged: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    probe_low: tuple[float, ...]
    probe_high: tuple[float, ...]
    latent_observation: bool = False
    options: tuple[tuple[str, Any], ...] = ()
    near_unfaithful: tuple[WeakEdge, ...] = ()
    notes: tuple[str, ...] = ()
    read: Callable[[Simulator], State] = read_state
    write: Callable[[Simulator, State], None] = write_state
    settle: Callable[[Simulator, State, Any, State, Mapping[int, float]], State] = _free
    outcome: Callable[[Simulator, Any, State, float, bool], tuple[float, bool]] = _unchanged

    def __post_init__(self) -> None:
        for field in ("low", "high", "probe_low", "probe_high"):
            if len(getattr(self, field)) != len(self.states):
                raise ValueError(
                    f"{field} has {len(getattr(self, field))} entries; states has "
                    f"{len(self.states)}"
                )
        graph = self.causal_graph
        for weak in self.near_unfaithful:
            if weak[:3] not in graph.edges():
                raise ValueError(f"near_unfaithful lists {weak[:3]}, which is no edge")

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of transitions and trajectories: the states, then the action."""
        return (*self.states, self.action)

    @property
    def kinds(self) -> tuple[str, ...]:
        """A kind for each of ``names``."""
        return (*("state",) * len(self.states), "action")

    @cached_property
    def causal_graph(self) -> CausalGraph:
        """The stated graph over states, action and reward."""
        contemporaneous = [
            *self.contemporaneous,
            *((p, REWARD) for p in self.reward_contemporaneous),
        ]
        lagged = [*self.lagged, *((p, REWARD) for p in self.reward_lagged)]
        empty = CausalGraph.empty((*self.names, REWARD), (*self.kinds, REWARD))
        blocks = []
        for edges in (contemporaneous, lagged):
            block = np.zeros((empty.n, empty.n), dtype=np.bool_)
            for parent, child in edges:
                block[empty.index(parent), empty.index(child)] = True
            blocks.append(block)
        return empty.with_(contemporaneous=blocks[0], lagged=blocks[1])

    @property
    def one_step_graph(self) -> CausalGraph:
        """The graph of one whole step, what perturbing the simulator from outside can show.

        See :func:`close_within_step`.
        """
        return close_within_step(self.causal_graph)

    def make(
        self, *, render_mode: str | None = None, max_episode_steps: int | None = None
    ) -> gymnasium.Env[Any, Any]:
        """Gymnasium's environment, under its time limit (or the one given)."""
        return gymnasium.make(
            self.gym_id,
            render_mode=render_mode,
            max_episode_steps=max_episode_steps,
            disable_env_checker=True,
            **dict(self.options),
        )


def close_within_step(graph: CausalGraph) -> CausalGraph:
    """Contract the paths inside a step: who moves when one input of the step is moved.

    Lagged edges become those from the state before the step to everything that it reaches by the
    end; of the contemporaneous edges only those out of actions and contexts are left, likewise
    closed, because only these variables are inputs of the step.

    Args:
        graph: a graph with both blocks.

    Returns:
        A graph over the same variables.
    """
    reach = np.eye(graph.n, dtype=np.bool_)
    for node in graph.topological_order():
        reach[:, node] |= (reach @ graph.contemporaneous[:, node]).astype(np.bool_)
    inputs = np.isin(graph.kinds, ("action", "context"))
    lagged = graph.lagged @ reach
    contemporaneous = reach & inputs[:, np.newaxis] & ~np.eye(graph.n, dtype=np.bool_)
    return graph.with_(contemporaneous=contemporaneous, lagged=lagged)


def read_action(space: spaces.Space[Any], action: object, name: str) -> tuple[Any, float]:
    """An action as the simulator takes it, and as the value of its variable.

    Args:
        space: Discrete, or a Box of shape (1,).
        action: an integer of the Discrete space; or one finite number of shape (1,) or (). As in
            Gymnasium, a number outside of the Box is not refused: the simulator clips it.
        name: of the action variable, for messages.

    Returns:
        The action in the space's precision, and the same as a float.

    Raises:
        ValueError: anything else.
    """
    array = np.asarray(action)
    if isinstance(space, spaces.Discrete):
        low, high = int(space.start), int(space.start + space.n - 1)
        number = array.item() if array.size == 1 and array.dtype.kind in "iuf" else math.nan
        if array.ndim > 1 or not low <= number <= high or number != int(number):
            raise ValueError(f"{name} must be an integer from {low} to {high}, got {action!r}")
        return int(number), float(number)
    if array.dtype.kind not in "iuf" or array.shape not in ((), (1,)):
        raise ValueError(f"{name} must be one number, an array of shape (1,), got {action!r}")
    cast = array.reshape(1).astype(space.dtype)
    if not np.isfinite(cast).all():
        raise ValueError(f"{name} must be finite, got {action!r}")
    return cast, float(cast[0])


def advance(
    known: KnownDynamics, simulator: Simulator, action: Any, done: Mapping[int, float]
) -> tuple[float, bool]:
    """One step of the simulator, in place, with some of its new state set.

    Args:
        known: the description.
        simulator: in the state before the step.
        action: as the simulator takes it.
        done: column to the value that this variable has after the step, whatever its mechanism
            says; its children inside the step read that value.

    Returns:
        Reward and termination.
    """
    before = known.read(simulator) if done else None
    _, reward, terminated, _, _ = simulator.step(action)
    if before is None:
        return float(reward), bool(terminated)
    after = known.settle(simulator, before, action, known.read(simulator), done)
    known.write(simulator, after)
    return known.outcome(simulator, action, after, float(reward), bool(terminated))


def detached(simulator: Simulator) -> Simulator:
    """A copy that can be stepped without touching the original, its window or its generator."""
    other = copy.copy(simulator)
    other.render_mode = None
    return other


# ------------------------------------------------------------------ CartPole


def _write_cartpole(simulator: Simulator, state: State) -> None:
    write_state(simulator, state)
    # The reward after termination depends on this counter; a written state is a fresh one.
    simulator.steps_beyond_terminated = None


def _outcome_cartpole(
    simulator: Simulator, action: Any, after: State, reward: float, terminated: bool
) -> tuple[float, bool]:
    x, theta = after[0], after[2]
    fallen = bool(abs(x) > simulator.x_threshold or abs(theta) > simulator.theta_threshold_radians)
    if not simulator._sutton_barto_reward:
        return 1.0, fallen
    return (-1.0 if fallen else 0.0), fallen


CARTPOLE = KnownDynamics(
    name="cartpole",
    gym_id="CartPole-v1",
    states=("x", "x_dot", "theta", "theta_dot"),
    action="push",
    contemporaneous=(("push", "x_dot"), ("push", "theta_dot")),
    lagged=(
        ("x", "x"),
        ("x_dot", "x"),
        ("x_dot", "x_dot"),
        ("theta", "x_dot"),
        ("theta_dot", "x_dot"),
        ("theta", "theta"),
        ("theta_dot", "theta"),
        ("theta", "theta_dot"),
        ("theta_dot", "theta_dot"),
    ),
    # 1 at every step of an episode, the last one included: no variable moves it.
    reward_contemporaneous=(),
    reward_lagged=(),
    low=(-math.inf,) * 4,
    high=(math.inf,) * 4,
    # On the thresholds where an episode ends, so that the next step is on either side of them.
    probe_low=(-2.4, -3.0, -math.radians(12.0), -3.0),
    probe_high=(2.4, 3.0, math.radians(12.0), 3.0),
    near_unfaithful=(
        WeakEdge("lagged", "theta_dot", "x_dot", "weak: the centrifugal term of a light pole"),
    ),
    notes=(
        "Euler steps read the old velocities, so no new state is computed from another new state.",
        "push is 0 (force -10) or 1 (force +10).",
        "The reward is the constant 1; x and theta end the episode, which is no node here.",
    ),
    write=_write_cartpole,
    outcome=_outcome_cartpole,
)


# ------------------------------------------------------------------ Pendulum


def _settle_pendulum(
    simulator: Simulator, before: State, action: Any, after: State, done: Mapping[int, float]
) -> State:
    theta, theta_dot = 0, 1
    if theta_dot in done:
        after[theta_dot] = done[theta_dot]
        after[theta] = before[theta] + after[theta_dot] * simulator.dt
    if theta in done:
        after[theta] = done[theta]
    return after


PENDULUM = KnownDynamics(
    name="pendulum",
    gym_id="Pendulum-v1",
    states=("theta", "theta_dot"),
    action="torque",
    contemporaneous=(("torque", "theta_dot"), ("theta_dot", "theta")),
    lagged=(("theta", "theta"), ("theta", "theta_dot"), ("theta_dot", "theta_dot")),
    reward_contemporaneous=("torque",),
    # The costs are taken before the integration.
    reward_lagged=("theta", "theta_dot"),
    low=(-math.inf, -8.0),
    high=(math.inf, 8.0),
    probe_low=(-2.0 * math.pi, -8.0),
    probe_high=(2.0 * math.pi, 8.0),
    latent_observation=True,
    near_unfaithful=(
        WeakEdge("contemporaneous", "torque", "reward", "weak: 0.001 u^2, and even"),
        WeakEdge("lagged", "theta", "theta_dot", "strong, but a sine over whole turns"),
        WeakEdge("lagged", "theta", "reward", "strong, but even"),
        WeakEdge("lagged", "theta_dot", "reward", "strong, but even"),
    ),
    notes=(
        "The angle is integrated with the NEW velocity: theta_dot -> theta inside the step.",
        "The angle is latent and unwrapped, as the simulator keeps it; 0 is upright.",
        "theta' = theta + 0.05 theta_dot' exactly: nothing but the source orients this edge.",
    ),
    settle=_settle_pendulum,
)


# ------------------------------------------------------------------ MountainCarContinuous


def _settle_mountain_car(
    simulator: Simulator, before: State, action: Any, after: State, done: Mapping[int, float]
) -> State:
    position, velocity = 0, 1
    factual = after[position]
    if position in done:
        after[position] = done[position]
    if velocity in done:
        after[velocity] = done[velocity]
    elif after[position] != factual:
        # The velocity before the wall is asked: that of the same step without a wall.
        free = detached(simulator)
        free.min_position = -math.inf
        write_state(free, before)
        free.step(action)
        speed = free.state[velocity]
        at_wall = after[position] == after.dtype.type(simulator.min_position)
        after[velocity] = 0.0 if at_wall and speed < 0.0 else speed
    return after


def _outcome_mountain_car(
    simulator: Simulator, action: Any, after: State, reward: float, terminated: bool
) -> tuple[float, bool]:
    arrived = bool(after[0] >= simulator.goal_position and after[1] >= simulator.goal_velocity)
    return (100.0 if arrived else 0.0) - math.pow(action[0], 2) * 0.1, arrived


MOUNTAIN_CAR = KnownDynamics(
    name="mountain-car",
    gym_id="MountainCarContinuous-v0",
    states=("position", "velocity"),
    action="force",
    contemporaneous=(("force", "position"), ("force", "velocity"), ("position", "velocity")),
    lagged=(
        ("position", "position"),
        ("velocity", "position"),
        ("position", "velocity"),
        ("velocity", "velocity"),
    ),
    reward_contemporaneous=("position", "velocity", "force"),
    reward_lagged=(),
    low=(-1.2, -0.07),
    high=(0.6, 0.07),
    probe_low=(-1.2, -0.07),
    probe_high=(0.6, 0.07),
    near_unfaithful=(
        WeakEdge("contemporaneous", "position", "velocity", "acts at the left wall only"),
        WeakEdge("contemporaneous", "position", "reward", "acts at the goal only"),
        WeakEdge("contemporaneous", "velocity", "reward", "no car that moves arrives backwards"),
        WeakEdge("contemporaneous", "force", "velocity", "hidden by velocity' = position change"),
        WeakEdge("contemporaneous", "force", "reward", "strong, but even"),
        WeakEdge("lagged", "velocity", "velocity", "hidden by velocity' = position change"),
    ),
    notes=(
        "The source integrates velocity, then position, then zeroes velocity at the left wall.",
        "The state keeps the last velocity: an effect of position (at the wall), no cause of it.",
        "Off the wall position' = position + velocity' exactly: nothing but the source orients it.",
    ),
    settle=_settle_mountain_car,
    outcome=_outcome_mountain_car,
)

#: The descriptions by short name.
GYM_DYNAMICS: dict[str, KnownDynamics] = {
    known.name: known for known in (CARTPOLE, PENDULUM, MOUNTAIN_CAR)
}
