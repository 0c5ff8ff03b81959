"""Which inputs of a real simulator move which of its outputs: perturbed, not read from a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs.gym_dynamics import draw_action, random_transitions
from causal_rl.envs.known_dynamics import (
    REWARD,
    KnownDynamics,
    advance,
    read_action,
)
from causal_rl.errors import import_extra
from causal_rl.graphs import CausalGraph

#: Share of visited points, and partial R^2, below which an edge counts as near-unfaithful.
FAINT = 0.05


@dataclass(frozen=True)
class EdgeStrength:
    """How much of one true edge a random policy's data show.

    Args:
        block: "contemporaneous" or "lagged".
        parent: its name.
        child: its name.
        moved: share of visited points at which replacing the parent alone, by its value at another
            visited point, moves the child; the child's other parents are held.
        effect: root mean square of that move, in standard deviations of the child; 0 without move.
        partial_r2: share of the child's variance left by a linear regression on its other parents
            that the parent explains: what linear tests and scores see of the edge.
    """

    block: str
    parent: str
    child: str
    moved: float
    effect: float
    partial_r2: float

    @property
    def near_unfaithful(self) -> bool:
        """Whether the data hardly show the edge: it rarely acts, or not to a linear eye.

        ``moved`` or ``partial_r2`` is below ``FAINT``.
        """
        return self.moved < FAINT or self.partial_r2 < FAINT


class _Probe:
    """The real simulator as a function of state, action and what is set inside the step."""

    def __init__(self, known: KnownDynamics) -> None:
        self.known = known
        self.env = known.make()
        self.env.reset(seed=0)  # Gymnasium refuses to step before; every state is written anyway
        self.simulator: Any = self.env.unwrapped

    def __call__(
        self, row: NDArray[np.float64], done: dict[int, float] | None = None
    ) -> NDArray[np.float64]:
        """State and action (n,) -> new state, action and reward (n + 1,)."""
        self.known.write(self.simulator, row[:-1])
        given, value = read_action(self.env.action_space, row[-1], self.known.action)
        reward, _ = advance(self.known, self.simulator, given, done or {})
        return np.concatenate([self.known.read(self.simulator), [value, reward]])

    def draw(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """A state of the probe box and a uniform action, (n,).

        A coordinate is on its lower or upper bound with probability 0.1 each, else uniform: walls
        and limits sit on bounds, and a uniform draw never meets them.
        """
        low, high = np.array(self.known.probe_low), np.array(self.known.probe_high)
        where = rng.random(len(low))
        state = np.where(where < 0.1, low, np.where(where > 0.9, high, rng.uniform(low, high)))
        return np.append(state, draw_action(self.env.action_space, rng)[1])


def perturbation_check(
    known: KnownDynamics,
    rng: np.random.Generator | int,
    n_points: int = 400,
    *,
    direct: bool = False,
) -> CausalGraph:
    """The graph that the real simulator shows when its inputs are moved one at a time.

    At each point every latent state variable and the action is replaced alone, by a draw from its
    range; an output that differs in any bit has that input as a cause. Half of the points are
    visited by a random policy, half are drawn from the probe box, bounds included. The absence of
    an edge is as good as the number of points; its presence is certain.

    Args:
        known: the description; only its reading and writing of the state are used, not its edges
            (unless ``direct``).
        rng: generator, or a seed for one.
        n_points: points, at least 2.
        direct: hold the child's stated parents inside the step at their factual values, and move
            these too: the graph of direct effects, to be compared with ``known.causal_graph``.
            Otherwise whole steps are compared: ``known.one_step_graph``.

    Returns:
        A graph over states, action and reward.

    Raises:
        ValueError: ``n_points`` is no integer above 1.
    """
    if isinstance(n_points, bool) or not isinstance(n_points, int | np.integer) or n_points < 2:
        raise ValueError(f"n_points must be an integer above 1, got {n_points!r}")
    generator = np.random.default_rng(rng)
    probe = _Probe(known)
    visited = random_transitions(known, n_points // 2, generator)
    points = [*_inputs(visited), *(probe.draw(generator) for _ in range(n_points - len(visited)))]
    n = len(known.names)
    contemporaneous = np.zeros((n + 1, n + 1), dtype=np.bool_)
    lagged = np.zeros((n + 1, n + 1), dtype=np.bool_)
    children = [*range(n - 1), n]  # the new states and the reward; the action is set
    for point in points:
        other, base = probe.draw(generator), probe(point)
        for child in children if direct else ():
            held = _held(known, base, child)
            for parent in held:
                moved = probe(point, {**held, parent: other[parent]})
                contemporaneous[parent, child] |= moved[child] != base[child]
            for parent in range(n):
                moved = probe(_replaced(point, parent, other[parent]), held)
                block = contemporaneous if parent == n - 1 else lagged
                block[parent, child] |= moved[child] != base[child]
        for parent in () if direct else range(n):
            moved = probe(_replaced(point, parent, other[parent]))
            block = contemporaneous if parent == n - 1 else lagged
            block[parent, children] |= moved[children] != base[children]
    return known.causal_graph.with_(contemporaneous=contemporaneous, lagged=lagged)


def edge_strengths(
    known: KnownDynamics, rng: np.random.Generator | int, n: int = 2000
) -> list[EdgeStrength]:
    """Measure every true edge under a policy that draws its actions uniformly.

    Args:
        known: the description.
        rng: generator, or a seed for one.
        n: visited points, at least 10.

    Returns:
        One entry an edge of ``known.causal_graph``, in the order of its ``edges()``.

    Raises:
        ValueError: ``n`` is no integer above 9.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 10:
        raise ValueError(f"n must be an integer above 9, got {n!r}")
    generator = np.random.default_rng(rng)
    probe = _Probe(known)
    data = random_transitions(known, n, generator)
    points = _inputs(data)
    base = np.array([probe(point) for point in points])
    names = (*known.names, REWARD)
    graph, strengths = known.causal_graph, []
    for block, parent, child in graph.edges():
        i, j = names.index(parent), names.index(child)
        # The action is an input of the step although its edge is inside it.
        inner = block == "contemporaneous" and i < len(known.states)
        pool = base[:, i] if inner else points[:, i]
        values = pool[generator.permutation(n)]
        moved = np.empty(n)
        for row, point in enumerate(points):
            held = _held(known, base[row], j)
            if inner:
                moved[row] = probe(point, {**held, i: values[row]})[j]
            else:
                moved[row] = probe(_replaced(point, i, values[row]), held)[j]
        change = moved - base[:, j]
        size, spread = float(np.sqrt(np.mean(change**2))), float(base[:, j].std())
        strengths.append(
            EdgeStrength(
                block=block,
                parent=parent,
                child=child,
                moved=float(np.mean(change != 0.0)),
                effect=0.0 if size == 0.0 else size / spread if spread else float("inf"),
                partial_r2=_partial_r2(graph, points, base, i, j, block),
            )
        )
    return strengths


def near_unfaithful(strengths: Sequence[EdgeStrength]) -> list[tuple[str, str, str]]:
    """The edges (block, parent, child) that these data hardly show.

    Args:
        strengths: from `edge_strengths`.
    """
    return [(s.block, s.parent, s.child) for s in strengths if s.near_unfaithful]


def _inputs(data: Transitions) -> NDArray[np.float64]:
    """Inputs of the step, (N, n): the state before it and the action taken in it."""
    return np.column_stack([data.state[:, :-1], data.next_state[:, -1]])


def _replaced(point: NDArray[np.float64], column: int, value: float) -> NDArray[np.float64]:
    other = point.copy()
    other[column] = value
    return other


def _held(known: KnownDynamics, base: NDArray[np.float64], child: int) -> dict[int, float]:
    """The child's parents among the new states, at their factual values."""
    parents = known.causal_graph.contemporaneous[: len(known.states), child]
    return {int(column): float(base[column]) for column in np.flatnonzero(parents)}


def _partial_r2(
    graph: CausalGraph,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    parent: int,
    child: int,
    block: str,
) -> float:
    target = after[:, child]
    if np.ptp(target) == 0.0:
        return 0.0
    columns, dropped = [np.ones(len(target))], -1
    for name, source in (("contemporaneous", after), ("lagged", before)):
        matrix = graph.contemporaneous if name == "contemporaneous" else graph.lagged
        for i in np.flatnonzero(matrix[:, child]):
            if name == block and i == parent:
                dropped = len(columns)
            columns.append(source[:, i])
    design = np.column_stack(columns)
    scale = design.std(axis=0)
    design = design / np.where(scale > 0.0, scale, 1.0)
    target = (target - target.mean()) / target.std()
    left = [
        float(np.mean((target - m @ np.linalg.lstsq(m, target, rcond=None)[0]) ** 2))
        for m in (design, np.delete(design, dropped, axis=1))
    ]
    # Below this the regression without the parent is exact: nothing is left to explain.
    return 0.0 if left[1] < 1e-20 else max(0.0, 1.0 - left[0] / left[1])


@dataclass(frozen=True, eq=False)
class SensitivityGraph:
    """How the next state of a MuJoCo task answers to its inputs, on average over visited states.

    LOCAL and dependent on contacts: an entry says what happens near the states that this policy
    visited. A limb that never touched the ground shows no influence of the ground. No target for a
    graph learner, and for this reason no `CausalGraph`.

    Args:
        inputs: names of the rows: positions, velocities, controls.
        outputs: names of the columns: next positions, next velocities.
        mean_abs: (rows, columns) mean of ``|d output / d input|``, in the simulator's units.
        nonzero: (rows, columns) share of the states at which that exceeds ``threshold``.
        n_points: states.
        threshold: see ``nonzero``.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    mean_abs: NDArray[np.float64]
    nonzero: NDArray[np.float64]
    n_points: int
    threshold: float


def sensitivity_graph(
    env: gymnasium.Env[Any, Any] | str,
    rng: np.random.Generator | int,
    n_points: int = 50,
    *,
    stride: int = 5,
    step_size: float = 1e-6,
    threshold: float = 1e-7,
) -> SensitivityGraph:
    """Central differences of one whole environment step of a MuJoCo task.

    A random policy walks; at every ``stride``-th state each position, velocity and control is moved
    by ``step_size`` both ways and the real simulator runs its ``frame_skip`` steps. Positions are
    moved along the degrees of freedom, so that a free or ball joint (a quaternion) has three angles
    and not four numbers. Activations, if a model has any, are kept and not reported.

    Args:
        env: a MuJoCo environment of Gymnasium, which is stepped and reset; or the id of one.
        rng: generator, or a seed for one.
        n_points: states, at least 1.
        stride: steps from one state to the next, at least 1.
        step_size: of the difference, above 0.
        threshold: sensitivities up to this count as zero; above 0. The constraint solver stops
            early, so that exact zeros come out as small numbers.

    Returns:
        Means and shares over the states.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        TypeError: the environment is no MuJoCo environment.
        ValueError: a number out of its range.
    """
    mujoco = import_extra("mujoco", extra="mujoco")
    for name, number in (("n_points", n_points), ("stride", stride)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise ValueError(f"{name} must be a positive integer, got {number!r}")
    for name, size in (("step_size", step_size), ("threshold", threshold)):
        if not 0.0 < size < np.inf:
            raise ValueError(f"{name} must be a positive number, got {size!r}")
    if isinstance(env, str):
        env = gymnasium.make(env)
    task: Any = getattr(env, "unwrapped", None)
    if not all(hasattr(task, part) for part in ("model", "data", "frame_skip")):
        raise TypeError(f"env must be a MuJoCo environment of Gymnasium, got {type(env).__name__}")
    generator = np.random.default_rng(rng)
    model, data = task.model, task.data
    scratch = mujoco.MjData(model)
    total = np.zeros((2 * model.nv + model.nu, 2 * model.nv))
    count = np.zeros_like(total)
    env.reset(seed=int(generator.integers(2**31)))
    space: Any = env.action_space
    for _ in range(n_points):
        for _ in range(stride):
            action = generator.uniform(space.low, space.high).astype(space.dtype)
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset(seed=int(generator.integers(2**31)))
        control = generator.uniform(space.low, space.high)
        jacobian = np.abs(
            _jacobian(mujoco, model, data, scratch, control, task.frame_skip, step_size)
        )
        total += jacobian
        count += jacobian > threshold
    freedoms = _freedom_names(model)
    states = tuple(f"{kind}:{name}" for kind in ("qpos", "qvel") for name in freedoms)
    controls = tuple(f"ctrl:{model.actuator(i).name or i}" for i in range(model.nu))
    return SensitivityGraph(
        inputs=states + controls,
        outputs=states,
        mean_abs=total / n_points,
        nonzero=count / n_points,
        n_points=n_points,
        threshold=threshold,
    )


def _jacobian(
    mujoco: Any,
    model: Any,
    data: Any,
    scratch: Any,
    control: NDArray[np.float64],
    frame_skip: int,
    step_size: float,
) -> NDArray[np.float64]:
    """Derivatives of next position and velocity by position, velocity and control (in rows)."""
    kind = mujoco.mjtState.mjSTATE_INTEGRATION
    start = np.empty(mujoco.mj_stateSize(model, kind))
    mujoco.mj_getState(model, data, start, kind)
    nv = model.nv

    def run(row: int, size: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        mujoco.mj_setState(model, scratch, start, kind)
        scratch.ctrl[:] = control
        if row < nv:
            direction = np.zeros(nv)
            direction[row] = 1.0
            mujoco.mj_integratePos(model, scratch.qpos, direction, size)
        elif row < 2 * nv:
            scratch.qvel[row - nv] += size
        else:
            scratch.ctrl[row - 2 * nv] += size
        mujoco.mj_step(model, scratch, nstep=frame_skip)
        return scratch.qpos.copy(), scratch.qvel.copy()

    result = np.empty((2 * nv + model.nu, 2 * nv))
    for row in range(len(result)):
        up, down = run(row, step_size), run(row, -step_size)
        mujoco.mj_differentiatePos(model, result[row, :nv], 2.0 * step_size, down[0], up[0])
        result[row, nv:] = (up[1] - down[1]) / (2.0 * step_size)
    return result


def _freedom_names(model: Any) -> list[str]:
    """One name a degree of freedom: that of its joint, numbered where the joint has several."""
    joints = [model.joint(int(model.dof_jntid[i])) for i in range(model.nv)]
    width = [sum(int(j.id) == int(other.id) for other in joints) for j in joints]
    return [
        (j.name or f"joint{j.id}") + (f"[{i - int(j.dofadr[0])}]" if width[i] > 1 else "")
        for i, j in enumerate(joints)
    ]
