"""From a CSV file to a graph, how stable it is, and how the data looked along it."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from causal_rl.discovery.bootstrap import EdgeShares, bootstrap_edges
from causal_rl.discovery.prior import EdgePrior
from causal_rl.discovery.registry import learner_class, learner_options, make_learner
from causal_rl.discovery.table_file import TableFile, read_table_file
from causal_rl.discovery.time_limit import within
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.scm import r2_sortability, varsortability

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """What is to be done with a table.

    Attributes:
        method: name of a learner, see `list_learners`.
        options: of the learner.
        prior: what is known of the edges, or None.
        bootstrap: graphs of the bootstrap; 0 for none.
        seed: of the bootstrap, and of a learner that takes one.
        time_limit: seconds that the learner may take, bootstrap included; None for any time.
    """

    method: str = "interventional"
    options: Mapping[str, Any] = field(default_factory=dict)
    prior: EdgePrior | None = None
    bootstrap: int = 20
    seed: int = 0
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must be at least 0, got {self.bootstrap}")
        if self.seed < 0:
            raise ValueError(f"seed must be at least 0, got {self.seed}")
        if self.time_limit is not None and not 0 < self.time_limit < float("inf"):
            raise ValueError(f"time_limit must be more than 0 seconds, got {self.time_limit:g}")
        options = dict(self.options)
        if "seed" in learner_options(self.method):
            options.setdefault("seed", self.seed)
        object.__setattr__(self, "options", options)
        self.learner()

    def learner(self) -> Any:
        """A learner as planned.

        Raises:
            ValueError: unknown method or option, or a prior that the method cannot obey.
        """
        learner = make_learner(self.method, **self.options)
        learner.prior = self.prior
        learner.check_options()
        return learner


@dataclass(frozen=True)
class Answer:
    """What a learner found.

    Attributes:
        graph: its graph; confidences are the bootstrap's shares if there was one.
        equivalence_class: the CPDAG or PAG behind it, or None.
        shares: of the bootstrap, or None.
        warnings: what the learner warned of.
        seconds: of the fit, and of the bootstrap.
    """

    graph: CausalGraph
    equivalence_class: PartialGraph | None
    shares: EdgeShares | None
    warnings: tuple[str, ...]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Discovery:
    """The whole of it: the file, the plan, the answer.

    Attributes:
        file: name of the file.
        table: what it held.
        targets: the column of interventions, or None.
        plan: what was done.
        answer: what was found.
        sortability: of the data along the learned graph, "varsortability" and "r2_sortability";
            None where the graph has no edge or is cyclic.
    """

    file: str
    table: TableFile
    targets: str | None
    plan: Plan
    answer: Answer
    sortability: Mapping[str, float | None]


def discover(
    path: str | os.PathLike[str],
    plan: Plan | None = None,
    *,
    targets: str | None = None,
    levels: Mapping[str, Sequence[str]] | None = None,
    progress: Progress = lambda done: None,
) -> Discovery:
    """Learn the graph of a table in a file.

    Args:
        path: a CSV file, see `read_table_file`.
        plan: what to do; by default the default learner and 20 draws of the bootstrap.
        targets: the column that names what was set in each row.
        levels: the order of the levels of columns of text.
        progress: called with the number of graphs learned, the first one included.

    Raises:
        OSError: the file cannot be read.
        ValueError: bad data or options, a learner that failed, or the time limit.
    """
    plan = Plan() if plan is None else plan
    most = learner_class(plan.method).most_variables
    table = read_table_file(path, targets=targets, levels=levels, most=most)
    if plan.prior is not None:
        for name in plan.prior.names():
            if name in table.constant:
                raise ValueError(f"prior names {name!r}, which never changes and was dropped")
        plan.prior.check(table.data.names)
    if plan.time_limit is None:
        answer = learn(plan, table.data, progress)
    else:
        answer = within(plan.time_limit, learn, (plan, table.data), progress)
    return Discovery(
        file=Path(path).name,
        table=table,
        targets=targets,
        plan=plan,
        answer=answer,
        sortability=sortability(table.data, answer.graph),
    )


def learn(plan: Plan, data: Transitions, progress: Progress) -> Answer:
    """Fit the learner to all rows, then to the draws of the bootstrap.

    Args:
        plan: what to do.
        data: the rows.
        progress: called with the number of graphs learned.

    Raises:
        ValueError: the learner failed, or its graph goes against the prior.
    """
    begin = time.perf_counter()
    learner = plan.learner()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            graph = learner.fit(data)
        except (ArithmeticError, MemoryError, RuntimeError, np.linalg.LinAlgError) as error:
            reason = str(error) or type(error).__name__
            raise ValueError(f"the method {plan.method} failed: {reason}") from error
    told = [str(entry.message) for entry in caught if _of_the_learner(entry.category)]
    found = learner.equivalence_class_
    broken = plan.prior.broken(graph) if plan.prior is not None else []
    if broken:
        raise ValueError(f"the graph of {plan.method} goes against the prior: it {broken[0]}")
    progress(1)
    between = time.perf_counter()
    shares = None
    if plan.bootstrap:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = bootstrap_edges(
                learner,
                data,
                draws=plan.bootstrap,
                rng=plan.seed,
                progress=lambda done: progress(1 + done),
            )
        graph = graph.with_(
            contemporaneous_confidence=shares.directed, lagged_confidence=shares.lagged
        )
    end = time.perf_counter()
    return Answer(
        graph=graph,
        equivalence_class=found,
        shares=shares,
        warnings=tuple(dict.fromkeys(" ".join(line.split()) for line in told)),
        seconds=(between - begin, end - between),
    )


def sortability(data: Transitions, graph: CausalGraph) -> dict[str, float | None]:
    """How far the order of variances, and of R2, goes along with a learned graph.

    Counted on the rows without interventions if they are enough, else on all.

    Args:
        data: the rows.
        graph: over their variables.
    """
    free = ~data.do_target.any(axis=1)
    values = data.next_state[free] if free.sum() > 2 * data.n else data.next_state
    edges = graph.contemporaneous
    found: dict[str, float | None] = {"varsortability": None, "r2_sortability": None}
    if not edges.any() or not graph.is_acyclic or (values == values[0]).all(axis=0).any():
        return found
    found["varsortability"] = varsortability(values, edges)
    found["r2_sortability"] = r2_sortability(values, edges)
    return found


def _of_the_learner(category: type[Warning]) -> bool:
    """Whether it says something of the result, and not of how a package is written."""
    return issubclass(category, UserWarning | RuntimeWarning)
