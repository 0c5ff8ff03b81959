"""Random worlds with a binary treatment, its confounders, mediators and colliders, and twins.

The recipe of the effect benchmarks: an Erdős-Rényi or scale-free graph whose edges are lines, tanhs
and sines, every variable standardised as it is built (no order of variances to read), one variable
made a treatment by a coin whose bias its parents set, and one of its confounded descendants the
outcome. Nothing in a table says which of the other columns come before the treatment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causal_rl.benchmarks.static_models import Structure, draw_structure
from causal_rl.graphs import CausalGraph, reachability, topological_order
from causal_rl.scm import SCM, Categorical, Gaussian, Mechanism, Variable, affine
from causal_rl.scm.mechanisms import ColumnMechanism

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]
Shape = Literal["linear", "tanh", "sin"]
SHAPES: tuple[Shape, ...] = ("linear", "tanh", "sin")

TREATMENT, OUTCOME = "t", "y"
VARIABLES, DEGREE = 10, 4
NOISE, SLOPE, MODIFICATION = 0.7, 1.5, 0.6
_LEAST_WEIGHT, _MOST_WEIGHT = 0.5, 2.0
# Rows from which the constants that standardise a world are taken, and noises a row of a CATE.
_STANDARDISING_ROWS = 20_000
_CATE_DRAWS = 256
_CATE_ROWS = 4_000
_TRIES = 1_000


@dataclass(frozen=True, eq=False)
class EdgeSum(ColumnMechanism):
    """sum_k weights[k] f_k(x_k), f_k the identity, tanh or sine.

    A treatment among the parents counts as -1 or 1, times 1 + 0.6 tanh(x_m) where it has a
    modifier m.

    Attributes:
        weights: one a parent.
        shapes: one a parent.
        treated: which parent is the treatment, or None.
        modifier: which parent modifies its effect, or None.
    """

    weights: tuple[float, ...]
    shapes: tuple[Shape, ...]
    treated: int | None = None
    modifier: int | None = None
    n_parents: int | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_parents", len(self.weights))

    def evaluate(self, columns: Sequence[Array], batch: int) -> Array:
        """The sum; see `Mechanism.evaluate`."""
        total = np.zeros(batch)
        for k, column in enumerate(columns):
            if k == self.treated:
                term = 2.0 * column - 1.0
                if self.modifier is not None:
                    term *= 1.0 + MODIFICATION * np.tanh(columns[self.modifier])
            elif self.shapes[k] == "linear":
                term = column
            else:
                term = np.tanh(column) if self.shapes[k] == "tanh" else np.sin(column)
            total += self.weights[k] * term
        return total


@dataclass(frozen=True)
class Twins:
    """Rows and what their outcome would have been under either treatment, the noise kept.

    Attributes:
        table: ``(n, d)`` factual rows.
        y0: ``(n,)`` the outcome had the treatment been 0.
        y1: ``(n,)`` the outcome had it been 1; one of the two is the factual one.
    """

    table: Array
    y0: Array
    y1: Array


@dataclass(frozen=True, eq=False)
class Study:
    """Rows of a world as an estimator of effects is given them.

    Attributes:
        X: ``(n, p)`` covariates.
        t: ``(n,)`` treatments.
        y: ``(n,)`` outcomes.
        names: of the covariates X1, X2, ..., then treatment and outcome.
        truth: the true graph over ``names``.
    """

    X: Array
    t: NDArray[np.int64]
    y: Array
    names: tuple[str, ...]
    truth: CausalGraph

    @property
    def table(self) -> Array:
        """``(n, p + 2)`` columns in the order of ``names``."""
        return np.column_stack([self.X, self.t, self.y])


@dataclass(frozen=True, eq=False)
class TreatmentWorld:
    """A model with a treatment and an outcome.

    Attributes:
        scm: the truth. Columns are in random order; the treatment is 0 or 1, the others have mean
            0 and variance 1.
        treatment: column of the treatment.
        outcome: column of the outcome.
    """

    scm: SCM
    treatment: int
    outcome: int

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns: "t", "y", and "x1", "x2", ... for the others."""
        return self.scm.names

    @property
    def graph(self) -> CausalGraph:
        """The true graph over all columns."""
        return self.scm.graph

    @property
    def adjacency(self) -> BoolMatrix:
        """``(d, d)`` [i, j] true if i causes j."""
        return self.graph.contemporaneous

    @property
    def covariates(self) -> list[int]:
        """Columns that are neither treatment nor outcome, whatever their roles."""
        return [i for i in range(self.scm.d) if i not in (self.treatment, self.outcome)]

    @property
    def unaffected(self) -> list[int]:
        """Columns that the treatment does not reach: its non-descendants, without itself."""
        reached = _reach(self.adjacency)[self.treatment]
        return [i for i in range(self.scm.d) if i != self.treatment and not reached[i]]

    def sample(self, n: int, rng: np.random.Generator | int) -> Array:
        """Independent rows, ``(n, d)``."""
        return self.scm.sample(n, rng)

    def twins(self, n: int, rng: np.random.Generator | int) -> Twins:
        """Independent rows and their outcomes under both treatments, the noise kept.

        Args:
            n: rows.
            rng: generator or seed.
        """
        table = self.scm.sample(n, rng)
        low, high = (self._under(table, arm) for arm in (0.0, 1.0))
        return Twins(table, low, high)

    def study(self, rows: Array) -> Study:
        """What an estimator is given of rows ``(n, d)``, and the true graph over it."""
        inputs = self.covariates
        names = (*(f"X{i + 1}" for i in range(len(inputs))), TREATMENT, OUTCOME)
        order = [*inputs, self.treatment, self.outcome]
        return Study(
            X=rows[:, inputs],
            t=rows[:, self.treatment].astype(np.int64),
            y=rows[:, self.outcome],
            names=names,
            truth=CausalGraph(self.adjacency[np.ix_(order, order)], names=names),
        )

    def _under(self, table: Array, arm: float) -> Array:
        return self.scm.counterfactual(table, {TREATMENT: arm})[:, self.outcome]

    def cate(self, table: Array, rng: np.random.Generator | int, draws: int = _CATE_DRAWS) -> Array:
        """E[Y | do(T = 1), z] - E[Y | do(T = 0), z], z the columns that T does not reach.

        Args:
            table: ``(n, d)`` rows; what T reaches is not read.
            rng: of the noise that is averaged over, the same in both arms.
            draws: noises a row.

        Returns:
            ``(n,)``.
        """
        generator = np.random.default_rng(rng)
        chunk = max(_CATE_ROWS * 64 // draws, 1)
        parts = [
            self._cate(table[start : start + chunk], generator, draws)
            for start in range(0, len(table), chunk)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _cate(self, table: Array, rng: np.random.Generator, draws: int) -> Array:
        # Columns that T does not reach keep their noise, hence their values; the rest draw anew.
        rows = np.repeat(table, draws, axis=0)
        noise = self.scm.abduct(rows)
        reached = np.flatnonzero(_reach(self.adjacency)[self.treatment])
        for i in reached.tolist():
            noise[:, i] = self.scm.variables[i].noise.sample(rng, len(rows))
        low, high = (
            self.scm.from_noise(noise, {TREATMENT: arm})[:, self.outcome] for arm in (0.0, 1.0)
        )
        return np.asarray((high - low).reshape(len(table), draws).mean(axis=1))


def draw_treatment_world(
    structure: Structure, seed: int, *, variables: int = VARIABLES, degree: int = DEGREE
) -> TreatmentWorld:
    """Draw graph, mechanisms, treatment and outcome.

    Weights are uniform in ±[0.5, 2], noise has standard deviation 0.7 before standardisation, and
    P(T = 1) = sigmoid(1.5 z), z the standardised sum over T's parents. T's effect on each child is
    modified by one of the child's other parents that T does not reach, if it has one.

    Args:
        structure: "er" or "sf".
        seed: of everything; the same seed gives the same world.
        variables: columns, more than ``degree``.
        degree: expected number of neighbours of a variable.

    Returns:
        The world. T has a common cause with Y, reaches Y, and on a path to Y its effect is
        modified.

    Raises:
        ValueError: no graph of these sizes has such a pair.
    """
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        adjacency = draw_structure(structure, variables, degree // 2, rng)
        shuffled = rng.permutation(variables)
        adjacency = adjacency[np.ix_(shuffled, shuffled)]
        pairs = _pairs(adjacency)
        if pairs:
            t, y = pairs[int(rng.integers(len(pairs)))]
            return TreatmentWorld(_build(adjacency, t, y, rng), t, y)
    raise ValueError(f"no graph of {variables} variables and degree {degree} has such a treatment")


def _pairs(adjacency: BoolMatrix) -> list[tuple[int, int]]:
    """Pairs (t, y): y a descendant of t, confounded, and t's effect on it modified."""
    reach = _reach(adjacency)
    found = []
    for t in range(len(adjacency)):
        cut = adjacency.copy()
        cut[t] = False
        without = _reach(cut)
        for y in np.flatnonzero(reach[t]).tolist():
            confounded = bool((reach[:, t] & without[:, y]).any())
            on_path = [c for c in np.flatnonzero(adjacency[t]).tolist() if c == y or reach[c, y]]
            if confounded and any(_modifiers(adjacency, reach, t, c) for c in on_path):
                found.append((t, y))
    return found


def _modifiers(adjacency: BoolMatrix, reach: BoolMatrix, t: int, child: int) -> list[int]:
    """Other parents of a child that the treatment does not reach."""
    others = adjacency[:, child] & ~reach[t]
    others[t] = False
    return np.flatnonzero(others).tolist()


def _build(adjacency: BoolMatrix, t: int, y: int, rng: np.random.Generator) -> SCM:
    """The model, standardised in causal order on one large sample."""
    d = len(adjacency)
    reach = _reach(adjacency)
    others = iter(range(1, d))
    names = [TREATMENT if i == t else OUTCOME if i == y else f"x{next(others)}" for i in range(d)]
    values = np.zeros((_STANDARDISING_ROWS, d))
    made: dict[int, Variable] = {}
    for j in topological_order(adjacency):
        parents = np.flatnonzero(adjacency[:, j]).tolist()
        mechanism, noise = _edge_sum(adjacency, reach, j, t, rng), Gaussian(NOISE)
        columns = [np.ascontiguousarray(values[:, i]) for i in parents]
        total = mechanism.evaluate(columns, len(values))
        told = tuple(names[i] for i in parents)
        if j == t:
            centre, scale = float(total.mean()), float(total.std())
            bias = affine(mechanism, -SLOPE * centre / scale, SLOPE / scale)
            coin = Categorical([affine(mechanism, 0.0, 0.0), bias])
            made[j] = Variable(names[j], coin, parents=told)
            values[:, j] = coin.respond(columns, rng.random(len(values)), len(values))
            continue
        drawn = total + noise.sample(rng, len(values))
        centre, scale = float(drawn.mean()), float(drawn.std())
        values[:, j] = (drawn - centre) / scale
        standard: Mechanism | None = affine(mechanism, -centre / scale, 1.0 / scale)
        made[j] = Variable(names[j], standard if told else None, noise.scaled(1.0 / scale), told)
    return SCM([made[j] for j in range(d)])


def _edge_sum(
    adjacency: BoolMatrix, reach: BoolMatrix, j: int, t: int, rng: np.random.Generator
) -> EdgeSum:
    parents = np.flatnonzero(adjacency[:, j]).tolist()
    size = rng.uniform(_LEAST_WEIGHT, _MOST_WEIGHT, len(parents))
    weights = size * rng.choice([-1.0, 1.0], len(parents))
    shapes = tuple(SHAPES[k] for k in rng.integers(len(SHAPES), size=len(parents)))
    treated = modifier = None
    if t in parents:
        treated = parents.index(t)
        allowed = _modifiers(adjacency, reach, t, j)
        modifier = parents.index(int(rng.choice(allowed))) if allowed else None
    return EdgeSum(tuple(weights.tolist()), shapes, treated, modifier)


def _reach(adjacency: BoolMatrix) -> BoolMatrix:
    """``(d, d)`` [i, j] true if a directed path of at least one edge leads from i to j."""
    return reachability(adjacency) & ~np.eye(len(adjacency), dtype=np.bool_)
