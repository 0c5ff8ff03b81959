"""The plain way to follow a graph that changes: learn it anew from the latest rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from causal_rl.discovery.base import GraphLearner
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_integer


def windowed_graphs(
    make: Callable[[], GraphLearner], data: Transitions, times: Sequence[int], *, width: int
) -> list[CausalGraph]:
    """Refit a learner on the rows up to each time: the control of the learner "time-varying".

    Args:
        make: builds a learner that has seen nothing.
        data: rows in the order of time.
        times: row numbers from 0.
        width: rows in a window; the first windows are shorter. A window is at least 2 rows.

    Returns:
        One graph a time, learned from the rows ``time - width + 1`` to ``time``.

    Raises:
        TypeError: ``width`` or a time is no integer.
        ValueError: ``width`` below 2, or a time outside of the rows.
    """
    check_integer("width", width, least=2)
    graphs = []
    for time in times:
        check_integer("times", time, least=0)
        if time >= len(data):
            raise ValueError(f"times has {time}; it must be from 0 to {len(data) - 1}")
        graphs.append(make().fit(data[max(0, time + 1 - width) : max(time + 1, 2)]))
    return graphs
