"""The two answers to "which colour depends on which": the published label and the truth.

Papers on Chemical score a learned graph from S_i at t to S_j at t + 1, given the action, against
A + I: the edges among the objects, and each object on itself. But colours spread inside the step,
so that a child reads its parents' NEW colours, which is another graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.chemical_mechanisms import Repaint, dry
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer
from causal_rl.scm import Topology, topology

ChemicalKind = Literal["chain", "collider", "full", "jungle", "full-fork", "full-chain"]
#: Rows (state, action, next state so far) that an enumeration may hold.
_MAX_ROWS = 4_000_000
# Probabilities that differ by less are equal but for rounding.
_TOLERANCE = 1e-9


def published_label(kind: str, n: int, names: Sequence[str] | None = None) -> CausalGraph:
    """The graph that papers score: S_i -> S'_j for each edge i -> j, and S_i -> S'_i.

    Args:
        kind: "chain", "collider", "full", "jungle", "full-fork" or "full-chain" (the latter two are
            labelled by their global graph, the full one).
        n: objects, at least 2.
        names: of the objects, causes first, as ``object_names`` gives them; O1..On if None.

    Returns:
        A graph over the objects whose edges are all lagged.

    Raises:
        ValueError: an unknown kind, ``n`` below 2, or another number of names.
    """
    edges = _adjacency(kind, n, local=False)
    return _graph(np.zeros_like(edges), edges | np.eye(n, dtype=np.bool_), names)


def local_graph(kind: str, n: int, names: Sequence[str] | None = None) -> CausalGraph:
    """The graph of a context-switching world while the first object has the first colour.

    Args:
        kind: "full-fork" or "full-chain"; the other kinds have one graph always.
        n: objects, at least 2.
        names: of the objects, causes first; O1..On if None.

    Returns:
        A graph over the objects: edges inside the step as they are in that context, and each
        object's own colour before.

    Raises:
        ValueError: an unknown kind, ``n`` below 2, or another number of names.
    """
    return _graph(_adjacency(kind, n, local=True), np.eye(n, dtype=np.bool_), names)


def enumerated_one_step_graph(spec: SCMEnvSpec) -> CausalGraph:
    """The true graph from S_i at t to S_j at t + 1 given the action, by going through all of them.

    There is an edge i -> j if two states that differ in the colour of i alone give the colour of j
    different distributions under some action (the no-op included). Nothing is sampled.

    Args:
        spec: a Chemical world; C^N states times N C + 1 actions must be few.

    Returns:
        A graph over the objects, in the order of the observation, whose edges are all lagged.

    Raises:
        ValueError: no Chemical world, or too large a one.
    """
    names, table = transition_table(spec)
    n = len(names)
    edges = np.array(
        [[(np.ptp(table[j], axis=i) > _TOLERANCE).any() for j in range(n)] for i in range(n)]
    )
    return CausalGraph(np.zeros((n, n), dtype=np.bool_), edges, names)


def silent_paths(spec: SCMEnvSpec) -> list[tuple[str, str, str]]:
    """Paths of ``spec.one_step_graph`` along which nothing moves while nothing is painted.

    An object at rest keeps its colour, and shows it to no other object. ``WorldConformance`` takes
    these as ``allowed_missing``.

    Args:
        spec: a Chemical world.

    Returns:
        ("one_step", object, other object), for each path between two objects.
    """
    objects = set(spec.interventions.settable)
    edges = [edge[1:] for edge in spec.one_step_graph.edges()]
    return [("one_step", a, b) for a, b in edges if a != b and {a, b} <= objects]


def transition_table(spec: SCMEnvSpec) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The distribution of each object's next colour in every state under every action.

    Args:
        spec: a Chemical world.

    Returns:
        Names of the objects, and float64 (N, C, ..., C, actions, C): object, colours before (one
        axis an object), action in the order of ``interventions.all_actions()``, colour after.

    Raises:
        ValueError: no Chemical world, or too large a one.
    """
    scm = spec.scm
    nets = {i: v.mechanism for i, v in enumerate(scm.variables) if isinstance(v.mechanism, Repaint)}
    if sum(kind != "context" for kind in scm.kinds) != len(nets) or not nets:
        raise ValueError(
            f"spec must be a Chemical world without smeared objects, got {spec.name!r}"
        )
    columns = sorted(nets)
    colours = nets[columns[0]].net.colours
    shape = (colours,) * len(columns)
    actions = spec.interventions.all_actions()
    cells = colours ** len(columns) * len(actions)
    _check_rows(cells)
    mask, value, _ = spec.interventions.decode(actions, scm.names)
    grid = np.indices(shape).reshape(len(columns), -1) + 1.0
    before = dict(zip(columns, np.repeat(grid, len(actions), axis=1), strict=True))
    # One row for each way a step can go so far; `cell` is its state and action.
    cell = np.arange(cells)
    chance = np.ones(cells)
    after: dict[int, NDArray[np.float64]] = {}
    for i in (i for i in scm.order if i in nets):
        parents = [after[scm.names.index(parent)] for parent in scm.variables[i].parents]
        chances = nets[i].distribution([*parents, before[i][cell]])
        done = mask[cell % len(actions), i]
        chances[:, done] = 0.0
        chances[value[cell % len(actions), i][done].astype(np.int64), done] = 1.0
        category, row = chances.nonzero()
        _check_rows(len(row))
        cell, chance = cell[row], chance[row] * chances[category, row]
        after = {k: column[row] for k, column in after.items()}
        after[i] = category.astype(np.float64)
    table = np.stack(
        [
            np.bincount(
                cell * colours + dry(after[i], colours).astype(np.int64) - 1,
                weights=chance,
                minlength=cells * colours,
            ).reshape(*shape, len(actions), colours)
            for i in columns
        ]
    )
    return tuple(scm.names[i] for i in columns), table.astype(np.float64)


def _check_rows(rows: int) -> None:
    if rows > _MAX_ROWS:
        raise ValueError(
            f"spec is too large to enumerate: more than {_MAX_ROWS:,} cases; take fewer objects or "
            "colours, or deterministic=True"
        )


def _adjacency(kind: str, n: int, local: bool) -> NDArray[np.bool_]:
    if kind not in get_args(ChemicalKind):
        raise ValueError(f"kind must be one of {', '.join(get_args(ChemicalKind))}, got {kind!r}")
    check_integer("n", n, least=2)
    shapes: dict[str, tuple[Topology, Topology]] = {
        "chain": ("chain", "chain"),
        "collider": ("collider", "collider"),
        "full": ("full", "full"),
        "jungle": ("jungle", "jungle"),
        "full-fork": ("full", "fork"),
        "full-chain": ("full", "chain"),
    }
    return np.asarray(topology(shapes[kind][local], n, 0, permute=False), dtype=np.bool_)


def _graph(
    now: NDArray[np.bool_], lagged: NDArray[np.bool_], names: Sequence[str] | None
) -> CausalGraph:
    n = len(now)
    given = tuple(f"O{i + 1}" for i in range(n)) if names is None else tuple(names)
    if len(given) != n:
        raise ValueError(f"names must be {n}, got {len(given)}")
    return CausalGraph(now, lagged, given)
