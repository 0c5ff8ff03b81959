"""The watch of a training run: names the mechanism that broke and keeps model and graph in step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from causal_rl.agents.adaptation.mechanism_watch import Alarm, MechanismWatch
from causal_rl.agents.adaptation.repair import MechanismRepair, RepairRecord
from causal_rl.agents.planning.learned_model import LearnedSCM
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph, within_step_reach

# Of the rows from before the run's policy acts, the share that the model is fitted on.
_FITTED = 0.75


class RunWatch:
    """Watch, repair and the graph to go by, over a run that learns its graph on the way.

    A change makes the rows before it useless for the variable, and poisonous for a learner's tests
    of who moves whom: what was set in which share of the rows differs before and after. So the
    learner starts anew, and the graph known until then stays, its edges into the changed variable
    apart. Those are the repair's at first, the new learner's once it has seen ``relearn_rows``
    rows; when it has seen as many as the old one, its whole graph is taken.

    Args:
        alpha: probability of any false alarm within ``horizon`` watched transitions, in (0, 1).
        horizon: transitions that will be watched, at least 1.
        relearn_rows: rows from which a new learner is trusted with a changed variable.

    Attributes:
        graph: the graph to go by, None while that is the learner's own.
        events: all that was done, plain values for a file.
    """

    def __init__(self, alpha: float, horizon: int, *, relearn_rows: int) -> None:
        self.alpha, self.horizon, self.relearn_rows = alpha, horizon, relearn_rows
        self.graph: CausalGraph | None = None
        self._repair: MechanismRepair | None = None
        self._parents: dict[str, _Parents] = {}
        self._alarms: dict[str, int] = {}
        self._rows = self._former = 0
        self._first = 0
        self.events: list[dict[str, Any]] = []

    @property
    def begun(self) -> bool:
        """Whether anything is watched yet."""
        return self._repair is not None

    def begin(self, transitions: Transitions, graph: CausalGraph) -> None:
        """Fit a model on the first three quarters, calibrate on the rest, and watch from now on.

        Args:
            transitions: rows from before any change, like those that will be watched.
            graph: the learned graph.

        Raises:
            ValueError: too few rows, or a graph that no model can be made on.
        """
        count = int(_FITTED * len(transitions))
        model = LearnedSCM.fit(transitions[:count], graph)
        watch = MechanismWatch(model, transitions.names, self.alpha, self.horizon)
        watch.calibrate(transitions[count:])
        self._repair = MechanismRepair(watch)

    def update(
        self, transitions: Transitions, graph: CausalGraph, env_steps: int
    ) -> list[RepairRecord]:
        """Watch the rows of one rollout, refit what broke, and revise the graph around it.

        Args:
            transitions: new rows, in their order.
            graph: the learned graph, which the revised one starts from.
            env_steps: environment steps of the run so far, for ``events``.

        Returns:
            What was done; nothing before `begin`.
        """
        repair = self._repair
        if repair is None:
            return []
        self._first = repair.watch.seen
        done = repair.update(transitions)
        for record in done:
            name, now = record.alarm.name, self.graph or graph
            if self._alarms.get(name) != record.alarm.index:
                self._alarms[name] = record.alarm.index
                self._parents[name] = _Parents.of(now, name)
            # Not there: the new learner's whole graph was taken since, and is not overruled by a
            # repair that goes on.
            if name in self._parents:
                wanted = self._parents[name].changed(record.dropped, record.added)
                self.graph = wanted.drawn_in(now)
            self.events.append(_event(record, env_steps, new=record.alarm.index >= self._first))
        return done

    def new(self, done: Iterable[RepairRecord]) -> list[Alarm]:
        """Alarms among what was just done, repairs that merely went on left out."""
        return [record.alarm for record in done if record.alarm.index >= self._first]

    def restart(self, alarms: Iterable[Alarm]) -> int:
        """A new learner takes over from the last one.

        Args:
            alarms: what was just raised.

        Returns:
            How many of the rows watched came after the changes.

        Raises:
            ValueError: nothing is watched yet.
        """
        if self._repair is None:
            raise ValueError("nothing is watched yet; call begin first")
        self._former, self._rows = max(self._former, self._rows), 0
        return self._repair.watch.seen - max(alarm.began for alarm in alarms)

    def reconcile(self, learned: CausalGraph, rows: int) -> CausalGraph:
        """The graph to go by, after the learner saw ``rows`` more rows and found ``learned``."""
        self._rows += rows
        if self.graph is None:
            return learned
        if self._rows >= self._former:
            self.graph, self._parents = None, {}
            return learned
        if self._rows >= self.relearn_rows:
            for name in self._parents:
                self.graph = _Parents.of(learned, name).drawn_in(self.graph)
        return self.graph

    def figures(self) -> dict[str, float]:
        """Evidence against every mechanism as a share of what raises an alarm, by tag."""
        if self._repair is None:
            return {}
        return {f"watch/{name}": share for name, share in self._repair.watch.evidence.items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, as plain values and arrays."""
        repair = self._repair
        model = None if repair is None else repair.model
        return {
            "model": model.state_dict() if isinstance(model, LearnedSCM) else None,
            "names": None if repair is None else list(repair.watch.names),
            "repair": None if repair is None else repair.state_dict(),
            "graph": None if self.graph is None else self.graph.to_dict(),
            "parents": {name: parents.columns() for name, parents in self._parents.items()},
            "alarms": dict(self._alarms),
            "rows": (self._rows, self._former),
            "events": [dict(event) for event in self.events],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called."""
        self._repair = None
        if state["model"] is not None:
            model = LearnedSCM.from_state(state["model"])
            watch = MechanismWatch(model, state["names"], self.alpha, self.horizon)
            self._repair = MechanismRepair(watch)
            self._repair.load_state_dict(state["repair"])
        self.graph = None if state["graph"] is None else CausalGraph.from_dict(state["graph"])
        self._parents = {name: _Parents(name, *sets) for name, sets in state["parents"].items()}
        self._alarms, self._first = dict(state["alarms"]), 0
        self.events = [dict(event) for event in state["events"]]
        self._rows, self._former = state["rows"]


def _event(record: RepairRecord, env_steps: int, *, new: bool) -> dict[str, Any]:
    return {
        "env_steps": env_steps,
        "event": "mechanism changed" if new else "mechanism refitted",
        "variable": record.alarm.name,
        "how": record.how,
        "rows": record.rows,
        "error_before": record.error_before,
        "error_after": record.error_after,
        "parents_lost": list(record.dropped),
        "parents_gained": list(record.added),
    }


class _Parents:
    """Who causes one variable, in either block, by name."""

    def __init__(self, child: str, now: Iterable[str], before: Iterable[str]) -> None:
        self.child, self.now, self.before = child, frozenset(now), frozenset(before)

    @classmethod
    def of(cls, graph: CausalGraph, child: str) -> _Parents:
        now = graph.parents(child, block="contemporaneous")
        return cls(child, now, graph.parents(child, block="lagged"))

    def changed(self, dropped: Iterable[str], added: Iterable[str]) -> _Parents:
        """Without and with some, those before the step having a trailing "[-1]"."""

        def split(names: Iterable[str]) -> tuple[set[str], set[str]]:
            listed = list(names)
            lagged = {n.removesuffix("[-1]") for n in listed if n.endswith("[-1]")}
            return {n for n in listed if not n.endswith("[-1]")}, lagged

        (less, less_before), (more, more_before) = split(dropped), split(added)
        return _Parents(
            self.child, (self.now - less) | more, (self.before - less_before) | more_before
        )

    def drawn_in(self, graph: CausalGraph) -> CausalGraph:
        """The graph with these parents of the child; none that would close a cycle."""
        j = graph.index(self.child)
        below = {graph.names[i] for i in np.flatnonzero(within_step_reach(graph)[j])}
        matrices: dict[str, Any] = {}
        for block, names in (("contemporaneous", self.now - below), ("lagged", self.before)):
            edges = np.array(getattr(graph, block))
            before = edges[:, j].copy()
            edges[:, j] = [name in names for name in graph.names]
            moved = edges[:, j] != before
            matrices[block] = edges
            for kind in ("weights", "confidence"):
                old = getattr(graph, f"{block}_{kind}")
                if old is not None:
                    table = np.array(old)
                    table[moved, j] = edges[moved, j] if kind == "confidence" else 0.0
                    matrices[f"{block}_{kind}"] = table
        return graph.with_(**matrices)

    def columns(self) -> tuple[list[str], list[str]]:
        """Plain values."""
        return sorted(self.now), sorted(self.before)
