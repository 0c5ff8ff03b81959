"""Random models whose causal order cannot be read off the data's variances or column order.

Naive random models leak: variances grow along the causal order (Reisach, Seiler & Weichwald 2021).
Here every variable is standardised inside the model as it is built (Ormaniec et al. 2024, iSCM),
so that all marginal variances are 1, and the labels are permuted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs import CausalGraph, Kind, topological_order
from causal_rl.scm.arguments import BoolArray, FloatArray, as_count, as_finite, as_generator
from causal_rl.scm.categorical import Categorical, OneHot
from causal_rl.scm.dynamic import DynamicSCM
from causal_rl.scm.mechanisms import MLP, Linear, Mechanism, Tanh, affine
from causal_rl.scm.noise import NoNoise, unit_noise
from causal_rl.scm.smooth import Polynomial, RandomFeatures
from causal_rl.scm.static import SCM
from causal_rl.scm.variables import Variable

Topology = Literal["chain", "fork", "collider", "tree", "jungle", "er", "sf", "full"]
#: Share of noise in the variance of a variable with parents; see `random_scm`.
NoiseShare = float | str
#: Draws a mechanism for k parents.
MechanismFactory = Callable[[int, np.random.Generator], Mechanism]

_STATIC_SAMPLES = 20_000
_DYNAMIC_SAMPLES = 2_000
# Memory decays by at most the root of 1 - noise_share a step; half the steps are burn-in.
_DYNAMIC_STEPS = 80


def topology(
    kind: Topology,
    n: int,
    rng: np.random.Generator | int,
    density: float = 1.0,
    permute: bool = True,
) -> BoolArray:
    """Draw a directed acyclic graph.

    Args:
        kind: "chain"; "fork" (one cause of all others); "collider" (one effect of all others);
            "tree" (each variable has one parent among the earlier ones); "jungle" (a binary tree
            with an edge from each variable to its grandchildren too, Ke et al. 2021); "er"
            (Erdős-Rényi);
            "sf" (scale-free: causes are picked in proportion to their degree plus one); "full".
        n: Number of variables, at least 1.
        rng: Generator or seed.
        density: Expected edges per variable, for "er" at most (n - 1) / 2 and for "sf" (where the
            first variables get fewer) at most n - 1; not used by the others.
        permute: Whether to shuffle the labels, so that they say nothing about the order.

    Returns:
        bool of shape (n, n), [i, j] true if i causes j.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If `kind` is unknown, or `n` or `density` is out of range.
    """
    n, density, rng = as_count(n, "n"), as_finite(density, "density"), as_generator(rng)
    later = np.triu(np.ones((n, n), dtype=np.bool_), k=1)
    adjacency = np.zeros((n, n), dtype=np.bool_)
    if kind == "chain":
        adjacency = np.eye(n, k=1, dtype=np.bool_)
    elif kind == "fork":
        adjacency[0, 1:] = True
    elif kind == "collider":
        adjacency[:-1, -1] = True
    elif kind == "tree":
        for j in range(1, n):
            adjacency[rng.integers(j), j] = True
    elif kind == "jungle":
        for j in range(1, n):
            parent = (j - 1) // 2
            adjacency[parent, j] = True
            if parent:
                adjacency[(parent - 1) // 2, j] = True
    elif kind == "er":
        _check_density(density, (n - 1) / 2, n)
        probability = 2 * density / (n - 1) if n > 1 else 0.0
        adjacency = later & (rng.random((n, n)) < probability)
    elif kind == "sf":
        _check_density(density, n - 1, n)
        adjacency = _scale_free(n, density, rng)
    elif kind == "full":
        adjacency = later
    else:
        raise ValueError(f"kind must be one of {', '.join(get_args(Topology))}, got {kind!r}")
    if not permute:
        return adjacency
    labels = rng.permutation(n)
    return adjacency[np.ix_(labels, labels)]


def random_scm(
    adjacency: ArrayLike,
    mechanism: str | MechanismFactory,
    rng: np.random.Generator | int,
    noise_share: NoiseShare = 0.2,
    noise: str = "gaussian",
    names: Sequence[str] | None = None,
    *,
    samples: int | None = None,
) -> SCM:
    """Draw a static model on a graph; every variable has variance 1.

    Args:
        adjacency: (n, n), [i, j] true if i causes j; acyclic.
        mechanism: "linear", "tanh", "mlp", "gp" (random features), "polynomial", or a function
            from the number of parents and a generator to a mechanism.
        rng: Generator or seed.
        noise_share: Share of the variance of a variable with parents that is noise, in (0, 1); or
            "balanced": 0.6 for variables that have children, 0.1 for the others. With equal shares
            a variable with many descendants is the better explained by the rest, and on random
            graphs sorting by R2 gives the order away backwards; balanced, it does not
            (`r2_sortability`).
        noise: "gaussian", "uniform" or "laplace".
        names: Names of the variables; X1..Xn if None.
        samples: As for `random_variables`.

    Returns:
        The model, with columns in the order of `adjacency`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the graph is cyclic (the cycle is printed) or another argument is bad.
    """
    variables = random_variables(
        adjacency, mechanism, rng, noise_share, noise=noise, names=names, samples=samples
    )
    return SCM(variables)


def random_dynamic_scm(
    contemporaneous: ArrayLike,
    lagged: ArrayLike,
    mechanism: str | MechanismFactory,
    rng: np.random.Generator | int,
    noise_share: NoiseShare = 0.2,
    noise: str = "gaussian",
    names: Sequence[str] | None = None,
    kinds: Sequence[Kind] | None = None,
) -> DynamicSCM:
    """Draw a model in time on two graphs; every variable has variance about 1 in the long run.

    Args:
        contemporaneous: (n, n), edges inside a step; acyclic.
        lagged: (n, n), edges from one step to the next; the diagonal is legal.
        mechanism: As for `random_scm`.
        rng: Generator or seed.
        noise_share: As for `random_scm`; a reward has no noise and variance 1.
        noise: "gaussian", "uniform" or "laplace".
        names: Names of the variables; X1..Xn if None.
        kinds: Kinds of the variables; all "state" if None.

    Returns:
        The model, with columns in the order of the graphs.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a graph or another argument is bad.
    """
    return DynamicSCM(
        random_variables(
            contemporaneous,
            mechanism,
            rng,
            noise_share,
            lagged=lagged,
            noise=noise,
            names=names,
            kinds=kinds,
        )
    )


def random_variables(
    contemporaneous: ArrayLike,
    mechanism: str | MechanismFactory,
    rng: np.random.Generator | int,
    noise_share: NoiseShare = 0.2,
    *,
    lagged: ArrayLike | None = None,
    noise: str = "gaussian",
    names: Sequence[str] | None = None,
    kinds: Sequence[Kind] | None = None,
    categories: Sequence[int | None] | None = None,
    samples: int | None = None,
) -> tuple[Variable, ...]:
    """Draw the variables of `random_scm` and `random_dynamic_scm`, for those who add their own.

    Args:
        contemporaneous: (n, n), edges inside a step; acyclic.
        mechanism: As for `random_scm`.
        rng: Generator or seed.
        noise_share: As for `random_scm`.
        lagged: (n, n), edges from one step to the next, or None.
        noise: "gaussian", "uniform" or "laplace".
        names: Names of the variables; X1..Xn if None.
        kinds: Kinds of the variables; all "state" if None.
        categories: For each variable its number of categories, or None where it is continuous; None
            for all continuous. A categorical variable has softmax probabilities linear in its
            parents; whoever has a categorical parent reads it by indicators.
        samples: Rows of the simulation that standardises the variables; None for 20,000, or 2,000
            where there are lags. Fewer are faster; the variances then stray from 1 by about
            the root of two over their number.

    Returns:
        The n variables.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a graph or another argument is bad.
    """
    rng = as_generator(rng)
    share_inner, share_last = _shares(noise_share)
    factory = _factory(mechanism)
    graph = CausalGraph(contemporaneous=contemporaneous, lagged=lagged, names=names, kinds=kinds)
    unit = unit_noise(noise)
    counts = [None] * graph.n if categories is None else list(categories)
    if len(counts) != graph.n:
        raise ValueError(f"categories must have {graph.n} entries, got {len(counts)}")
    drawn = []
    for j, (name, kind) in enumerate(zip(graph.names, graph.kinds, strict=True)):
        here = np.flatnonzero(graph.contemporaneous[:, j])
        before = np.flatnonzero(graph.lagged[:, j])
        read = [counts[i] for i in (*here, *before)]
        parents = tuple(graph.names[i] for i in here)
        lagged_parents = tuple(graph.names[i] for i in before)
        others = graph.summary[j].copy()
        others[j] = False
        share = share_inner if others.any() else share_last
        own = counts[j]
        if own is not None:
            chosen = _categorical(read, as_count(own, "categories", 2), rng)
            drawn.append(
                Variable(name, chosen, parents=parents, lagged_parents=lagged_parents, kind=kind)
            )
            continue
        drawn.append(
            Variable(
                name,
                _reading(read, factory, rng) if read else None,
                NoNoise() if kind == "reward" else unit.scaled(math.sqrt(share)) if read else unit,
                parents,
                lagged_parents,
                kind,
            )
        )
    return _standardised(
        drawn, graph, rng, None if samples is None else as_count(samples, "samples")
    )


def _reading(
    read: Sequence[int | None], factory: MechanismFactory, rng: np.random.Generator
) -> Mechanism:
    """A mechanism over parents of which some are categorical (their numbers of categories)."""
    if all(k is None for k in read):
        return factory(len(read), rng)
    return OneHot(factory(sum(1 if k is None else k for k in read), rng), read)


def _categorical(
    read: Sequence[int | None], categories: int, rng: np.random.Generator
) -> Categorical:
    if not read:
        return Categorical.from_probabilities(rng.uniform(1.0, 2.0, size=categories).tolist())
    return Categorical([_reading(read, _linear, rng) for _ in range(categories)])


def _standardised(
    variables: Sequence[Variable], graph: CausalGraph, rng: np.random.Generator, samples: int | None
) -> tuple[Variable, ...]:
    """Give every mechanism the affine map under which its variable has mean 0 and variance 1.

    The moments are those of a simulation in which each variable is standardised as it is reached,
    step by step, until the step's distribution no longer changes.
    """
    dynamic = bool(graph.lagged.any())
    batch, steps = (_DYNAMIC_SAMPLES, _DYNAMIC_STEPS) if dynamic else (_STATIC_SAMPLES, 1)
    batch = batch if samples is None else samples
    n = len(variables)
    spreads = [v.noise.std if v.function.additive else 1.0 for v in variables]
    target = np.sqrt([max(0.0, 1.0 - spread**2) for spread in spreads])
    order = topological_order(graph.contemporaneous)
    sources = [
        (np.flatnonzero(graph.contemporaneous[:, j]), np.flatnonzero(graph.lagged[:, j]))
        for j in range(n)
    ]
    moments = np.zeros((n, 2))
    current = rng.standard_normal((n, batch))
    for step in range(steps):
        previous, current = current, np.empty((n, batch))
        for j in order:
            v = variables[j]
            if v.kind == "context" and step:
                current[j] = previous[j]
                continue
            current[j] = v.noise.sample(rng, batch)
            here, before = sources[j]
            columns = [current[i] for i in here] + [previous[i] for i in before]
            if not v.function.additive:
                current[j] = v.function.respond(columns, current[j].copy(), batch)
                continue
            if not columns:
                continue
            effect = v.function.evaluate(columns, batch)
            mean, std = float(effect.mean()), float(effect.std())
            if not std > 0:
                raise ValueError(f"mechanism drawn for {v.name!r} does not depend on its parents")
            current[j] += (effect - mean) * (target[j] / std)
            if 2 * step >= steps - 1:
                moments[j] += mean, std
    moments /= steps - steps // 2
    return tuple(
        v.replace(mechanism=affine(v.function, -mean * target[j] / std, target[j] / std))
        if std > 0
        else v
        for j, (v, (mean, std)) in enumerate(zip(variables, moments.tolist(), strict=True))
    )


def _shares(noise_share: NoiseShare) -> tuple[float, float]:
    """The noise share of variables with children, and of those without."""
    if noise_share == "balanced":
        return 0.6, 0.1
    if isinstance(noise_share, str):
        raise ValueError(f"noise_share must be in (0, 1) or 'balanced', got {noise_share!r}")
    share = as_finite(noise_share, "noise_share")
    if not 0 < share < 1:
        raise ValueError(f"noise_share must be in (0, 1) or 'balanced', got {share}")
    return share, share


def _factory(mechanism: str | MechanismFactory) -> MechanismFactory:
    if not isinstance(mechanism, str):
        if not callable(mechanism):
            raise TypeError(f"mechanism must be a name or a callable, got {mechanism!r}")
        return mechanism
    if mechanism not in _FACTORIES:
        raise ValueError(f"mechanism must be one of {', '.join(_FACTORIES)}, got {mechanism!r}")
    return _FACTORIES[mechanism]


def _weights(k: int, rng: np.random.Generator) -> FloatArray:
    return rng.choice([-1.0, 1.0], size=k) * rng.uniform(0.5, 2.0, size=k)


def _linear(k: int, rng: np.random.Generator) -> Mechanism:
    return Linear(_weights(k, rng))


def _tanh(k: int, rng: np.random.Generator) -> Mechanism:
    # Over the root of k, so that many parents do not saturate it.
    return Tanh(_weights(k, rng) / math.sqrt(k), rng.uniform(-0.5, 0.5))


_FACTORIES: dict[str, MechanismFactory] = {
    "linear": _linear,
    "tanh": _tanh,
    "mlp": MLP.random,
    "gp": RandomFeatures.random,
    "polynomial": Polynomial.random,
}
#: Names of the mechanisms that `random_scm` can draw.
MECHANISMS: tuple[str, ...] = tuple(_FACTORIES)


def _check_density(density: float, most: float, n: int) -> None:
    if not 0 <= density <= most:
        raise ValueError(f"density must be in [0, {most:g}] for n = {n}, got {density}")


def _scale_free(n: int, density: float, rng: np.random.Generator) -> BoolArray:
    """Grow a graph by preferential attachment (Barabási & Albert 1999), causes first."""
    adjacency = np.zeros((n, n), dtype=np.bool_)
    degree = np.ones(n)
    for j in range(1, n):
        wanted = math.floor(density) + int(rng.random() < density % 1.0)
        k = min(j, wanted)
        parents = rng.choice(j, size=k, replace=False, p=degree[:j] / degree[:j].sum())
        adjacency[parents, j] = True
        degree[parents] += 1
        degree[j] += k
    return adjacency
