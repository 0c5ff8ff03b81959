"""Counterfactuals on any structural causal model (Algorithm 3, A.1.7): abduct, act, predict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.effects.abduction import DRAWS, NoisePosterior, read_model
from causal_rl.effects.counterfactual_answer import KINDS, CounterfactualAnswer
from causal_rl.effects.equations import POINT, Equations
from causal_rl.effects.evidence import Evidence, read_evidence, read_numbers
from causal_rl.effects.noise_law import moved_noise
from causal_rl.effects.noise_posterior import METHODS, Method
from causal_rl.graphs.names import list_names, unknown_name
from causal_rl.options import check_choice, check_integer
from causal_rl.scm import SCM, Change, Mechanism, Noise, Variable

Array = NDArray[np.float64]
#: What a variable may be changed to: a number, one number a row, or a soft intervention.
Action = float | ArrayLike | Change


def counterfactual(
    scm: SCM,
    evidence: Mapping[str, Any] | ArrayLike | Any,
    do: Mapping[str, Action],
    *,
    targets: Sequence[str] | None = None,
    observed: ArrayLike | None = None,
    n_samples: int = DRAWS,
    method: Method = "auto",
    seed: np.random.Generator | int = 0,
) -> CounterfactualAnswer:
    """What rows would have been, had some variables been set or their mechanisms been others.

    The noise of each row is abducted from the evidence, the parents of what is set are cut, and the
    rest is computed in topological order with the noise kept. A variable that the change does not
    reach keeps its value bit for bit, and so does one whose mechanism gives what it gave.

    Args:
        scm: the model.
        evidence: see `abduct`.
        do: by name what is changed: a number or ``(rows,)`` numbers (a hard intervention), a
            mechanism or callable (the parents stay), a `Noise` (each value keeps its rank) or a
            whole `Variable` (its parents may differ).
        targets: names answered for; default all.
        observed: see `abduct`.
        n_samples: see `abduct`.
        method: see `abduct`.
        seed: see `abduct`.

    Returns:
        The answer, which says whether it is exact, sampled or only interventional.

    Raises:
        TypeError: as `abduct`, or a change that is none.
        ValueError: as `abduct`, an unknown name in ``do`` or ``targets``, or a change that makes
            the model cyclic.
    """
    equations = read_model(scm)
    known = read_evidence(scm, evidence, observed)
    check_integer("n_samples", n_samples, least=1)
    check_choice("method", method, METHODS)
    plan = _Plan(equations, do, targets, len(known.values))
    if plan.scalar(known):
        return plan.answer_one(known.values[0].tolist())
    levels = plan.levels(known)
    draws = n_samples if levels.max(initial=POINT) > POINT else 1
    posterior = NoisePosterior(equations, known, draws, method, seed)
    return plan.answer(posterior, levels)


def intervene(
    scm: SCM,
    do: Mapping[str, Action],
    *,
    given: Mapping[str, Any] | None = None,
    targets: Sequence[str] | None = None,
    n_samples: int = DRAWS,
    method: Method = "auto",
    seed: np.random.Generator | int = 0,
) -> CounterfactualAnswer:
    """What happens if some variables are set: the distribution under do, nothing abducted.

    Args:
        scm: the model.
        do: see `counterfactual`.
        given: by name what is known of variables that the change does not reach; the answer is then
            conditional on them.
        targets: see `counterfactual`.
        n_samples: draws a row.
        method: see `abduct`.
        seed: see `abduct`.

    Returns:
        The answer, of kind "interventional" unless something is given.

    Raises:
        TypeError: see `counterfactual`.
        ValueError: see `counterfactual`, or ``given`` names a variable that the change reaches:
            what is known of it would be known of the world before, which is a counterfactual.
    """
    equations = read_model(scm)
    known = read_evidence(scm, {} if given is None else given)
    plan = _Plan(equations, do, targets, len(known.values))
    for j in plan.route.affected:
        if known.observed[:, j].any():
            raise ValueError(
                f"given names {scm.names[j]!r}, which the intervention reaches; ask counterfactual "
                "for what would have been"
            )
    return counterfactual(
        scm, given or {}, do, targets=targets, n_samples=n_samples, method=method, seed=seed
    )


def predict(
    posterior: NoisePosterior,
    do: Mapping[str, Action],
    *,
    targets: Sequence[str] | None = None,
) -> CounterfactualAnswer:
    """Action and prediction alone, for several questions about the same rows.

    Args:
        posterior: what `abduct` found.
        do: see `counterfactual`.
        targets: see `counterfactual`.

    Returns:
        The answer.

    Raises:
        TypeError: not a posterior, or a change that is none.
        ValueError: see `counterfactual`.
    """
    if not isinstance(posterior, NoisePosterior):
        raise TypeError(f"posterior must be a NoisePosterior, got {type(posterior).__name__}")
    plan = _Plan(posterior.equations, do, targets, len(posterior.weights))
    return plan.answer(posterior, plan.levels(posterior.evidence))


class _Plan:
    """A question: what is set, what is changed, which variables must be computed."""

    def __init__(
        self,
        equations: Equations,
        do: Mapping[str, Action],
        targets: Sequence[str] | None,
        rows: int,
    ) -> None:
        scm = equations.scm
        self.old = equations
        self.targets = scm.names if targets is None else tuple(list_names(targets))
        self.hard, soft = _read_do(scm, do, rows)
        # What is set is cut first: a soft change may then turn an edge into it round.
        self.new = equations
        if soft:
            cut = scm.do({scm.names[j]: 0.0 for j in self.hard}) if self.hard else scm
            self.new = Equations(cut.soft_do(soft))
        self.changed = frozenset(scm.names.index(name) for name in soft)
        self.route = _route(self.new, frozenset(self.hard), self.changed, self.targets)

    def levels(self, evidence: Evidence) -> NDArray[np.int64]:
        """Whether each target is a point, has a posterior, or only the prior.

        Returns:
            ``(rows, k)``, or ``(1, k)`` where all rows know the same variables.
        """
        hard = frozenset(self.hard)
        patterns = [
            (at, _levels(self.old, self.new, self.route, hard, known.tobytes()))
            for at, known in evidence.patterns()
        ]
        if len(patterns) == 1:
            return np.array([patterns[0][1]])
        found = np.empty((len(evidence.values), len(self.route.wanted)), dtype=np.int64)
        for at, levels in patterns:
            found[at] = levels
        return found

    def answer(self, posterior: NoisePosterior, levels: NDArray[np.int64]) -> CounterfactualAnswer:
        """Compute what is affected, in topological order, with the noise kept."""
        rows, draws = posterior.weights.shape
        batch = rows * draws
        factual, now = posterior.columns, list(posterior.columns)
        for j in self.route.steps:
            if j in self.hard:
                value = self.hard[j]
                now[j] = np.full(batch, value) if value.ndim == 0 else np.repeat(value, draws)
            else:
                now[j] = self._respond(j, posterior, factual, now, batch)
        worst = (levels[0] if len(levels) == 1 else levels.max(axis=0)).tolist()
        return CounterfactualAnswer(
            kind=KINDS[max(worst, default=POINT)],
            kinds={n: KINDS[v] for n, v in zip(self.targets, worst, strict=True)},
            targets=self.targets,
            factual=self._shaped(factual, rows, draws),
            counterfactual=self._shaped(now, rows, draws),
            weights=posterior.weights,
            effective_sample_size=posterior.effective_sample_size,
        )

    def scalar(self, evidence: Evidence) -> bool:
        """Whether `answer_one` may answer: one whole row, numbers set, noise only added."""
        return (
            len(evidence.values) == 1
            and not self.changed
            and not self.old.bounded
            and evidence.full
            and all(self.old.additive[j] or j in self.hard for j in self.route.steps)
        )

    def answer_one(self, was: list[float]) -> CounterfactualAnswer:
        """`answer` of one row, in floats: the same numbers without the cost of arrays."""
        now = list(was)
        for j in self.route.steps:
            if j in self.hard:
                now[j] = float(self.hard[j].item())
                continue
            before, after = self.old.effect_one(j, was), self.old.effect_one(j, now)
            if after != before:
                now[j] = after + (was[j] - before)
        wanted = self.route.wanted
        return CounterfactualAnswer(
            kind="exact",
            kinds=dict.fromkeys(self.targets, KINDS[POINT]),
            targets=self.targets,
            factual=np.array([[[was[j] for j in wanted]]]),
            counterfactual=np.array([[[now[j] for j in wanted]]]),
            weights=np.ones((1, 1)),
            effective_sample_size=np.ones(1),
        )

    def _respond(
        self,
        j: int,
        posterior: NoisePosterior,
        factual: list[Array],
        now: list[Array],
        batch: int,
    ) -> Array:
        """The counterfactual value; the factual one where the equation gives what it gave."""
        old, new = self.old.variables[j], self.new.variables[j]
        # A variable that is changed by name alone keeps its noise, hence the difference below.
        same_noise = j not in self.changed or old.noise is new.noise or old.noise == new.noise
        if self.old.additive[j] and self.new.additive[j] and same_noise:
            was = self.old.effect(j, factual, batch)
            is_now = self.new.effect(j, now, batch)
            return np.where(is_now != was, is_now + (factual[j] - was), factual[j])
        noise = posterior.noise_of(j)
        was = self.old.respond(j, factual, noise)
        is_now = self.new.respond(j, now, moved_noise(noise, old.noise, new.noise))
        return np.where(is_now != was, is_now, factual[j])

    def _shaped(self, columns: list[Array], rows: int, draws: int) -> Array:
        found = np.empty((rows, draws, len(self.route.wanted)))
        for place, j in enumerate(self.route.wanted):
            found[:, :, place] = columns[j].reshape(rows, draws)
        return found


@dataclass(frozen=True)
class _Route:
    """Which variables a change reaches, and which of these the targets need.

    Attributes:
        affected: columns.
        steps: columns to compute, causes before effects.
        wanted: columns of the targets.
    """

    affected: frozenset[int]
    steps: tuple[int, ...]
    wanted: tuple[int, ...]


@lru_cache(maxsize=256)
def _route(
    new: Equations, hard: frozenset[int], changed: frozenset[int], targets: tuple[str, ...]
) -> _Route:
    """Resolve a question; the same one is often asked about other rows.

    Raises:
        ValueError: an unknown target.
    """
    names = new.scm.names
    for name in targets:
        if name not in names:
            raise ValueError(f"targets: {unknown_name(name, names)}")
    affected = set(hard | changed)
    for j in new.order:
        if j not in hard and affected.intersection(new.parents[j]):
            affected.add(j)
    wanted = tuple(names.index(name) for name in targets)
    needed = set(wanted)
    for j in reversed(new.order):
        if j in needed and j in affected and j not in hard:
            needed.update(new.parents[j])
    steps = tuple(j for j in new.order if j in needed and j in affected)
    return _Route(frozenset(affected), steps, wanted)


@lru_cache(maxsize=256)
def _levels(
    old: Equations, new: Equations, route: _Route, hard: frozenset[int], pattern: bytes
) -> tuple[int, ...]:
    """What is known of each target where the variables of ``pattern``, bools (d,), are known."""
    known = np.frombuffer(pattern, dtype=np.bool_)
    noise = old.noise_levels(known)
    now = [POINT] * len(noise)
    for j in old.order:
        if not known[j]:
            now[j] = max([noise[j], *(now[i] for i in old.parents[j])])
    for j in route.steps:
        now[j] = POINT
        if j not in hard:
            now[j] = max([noise[j], *(now[i] for i in new.parents[j])])
    return tuple(now[j] for j in route.wanted)


def _read_do(
    scm: SCM, do: Mapping[str, Action], rows: int
) -> tuple[dict[int, Array], dict[str, Change]]:
    if not isinstance(do, Mapping):
        raise TypeError(f"do must map names to values or changes, got {type(do).__name__}")
    hard: dict[int, Array] = {}
    soft: dict[str, Change] = {}
    for name, change in do.items():
        if name not in scm.names:
            raise ValueError(f"do: {unknown_name(name, scm.names)}")
        if isinstance(change, Variable | Mechanism | Noise) or callable(change):
            soft[name] = change
            continue
        values = read_numbers(name, change, "do")
        if values.ndim and len(values) != rows:
            raise ValueError(f"do of {name!r} has {len(values)} values; the evidence {rows} rows")
        hard[scm.names.index(name)] = values
    return hard, soft
