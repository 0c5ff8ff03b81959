"""Random tables with known graphs, on which an amortised learner is trained.

Every table is drawn from one of this package's own random models (`random_scm`), with labels in
random order and every column standardised, so that neither says anything of the causal order. Some
tables have a past: columns of the step before, whose own causes are not asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.scm import (
    MECHANISMS,
    DynamicSCM,
    MechanismFactory,
    RandomFeatures,
    random_variables,
    topology,
)

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

#: Rows by which a model's variables are standardised; the tables are standardised once more.
_STANDARDISING_ROWS = 500
_NOISES, _NOISE_SHARES = ("gaussian", "uniform", "laplace"), (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class TaskSizes:
    """How large simulated tables are.

    Args:
        least_variables: columns of the smallest table.
        most_variables: columns of the largest, those of the past counted.
        least_rows: rows of the shortest table.
        most_rows: rows of the longest.
        past_share: share of batches whose tables have a past.

    Raises:
        ValueError: a range that is empty or begins below 2, or a share outside [0, 1].
    """

    least_variables: int = 2
    most_variables: int = 12
    least_rows: int = 50
    most_rows: int = 300
    past_share: float = 0.25

    def __post_init__(self) -> None:
        for what in ("variables", "rows"):
            least, most = getattr(self, f"least_{what}"), getattr(self, f"most_{what}")
            if not 2 <= least <= most:
                raise ValueError(f"{what} must be a range from 2 on, got {least} to {most}")
        if not 0.0 <= self.past_share <= 1.0:
            raise ValueError(f"past_share must be in [0, 1], got {self.past_share}")


@dataclass(frozen=True)
class TaskBatch:
    """Tables of one size and their graphs.

    Attributes:
        values: ``(batch, rows, columns)`` float32, every column of mean 0 and variance 1.
        do_target: ``(batch, rows, columns)`` bool, true where the variable was set.
        past: ``(columns,)`` bool, true for columns of the step before.
        graph: ``(batch, columns, columns)`` bool, [i, j] true if i causes j; edges into the past
            are left out.
    """

    values: Floats
    do_target: Flags
    past: Flags
    graph: Flags


def draw_batch(
    rng: np.random.Generator, sizes: TaskSizes, cells: int, most_tables: int = 64
) -> TaskBatch:
    """Draw a size, and as many tables of it as hold about ``cells`` values.

    Args:
        rng: draws.
        sizes: ranges from which the size is drawn, uniformly for columns, and for rows uniformly
            on a logarithmic scale.
        cells: values in the batch.
        most_tables: tables in the batch at most; at least there is one.
    """
    columns = int(rng.integers(sizes.least_variables, sizes.most_variables + 1))
    past = np.zeros(columns, dtype=bool)
    if columns >= 4 and rng.random() < sizes.past_share:
        columns -= columns % 2
        past = np.arange(columns) >= columns // 2
    rows = int(np.exp(rng.uniform(np.log(sizes.least_rows), np.log(sizes.most_rows + 1))))
    tables = min(max(cells // (rows * columns), 1), most_tables)
    drawn = [draw_task(rng, rows, past) for _ in range(tables)]
    values, targets, graphs = (np.stack(part) for part in zip(*drawn, strict=True))
    return TaskBatch(values, targets, past, graphs)


def draw_task(rng: np.random.Generator, rows: int, past: Flags) -> tuple[Floats, Flags, Flags]:
    """Draw a model and a table of it.

    Args:
        rng: draws.
        rows: N.
        past: ``(columns,)`` bool, true for columns of the step before; they come last.

    Returns:
        ``(values, do_target, graph)`` as in `TaskBatch`, of one table.
    """
    columns = len(past)
    adjacency = _draw_graph(rng, past)
    noise_share = "balanced" if rng.random() < 0.15 else float(rng.uniform(0.05, 0.6))
    variables = random_variables(
        adjacency,
        _draw_mechanism(rng),
        rng,
        noise_share,
        noise=str(rng.choice(_NOISES, p=_NOISE_SHARES)),
        samples=_STANDARDISING_ROWS,
    )
    world = DynamicSCM(variables)
    target = _draw_targets(rng, rows, np.flatnonzero(~past))
    do_target = target[:, None] == np.arange(columns)
    do_value = _draw_values(rng, rows)[:, None] * np.ones(columns)
    noise = world.sample_noise(rng, rows)
    values = world.step(np.zeros((rows, columns)), noise, None, do_target, do_value)
    # A column that was set to one value throughout does not vary.
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    graph = adjacency.copy()
    graph[:, past] = False
    return values.astype(np.float32), do_target, graph


def _draw_graph(rng: np.random.Generator, past: Flags) -> Flags:
    """Inside the step ER or SF; with a past, that is related inside too, and lagged edges."""
    now = int((~past).sum())
    adjacency = np.zeros((len(past), len(past)), dtype=bool)
    adjacency[:now, :now] = _draw_block(rng, now)
    if past.any():
        adjacency[now:, now:] = _draw_block(rng, now)
        own, others = rng.choice([0.0, 0.5, 0.9]), rng.uniform(0.0, 1.5) / now
        chance = np.where(np.eye(now, dtype=bool), own, others)
        adjacency[now:, :now] = rng.random((now, now)) < chance
    return adjacency


def _draw_block(rng: np.random.Generator, n: int) -> Flags:
    """ER or SF of random density; between few variables some pairs are left apart too."""
    kind = rng.random()
    if kind < 0.05:
        return np.zeros((n, n), dtype=bool)
    if kind < 0.65 or n < 5:
        full = (n - 1) / 2
        return topology(
            "er", n, rng, float(rng.uniform(min(0.4, 0.2 * full), min(2.5, 0.8 * full)))
        )
    return topology("sf", n, rng, float(rng.uniform(0.7, min(2.5, n / 3))))


def _draw_mechanism(rng: np.random.Generator) -> str | MechanismFactory:
    """One kind for the whole table; random smooth functions are more or less rough."""
    kind = str(rng.choice(MECHANISMS))
    if kind != "gp":
        return kind
    length_scale = float(rng.uniform(0.8, 2.5))
    return lambda k, generator: RandomFeatures.random(k, generator, length_scale=length_scale)


def _draw_targets(
    rng: np.random.Generator, rows: int, columns: NDArray[np.intp]
) -> NDArray[np.intp]:
    """The variable set in each row, -1 for none: in no row, in all, or in a random share."""
    kind = rng.random()
    share = 0.0 if kind < 0.3 else 1.0 if kind > 0.85 else rng.uniform()
    if rng.random() < 0.25:  # not every variable can be set
        columns = rng.permutation(columns)[: rng.integers(1, len(columns) + 1)]
    return np.where(rng.random(rows) < share, rng.choice(columns, rows), -1)


def _draw_values(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """What variables are set to: normal values, or a few constants."""
    scale = rng.uniform(0.5, 2.0)
    if rng.random() < 0.6:
        return rng.normal(0.0, scale, rows)
    return rng.choice(rng.normal(0.0, scale, rng.integers(2, 5)), rows)
