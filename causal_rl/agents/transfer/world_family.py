"""A family of random worlds: which are trained on, which are unseen, and what is asked of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery import Transitions
from causal_rl.envs.worlds.control import Inertia
from causal_rl.graphs import topological_order
from causal_rl.options import check_integer
from causal_rl.scm import (
    MECHANISMS,
    DynamicSCM,
    Topology,
    Variable,
    affine,
    random_variables,
    topology,
)

FloatArray = NDArray[np.float64]

#: Interventions are drawn from [-2, 2]; every variable has variance 1 or about it.
MAX_VALUE = 2.0
_EPISODES = 32
_BURN_IN = 16
# Steps and episodes of the simulation that fixes scales.
_RUN = (48, 128)
_TRIES = 1_000
# Streams of random numbers of a world that must not share any.
_WORLD, _TRANSITIONS, _QUERIES = 1, 2, 3


@dataclass(frozen=True)
class Queries:
    """Questions to a world, and their answers: what is next, under do(X_j = v) or under nothing?

    Attributes:
        previous: (queries, n) all variables before the step.
        do_mask: bool (queries, n), at most one true in a row.
        do_value: (queries, n) the value set; 0 where nothing is.
        mean: (queries, n) mean of the variables after the step.
        spread: (queries, n) their standard deviation.
    """

    previous: FloatArray
    do_mask: NDArray[np.bool_]
    do_value: FloatArray
    mean: FloatArray
    spread: FloatArray

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.previous)


@dataclass(frozen=True)
class WorldFamily:
    """Random worlds of one kind, drawn by size and seed.

    The graph inside a step is random with permuted labels. Mechanisms are standardised as they are
    drawn (`random_variables`), so that variances do not tell the order. Some variables remember
    themselves: their previous value is added to what their causes do.

    Args:
        topology: of the graph inside a step.
        mechanism: "linear", "tanh", "mlp", "gp" or "polynomial".
        density: expected edges for each variable, for "er" and "sf".
        noise_share: share of noise in a variable's variance, in (0, 1), or "balanced".
        memory: share of variables that remember themselves, in [0, 1].

    Raises:
        ValueError: an unknown topology or mechanism, or a number out of its range.
    """

    topology: Topology = "er"
    mechanism: str = "tanh"
    density: float = 1.5
    noise_share: float | str = 0.2
    memory: float = 0.5

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("topology", self.topology, get_args(Topology)),
            ("mechanism", self.mechanism, MECHANISMS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        if not 0.0 < self.density < math.inf:
            raise ValueError(f"density must be above 0, got {self.density!r}")
        if not 0.0 <= self.memory <= 1.0:
            raise ValueError(f"memory must be in [0, 1], got {self.memory!r}")
        share = self.noise_share
        if share != "balanced" and (isinstance(share, str) or not 0.0 < share < 1.0):
            raise ValueError(f"noise_share must be in (0, 1) or 'balanced', got {share!r}")

    def adjacency(self, n: int, seed: int) -> NDArray[np.bool_]:
        """The graph inside a step of one world, without drawing the rest of it.

        Args:
            n: variables, at least 2.
            seed: of the world.

        Returns:
            bool (n, n), [i, j] true if i causes j.

        Raises:
            ValueError: n or seed out of its range.
        """
        return self._adjacency(n, _generator(_WORLD, n, seed))

    def world(self, n: int, seed: int) -> DynamicSCM:
        """Draw one world.

        Args:
            n: variables, at least 2.
            seed: of graph, labels and mechanisms.

        Raises:
            ValueError: n or seed out of its range.
        """
        rng = _generator(_WORLD, n, seed)
        drawn = random_variables(
            self._adjacency(n, rng), self.mechanism, rng, noise_share=self.noise_share
        )
        lags = np.where(rng.random(n) < self.memory, rng.uniform(0.2, 0.7, n), 0.0)
        return DynamicSCM(_with_memory(drawn, lags, rng))

    def split(
        self,
        train: tuple[int, int],
        unseen: dict[int, int],
        *,
        seed: int = 0,
    ) -> WorldSplit:
        """Choose the worlds to train on and worlds that no training has seen.

        A graph of an unseen world is none of the training graphs with other labels. Where the size
        differs this is so in any case; a topology that knows only one graph of a size, such as
        "chain", has no unseen graph of the training size.

        Args:
            train: variables and number of the training worlds.
            unseen: number of unseen worlds by their number of variables.
            seed: splits of different seeds share no world.

        Returns:
            The split.

        Raises:
            ValueError: a number below 1, or no unseen graph is found.
        """
        n, count = train
        counts = {"train": count, **{f"unseen[{k}]": v for k, v in unseen.items()}}
        bad = next((name for name, value in counts.items() if value < 1), None)
        if bad is not None:
            raise ValueError(f"{bad} must be at least 1 world, got {counts[bad]}")
        first = 1_000_000 * _index("seed", seed)
        train_seeds = tuple(range(first, first + count))
        seen = {graph_shape(self.adjacency(n, s)) for s in train_seeds}
        found: dict[int, tuple[int, ...]] = {}
        for size, wanted in unseen.items():
            seeds: list[int] = []
            candidate = first + 500_000
            while len(seeds) < wanted:
                if candidate - first - 500_000 >= _TRIES + wanted:
                    raise ValueError(
                        f"unseen[{size}]: only {len(seeds)} of {wanted} graphs are not among the "
                        f"training graphs; allow a richer topology than {self.topology!r}"
                    )
                if size != n or graph_shape(self.adjacency(size, candidate)) not in seen:
                    seeds.append(candidate)
                candidate += 1
            found[size] = tuple(seeds)
        return WorldSplit(n, train_seeds, found)

    def _adjacency(self, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        # An "er" graph of few variables cannot have more edges than there are pairs.
        density = min(self.density, (n - 1) / 2) if self.topology == "er" else self.density
        for _ in range(_TRIES):
            drawn = np.asarray(topology(self.topology, n, rng, density), dtype=np.bool_)
            if drawn.any():
                return drawn
        raise ValueError(f"density {self.density} draws no edge among {n} variables")


@dataclass(frozen=True)
class WorldSplit:
    """Worlds to train on and unseen worlds, by seed.

    Attributes:
        size: variables of the training worlds.
        train: their seeds.
        unseen: seeds of the unseen worlds by their number of variables; no seed is in ``train``.
    """

    size: int
    train: tuple[int, ...]
    unseen: dict[int, tuple[int, ...]]


def random_transitions(scm: DynamicSCM, rows: int, *, seed: int) -> Transitions:
    """First transitions of a world under random interventions.

    Each step sets one variable, or none, all equally likely, to a uniform value of [-2, 2].

    Args:
        scm: the world, without contexts.
        rows: transitions, at least 1; fewer rows are the beginning of more.
        seed: of noise and interventions.

    Raises:
        ValueError: rows below 1 or a negative seed.
    """
    _index("rows", rows, least=1)
    rng = _generator(_TRANSITIONS, scm.n, seed)
    current = _burnt_in(scm, _EPISODES, rng)
    steps = math.ceil(rows / _EPISODES)
    states = np.empty((steps + 1, _EPISODES, scm.n))
    states[0] = current
    masks = np.empty((steps, _EPISODES, scm.n), dtype=np.bool_)
    for t in range(steps):
        masks[t], value = _interventions(scm.n, _EPISODES, rng)
        states[t + 1] = scm.step(states[t], scm.sample_noise(rng, _EPISODES), None, masks[t], value)
    return Transitions(
        state=states[:-1].reshape(-1, scm.n)[:rows],
        next_state=states[1:].reshape(-1, scm.n)[:rows],
        do_target=masks.reshape(-1, scm.n)[:rows],
        names=scm.names,
    )


def ask(scm: DynamicSCM, queries: int, *, seed: int, samples: int = 64) -> Queries:
    """Ask a world, and let it answer by simulation.

    Args:
        scm: the world, without contexts.
        queries: how many; each sets one variable or none, as `random_transitions` does, from a
            state of a run of such interventions.
        seed: of questions and noise.
        samples: draws of the noise behind each answer, in pairs of opposite signs where noise is
            symmetric about 0; even. The standard error of an answer is at most
            ``spread / sqrt(samples)``.

    Raises:
        ValueError: a number out of its range.
    """
    _index("queries", queries, least=1)
    if _index("samples", samples, least=2) % 2:
        raise ValueError(f"samples must be even, got {samples}")
    rng = _generator(_QUERIES, scm.n, seed)
    previous = _burnt_in(scm, queries, rng)
    for _ in range(2):
        mask, value = _interventions(scm.n, queries, rng)
        previous = scm.step(previous, scm.sample_noise(rng, queries), None, mask, value)
    mask, value = _interventions(scm.n, queries, rng)
    half = rng.random((queries * samples // 2, scm.n))
    uniforms = np.concatenate([half, 1.0 - half]).clip(1e-12, 1 - 1e-12)

    def tiled(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.tile(array, (samples, 1))

    after = scm.step(
        tiled(previous), scm.noise_from_uniforms(uniforms), None, tiled(mask), tiled(value)
    ).reshape(samples, queries, scm.n)
    return Queries(
        np.ascontiguousarray(previous), mask, value, after.mean(axis=0), after.std(axis=0)
    )


def _with_memory(
    variables: tuple[Variable, ...], lags: FloatArray, rng: np.random.Generator
) -> list[Variable]:
    """Add to each variable ``lag`` times its own previous value, and keep its variance at 1.

    What causes remember makes them vary together over time, so scales come from a simulation in
    which each variable is standardised before its effects are reached.
    """
    names = [v.name for v in variables]
    made = list(variables)
    runs: dict[str, FloatArray] = {}
    adjacency = np.array([[name in v.parents for v in variables] for name in names])
    for j in topological_order(adjacency):
        v, lag = variables[j], float(lags[j])
        effect = v.function.evaluate([runs[p].ravel() for p in v.parents], _RUN[0] * _RUN[1])
        drive = np.reshape(effect - effect.mean(), _RUN) + v.noise.sample(rng, _RUN)
        for t in range(1, len(drive)):
            drive[t] += lag * drive[t - 1]
        spread = float(drive[_BURN_IN:].std())
        runs[v.name] = drive / spread
        mechanism = affine(v.function, -float(effect.mean()) / spread, 1.0 / spread)
        made[j] = v.replace(
            mechanism=Inertia(mechanism, lag) if lag else mechanism,
            noise=v.noise.scaled(1.0 / spread),
            lagged_parents=(v.name,) if lag else (),
        )
    return made


def _burnt_in(scm: DynamicSCM, batch: int, rng: np.random.Generator) -> FloatArray:
    if len(scm.contexts):
        name = scm.names[int(scm.contexts[0])]
        raise ValueError(f"scm must have no context, got one named {name!r}")
    state = scm.initial(scm.sample_noise(rng, batch))
    for _ in range(_BURN_IN):
        state = scm.step(state, scm.sample_noise(rng, batch))
    return state


def _interventions(
    n: int, batch: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], FloatArray]:
    target = rng.integers(-1, n, batch)
    mask = target[:, None] == np.arange(n)
    return mask, np.where(mask, rng.uniform(-MAX_VALUE, MAX_VALUE, (batch, 1)), 0.0)


def _generator(stream: int, n: int, seed: int) -> np.random.Generator:
    return np.random.default_rng([stream, _index("n", n, least=2), _index("seed", seed)])


def _index(name: str, value: int, least: int = 0) -> int:
    check_integer(name, value, least=least)
    return int(value)


def graph_shape(adjacency: NDArray[np.bool_]) -> str:
    """A name that a graph keeps under relabelling; different names mean different graphs.

    Weisfeiler and Lehman's refinement: a variable is named after itself, its causes and effects.

    Args:
        adjacency: bool (n, n).
    """
    labels = [""] * len(adjacency)
    for _ in labels:
        around = [
            [sorted(labels[k] for k in np.flatnonzero(side)) for side in (row, column)]
            for row, column in zip(adjacency, adjacency.T, strict=True)
        ]
        labels = [
            hashlib.sha256(repr((own, near)).encode()).hexdigest()[:16]
            for own, near in zip(labels, around, strict=True)
        ]
    return " ".join(sorted(labels))
