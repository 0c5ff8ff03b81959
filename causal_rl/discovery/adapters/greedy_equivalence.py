"""GES and GIES, the greedy searches over equivalence classes, from the packages ges and gies."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.adapters import EXTRA
from causal_rl.discovery.adapters.peer import call_peer
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.errors import import_extra, require_extra
from causal_rl.graphs import PartialGraph
from causal_rl.graphs.marks import Marks


class GesLearner(BatchLearner):
    """GES with the Gaussian BIC (Chickering 2002); its answer is a CPDAG.

    Args:
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "ges"
    needs_full_rank: ClassVar[bool] = True
    most_variables: ClassVar[int] = 60

    def check_options(self) -> None:
        """Validate the options, and that the peer is there; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: the package of the method's name is not installed.
        """
        super().check_options()
        require_extra(self.name, extra=EXTRA)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        with call_peer(self.name):
            adjacency, _ = import_extra("ges", extra=EXTRA).fit_bic(rows.current)
        return Found(marks=_marks(adjacency))


class GiesLearner(GesLearner):
    """GIES (Hauser and Buehlmann 2012): GES that is told which variables each row set.

    Rows with the same targets make one environment; the package centres each by its own mean. Its
    answer is an interventional CPDAG, in which edges are directed that interventions tell apart.

    Args:
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "gies"
    uses_interventions: ClassVar[bool] = True
    most_variables: ClassVar[int] = 40

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        always = np.flatnonzero(rows.do_target.all(axis=0))
        if len(always):
            raise RuntimeError(
                "gies needs rows in which a variable was not set, for each variable; "
                f"{len(always)} of them were set in every row"
            )
        data, targets = environments(rows)
        with call_peer(self.name):
            adjacency, _ = import_extra("gies", extra=EXTRA).fit_bic(data, targets)
        return Found(marks=_marks(adjacency))


def environments(rows: Rows) -> tuple[list[NDArray[np.float64]], list[list[int]]]:
    """Split the rows by what was set in them.

    Args:
        rows: of transitions.

    Returns:
        The columns of each environment, ``(N_e, m)``, and the columns that it set; the purely
        observational one comes first where there are such rows.
    """
    kinds, which = np.unique(rows.do_target, axis=0, return_inverse=True)
    data = [rows.current[which.ravel() == index] for index in range(len(kinds))]
    return data, [np.flatnonzero(kind).tolist() for kind in kinds]


def _marks(adjacency: NDArray[np.float64]) -> Marks:
    """Both packages say i - j by an entry each way."""
    marks: Marks = PartialGraph.from_adjacency(np.asarray(adjacency) != 0).marks
    return marks
