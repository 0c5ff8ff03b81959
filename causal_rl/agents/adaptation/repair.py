"""After an alarm: that mechanism alone is refitted, and its parents are looked at again."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from causal_rl.agents.adaptation.mechanism_watch import Alarm, MechanismModel, MechanismWatch
from causal_rl.discovery import Transitions
from causal_rl.discovery.basis import BASIS_SIZE, FeatureMap
from causal_rl.discovery.parent_search import bic_gain
from causal_rl.graphs import within_step_reach

FloatArray = NDArray[np.float64]

# What a dropped parent has to gain in log likelihood over the mechanism that keeps it.
_DROP_GAIN = 3.0
# What a new parent has to gain over the extended BIC, and its least share of the residual.
_ADD_GAIN = 4.0
_ADD_SHARE = 0.03
_MOST_NEW = 2
# Rows that this takes, in units of those for dropping: a new parent is one of many that could be.
_ADD_ROWS = 3
# A mechanism learns again when its rows have become so many times as many.
_GROWTH = 1.5


class RepairableModel(MechanismModel, Protocol):
    """A model of which one mechanism can be refitted alone."""

    def parents(self, name: str) -> tuple[int, ...]:
        """Columns that a mechanism reads: below n after the step, from n on before it."""
        ...

    def refit(
        self,
        variable: str,
        transitions: Transitions,
        *,
        parents: Sequence[int] | None = None,
        prior: Self | None = None,
    ) -> str:
        """Refit one mechanism with an old one as a prior and say what was done.

        Args:
            variable: its name.
            transitions: rows since the change.
            parents: columns that it reads from now on; None for those of the prior.
            prior: the model whose mechanism is the prior; None for this one as it is.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """All that was fitted, as plain values and arrays."""
        ...

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """A model of `state_dict`."""
        ...


@dataclass(frozen=True)
class RepairRecord:
    """What was done about one alarm, for logs.

    Attributes:
        alarm: the alarm.
        index: the transition at which it was done.
        rows: rows since the change that the refit could use.
        how: what became of the mechanism, in words.
        error_before: root mean square residual on those rows of the mechanism before the change.
        error_after: standard deviation of the residual of the new one on rows left out.
        dropped: names of parents lost; those before the step with a trailing "[-1]".
        added: names of parents gained, likewise.
    """

    alarm: Alarm
    index: int
    rows: int
    how: str
    error_before: float
    error_after: float
    dropped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __str__(self) -> str:
        edges = "".join(
            f"; {word} {', '.join(names)}"
            for word, names in (("lost parent", self.dropped), ("new parent", self.added))
            if names
        )
        return (
            f"{self.alarm.name}: {self.how} on {self.rows} rows from transition "
            f"{self.alarm.began} on, error {self.error_before:.3g} -> {self.error_after:.3g}{edges}"
        )

    def scalars(self) -> dict[str, float]:
        """Tag to value, for TensorBoard."""
        tag = f"mechanism/{self.alarm.name}"
        return {
            f"{tag}/rows": float(self.rows),
            f"{tag}/error_before": self.error_before,
            f"{tag}/error_after": self.error_after,
            f"{tag}/parents_dropped": float(len(self.dropped)),
            f"{tag}/parents_added": float(len(self.added)),
        }


@dataclass(eq=False)
class _Open:
    """An alarm whose mechanism still learns."""

    alarm: Alarm
    old: RepairableModel
    used: int = 0
    before: float = 0.0


class MechanismRepair:
    """Watches the mechanisms of a model and mends the one that broke.

    At an alarm the mechanism is refitted on the rows since the change, and again whenever their
    number has grown by half, up to ``memory``. From ``graph_rows`` rows on its parents are examined
    first: one is dropped where the old mechanism with this parent held at its mean explains the
    new rows better; from three times as many on one is added where the residual depends on it
    (extended BIC), as long as no cycle arises within the step. All other mechanisms and edges stay.

    Args:
        watch: calibrated; its model has to be a `RepairableModel`.
        memory: transitions kept, at least 64.
        graph_rows: rows of the variable since the change from which its parents are examined.

    Raises:
        TypeError: a model that cannot be refitted, or an argument of another type.
        ValueError: an argument out of its range.
    """

    def __init__(self, watch: MechanismWatch, *, memory: int = 2048, graph_rows: int = 48) -> None:
        if not isinstance(watch, MechanismWatch):
            raise TypeError(f"watch must be a MechanismWatch, got {type(watch).__name__}")
        if not callable(getattr(watch.model, "refit", None)):
            raise TypeError(
                f"watch has a model of type {type(watch.model).__name__}, which has no refit"
            )
        for name, value, least in (("memory", memory, 64), ("graph_rows", graph_rows, 16)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.watch = watch
        self.model: RepairableModel = watch.model  # type: ignore[assignment]
        self.memory, self.graph_rows = memory, graph_rows
        self.records: list[RepairRecord] = []
        self._rows: deque[Transitions] = deque()
        self._kept = 0
        self._open: dict[str, _Open] = {}

    def update(self, transitions: Transitions) -> list[RepairRecord]:
        """Watch these transitions, and refit what changed.

        Args:
            transitions: new rows, in their order.

        Returns:
            What was done, alarms first; also appended to ``records``.

        Raises:
            TypeError: not `Transitions`.
            ValueError: other variables than the watch's.
        """
        alarms = self.watch.update(transitions)
        self._remember(transitions)
        for alarm in alarms:
            self._open[alarm.name] = _Open(alarm, copy.deepcopy(self.model))
        done = [record for item in list(self._open.values()) if (record := self._mend(item))]
        self.records += done
        return done

    def state_dict(self) -> dict[str, Any]:
        """Watch, memory and open repairs with the models before them, as plain values and arrays.

        The model as it is now and the records are not in it.
        """
        return {
            "watch": self.watch.state_dict(),
            "rows": Transitions.concatenate(self._rows).to_dict() if self._rows else None,
            "open": [
                (asdict(item.alarm), item.old.state_dict(), item.used, item.before)
                for item in self._open.values()
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called.

        Raises:
            ValueError: the watch's state is of other names or options.
        """
        self.watch.load_state_dict(state["watch"])
        rows = state["rows"]
        self._rows = deque() if rows is None else deque([Transitions(**rows)])
        self._kept = sum(len(part) for part in self._rows)
        self._open = {
            alarm["name"]: _Open(Alarm(**alarm), type(self.model).from_state(old), used, before)
            for alarm, old, used, before in state["open"]
        }

    def _remember(self, transitions: Transitions) -> None:
        if len(transitions):
            self._rows.append(transitions)
            self._kept += len(transitions)
        while self._rows and self._kept - len(self._rows[0]) >= self.memory:
            self._kept -= len(self._rows.popleft())

    def _since(self, item: _Open) -> Transitions:
        rows = Transitions.concatenate(self._rows)
        first = self.watch.seen - len(rows)
        return rows[max(item.alarm.began - first, len(rows) - self.memory, 0) :]

    def _mend(self, item: _Open) -> RepairRecord | None:
        name = item.alarm.name
        j = self.watch.names.index(name)
        rows = self._since(item)
        own = rows[~rows.do_target[:, j]]
        count = len(own)
        if not count or (item.used and count < _GROWTH * item.used):
            if self.watch.seen - item.alarm.began >= self.memory:
                del self._open[name]
            return None
        if not item.used:
            residual = own.next_state[:, j] - item.old.predict(own.state, own.next_state)[:, j]
            item.before = float(np.sqrt((residual**2).mean()))
        old = new = item.old.parents(name)
        if count >= self.graph_rows:
            new = self._examine(name, own, item.old)
        how = self.model.refit(name, rows, parents=new, prior=item.old)
        item.used = count
        self.watch.reset(name)
        return RepairRecord(
            alarm=item.alarm,
            index=self.watch.seen,
            rows=count,
            how=how,
            error_before=item.before,
            error_after=float(self.model.sigma[j]),
            dropped=self._called(set(old) - set(new)),
            added=self._called(set(new) - set(old)),
        )

    def _called(self, columns: set[int]) -> tuple[str, ...]:
        n, names = len(self.watch.names), self.watch.names
        return tuple(names[c] if c < n else f"{names[c - n]}[-1]" for c in sorted(columns))

    def _examine(self, name: str, own: Transitions, old: RepairableModel) -> tuple[int, ...]:
        """Parents of a variable on rows since its change, those of the old mechanism first."""
        n, j = own.n, self.watch.names.index(name)
        target = own.next_state[:, j]
        parents = list(old.parents(name))

        def mean(without: Sequence[int]) -> FloatArray:
            current, previous = own.next_state.copy(), own.state.copy()
            for c in without:
                block = current if c < n else previous
                block[:, c % n] = block[:, c % n].mean()
            return old.predict(previous, current)[:, j]

        dropped: list[int] = []
        design, error = _line(mean(()), target)
        while len(dropped) < len(parents):
            trials = {c: _line(mean((*dropped, c)), target) for c in parents if c not in dropped}
            best = min(trials, key=lambda c: trials[c][1])
            gain = 0.5 * len(own) * np.log(max(error, 1e-300) / max(trials[best][1], 1e-300))
            # Without its last parent the mechanism is a constant, which has one number less.
            last = len(dropped) + 1 == len(parents)
            if gain < (-0.5 * np.log(len(own)) if last else _DROP_GAIN):
                break
            dropped.append(best)
            design, error = trials[best]
        kept = [c for c in parents if c not in dropped]
        if len(own) < _ADD_ROWS * self.graph_rows:
            return tuple(kept)
        return self._extend(j, own, kept, dropped, design)

    def _extend(
        self, j: int, own: Transitions, kept: list[int], dropped: list[int], design: FloatArray
    ) -> tuple[int, ...]:
        n = own.n
        values = np.hstack([own.next_state, own.state])
        features = FeatureMap.of(values)(values).reshape(len(own), 2 * n, BASIS_SIZE)
        contexts = np.array([kind == "context" for kind in own.kinds])
        reach = within_step_reach(self.model.graph)[:n, :n]
        allowed = np.concatenate([~reach[j], ~contexts])
        allowed[[j, *kept, *dropped]] = False
        # Where the kept parents' own functions have changed, no other is to stand in for them.
        blocks = [design, *(features[:, c] for c in kept)]
        target = own.next_state[:, j]
        for _ in range(_MOST_NEW):
            fixed = np.hstack(blocks)
            before = _error(fixed, target)
            scores: dict[int, float] = {}
            for c in np.flatnonzero(allowed).tolist():
                for width in (1, BASIS_SIZE):
                    after = _error(np.hstack([fixed, features[:, c, :width]]), target)
                    share = (before - after) / max(before, 1e-300)
                    rise = float(bic_gain(np.float64(share), 1.0, len(own), width, 2 * n))  # type: ignore[arg-type]
                    if share >= _ADD_SHARE:
                        scores[c] = max(rise, scores.get(c, -np.inf))
            best = max(scores, key=lambda c: scores[c], default=None)
            if best is None or scores[best] <= _ADD_GAIN:
                break
            kept.append(best)
            blocks.append(features[:, best])
            allowed[best] = False
        return tuple(sorted(kept))


def _line(mean: FloatArray, target: FloatArray) -> tuple[FloatArray, float]:
    design = np.column_stack([np.ones(len(mean)), mean])
    return design, _error(design, target)


def _error(design: FloatArray, target: FloatArray) -> float:
    weight = np.linalg.lstsq(design, target, rcond=None)[0]
    return float(((target - design @ weight) ** 2).mean())
