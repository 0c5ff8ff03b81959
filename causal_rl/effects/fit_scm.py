"""A structural causal model fitted to a table, given its graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery import Transitions
from causal_rl.discovery.transitions import as_transitions
from causal_rl.effects.empirical_noise import EmpiricalNoise
from causal_rl.effects.fitted_mechanisms import fit_boosted, fit_linear, fit_logits, fit_smooth
from causal_rl.graphs import CausalGraph, find_cycle
from causal_rl.graphs.names import name_difference, unknown_name
from causal_rl.options import check_choice, check_integer
from causal_rl.scm import SCM, Categorical, Constant, Mechanism, Noise, NoNoise, OneHot, Variable

Array = NDArray[np.float64]
FittedMechanism = Literal["linear", "smooth", "boosted"]
FITTED_MECHANISMS: tuple[FittedMechanism, ...] = get_args(FittedMechanism)

_MOST_CATEGORIES = 10
_LEAST_ROWS = 5
# Residuals of this share of a column's size are rounding: the variable has no noise.
_NO_NOISE = 1e-9


def fit_scm(
    data: Transitions | ArrayLike | Any,
    graph: CausalGraph,
    *,
    mechanism: FittedMechanism = "smooth",
    categorical: Sequence[str] | None = None,
    do_target: ArrayLike | None = None,
    seed: int = 0,
) -> SCM:
    """Fit an additive-noise model: each variable from its parents, noise as its residuals are.

    A categorical variable gets a multinomial logistic regression instead, so its noise is a uniform
    that values tell up to an interval (`Categorical`). Nothing is chosen by anything but the rows
    given: penalties by (generalised) cross-validation.

    Args:
        data: ``(N, n)`` a table, a data frame, or transitions without a past.
        graph: over the columns, within-step edges alone; of a data frame its names may be in
            another order than the columns.
        mechanism: "linear"; "smooth", smooth functions of each parent and products of pairs, see
            `SmoothRegression`; "boosted", gradient-boosted trees (needs scikit-learn).
        categorical: names of the columns whose values are categories 0..K-1; default those whose
            values are exactly these, for a K of at most 10.
        do_target: ``(N, n)`` true where the variable was set; such a row does not train the
            variable's own mechanism. Transitions bring their own.
        seed: of folds.

    Returns:
        The model, in the order of the data's columns.

    Raises:
        TypeError: not numbers, or no graph.
        ValueError: names that differ, a graph with lagged edges or a cycle, too few rows left for a
            variable, or a categorical column with other values.
        MissingExtraError: "boosted" without scikit-learn.
    """
    if not isinstance(graph, CausalGraph):
        raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
    check_choice("mechanism", mechanism, FITTED_MECHANISMS)
    check_integer("seed", seed, least=0)
    table, targets, names, adjacency = read_fitted_table(data, graph, do_target)
    counts = _categories(table, names, categorical)
    variables = []
    for j, name in enumerate(names):
        parents = np.flatnonzero(adjacency[:, j]).tolist()
        used = ~targets[:, j]
        if used.sum() < _LEAST_ROWS:
            raise ValueError(
                f"data has {int(used.sum())} rows in which {name!r} was not set; its mechanism "
                f"needs at least {_LEAST_ROWS}"
            )
        told = [counts[i] for i in parents]
        inputs, own = _expand(table[used][:, parents], told), table[used, j]
        law, noise = _fit_one(inputs, own, counts[j], mechanism, seed)
        if parents and any(k is not None and k > 2 for k in told):
            law = _reading(law, told)
        variables.append(
            Variable(name, law, noise, tuple(names[i] for i in parents))
            if noise is not None
            else Variable(name, law, parents=tuple(names[i] for i in parents))
        )
    return SCM(variables)


def _fit_one(
    inputs: Array, own: Array, categories: int | None, mechanism: str, seed: int
) -> tuple[Mechanism, Noise | None]:
    """A mechanism and its noise; None for the noise that a categorical variable has by itself."""
    if categories is not None:
        return Categorical(fit_logits(inputs, own.astype(np.int64), categories, seed)), None
    if not inputs.shape[1]:
        law: Mechanism = Constant(float(own.mean()))
        residual, std = own - own.mean(), float(own.std(ddof=1))
    elif mechanism == "linear":
        law, residual, std = fit_linear(inputs, own)
    elif mechanism == "smooth":
        law, residual, std = fit_smooth(inputs, own)
    else:
        law, residual, std = fit_boosted(inputs, own, seed)
    size = max(float(np.abs(own).max()), float(own.std()))
    if std <= _NO_NOISE * size or not residual.std() > 0:
        return law, NoNoise()
    return law, EmpiricalNoise(residual, std)


def read_fitted_table(
    data: Any, graph: CausalGraph, do_target: ArrayLike | None
) -> tuple[Array, NDArray[np.bool_], tuple[str, ...], NDArray[np.bool_]]:
    """Bring a table and a graph together.

    Args:
        data: see `fit_scm`.
        graph: over the same names.
        do_target: see `fit_scm`.

    Returns:
        Values ``(N, n)``, targets ``(N, n)``, names in the order of the columns, and the graph's
        adjacency in that order.

    Raises:
        TypeError: not numbers.
        ValueError: names that differ, a past, or a graph with lagged edges or a cycle.
    """
    bare = not isinstance(data, Transitions) and not hasattr(data, "columns")
    if bare and np.ndim(data) == 2 and np.shape(data)[1] != graph.n:
        raise ValueError(f"data has {np.shape(data)[1]} columns; the graph {graph.n} variables")
    table = as_transitions(data, do_target=do_target, names=graph.names if bare else None)
    if not table.memoryless:
        raise ValueError("data has a past; fit_scm takes tables alone")
    names = tuple(table.names)
    if sorted(names) != sorted(graph.names):
        raise ValueError(f"graph: {name_difference(graph.names, names)}")
    return table.next_state, table.do_target, names, _adjacency(graph, names)


def _adjacency(graph: CausalGraph, names: tuple[str, ...]) -> NDArray[np.bool_]:
    if graph.lagged.any():
        raise ValueError("graph has lagged edges; fit_scm takes within-step ones alone")
    place = [graph.index(name) for name in names]
    adjacency = graph.contemporaneous[np.ix_(place, place)]
    cycle = find_cycle(adjacency)
    if cycle is not None:
        raise ValueError(f"graph has a cycle: {' -> '.join(names[i] for i in cycle)}")
    return np.asarray(adjacency, dtype=np.bool_)


def _categories(
    table: Array, names: tuple[str, ...], chosen: Sequence[str] | None
) -> list[int | None]:
    """For each column its number of categories, None where it is continuous."""
    if chosen is not None and (isinstance(chosen, str) or not isinstance(chosen, Sequence)):
        raise TypeError(f"categorical must be a sequence of names, got {chosen!r}")
    for name in chosen or ():
        if name not in names:
            raise ValueError(f"categorical: {unknown_name(name, names)}")
    counts: list[int | None] = []
    for j, name in enumerate(names):
        values = np.unique(table[:, j])
        whole = bool((values == np.arange(len(values))).all()) and len(values) > 1
        if chosen is None:
            counts.append(len(values) if whole and len(values) <= _MOST_CATEGORIES else None)
        elif name not in chosen:
            counts.append(None)
        elif (values != np.floor(values)).any() or values.min() < 0 or len(values) < 2:
            raise ValueError(
                f"categorical {name!r} must have values 0, 1, .. K-1, at least two of them; got "
                f"{values[:5].tolist()}"
            )
        else:
            counts.append(int(values.max()) + 1)
    return counts


def _expand(inputs: Array, counts: Sequence[int | None]) -> Array:
    """Indicators for parents of three or more categories, if there are any; see `OneHot`."""
    if all(k is None or k <= 2 for k in counts):
        return inputs
    columns = []
    for column, k in zip(inputs.T, counts, strict=True):
        if k is None or k <= 2:
            columns.append(column)
        else:
            columns.extend((column == c).astype(np.float64) for c in range(k))
    return np.column_stack(columns)


def _reading(law: Mechanism, counts: Sequence[int | None]) -> Mechanism:
    read = [k if k is not None and k > 2 else None for k in counts]
    if isinstance(law, Categorical):
        return Categorical([OneHot(logit, read) for logit in law.logits])
    return OneHot(law, read)
