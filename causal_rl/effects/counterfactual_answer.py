"""The answer to a counterfactual question: twins, their weights, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs.names import unknown_name

Array = NDArray[np.float64]
Kind = Literal["exact", "sampled", "interventional"]
#: In the order of what they know.
KINDS: tuple[Kind, ...] = ("exact", "sampled", "interventional")


@dataclass(frozen=True)
class CounterfactualAnswer:
    """What would have been, beside what was: twins that share their noise.

    Attributes:
        kind: "exact" if model and evidence determine every answer; "sampled" if answers are drawn
            from a posterior; "interventional" if the evidence says nothing of a noise that an
            answer depends on, which is then drawn from its prior, as under `SCM.do`.
        kinds: the same for each target.
        targets: names of the variables answered for, k of them.
        factual: ``(rows, draws, k)``; one draw where the answer is exact.
        counterfactual: ``(rows, draws, k)``.
        weights: ``(rows, draws)`` of the draws, each row summing to 1.
        effective_sample_size: ``(rows,)`` how many independent draws they are worth.
    """

    kind: Kind
    kinds: Mapping[str, Kind]
    targets: tuple[str, ...]
    factual: Array
    counterfactual: Array
    weights: Array
    effective_sample_size: Array

    def __getitem__(self, name: str) -> Array:
        """``(rows,)`` the mean counterfactual value of a target.

        Raises:
            ValueError: no such target.
        """
        return self.mean()[:, self._place(name)]

    def mean(self) -> Array:
        """``(rows, k)`` means of the counterfactual values."""
        return self._average(self.counterfactual)

    def effect(self) -> Array:
        """``(rows, k)`` means of counterfactual minus factual."""
        return self._average(self.counterfactual - self.factual)

    def std(self) -> Array:
        """``(rows, k)`` standard deviations of the counterfactual values; 0 where exact."""
        centred = self.counterfactual - self.mean()[:, None]
        return np.sqrt(self._average(centred**2))

    def quantile(self, level: float) -> Array:
        """``(rows, k)`` quantiles of the counterfactual values.

        Args:
            level: inside [0, 1].

        Raises:
            ValueError: out of range.
        """
        if not 0.0 <= level <= 1.0:
            raise ValueError(f"level is {level!r}; it must be between 0 and 1")
        order = np.argsort(self.counterfactual, axis=1, kind="stable")
        reached = np.take_along_axis(self.weights[:, :, None], order, axis=1).cumsum(axis=1)
        place = np.minimum((reached < level).sum(axis=1, keepdims=True), order.shape[1] - 1)
        chosen = np.take_along_axis(order, place, axis=1)
        return np.asarray(np.take_along_axis(self.counterfactual, chosen, axis=1)[:, 0])

    def _average(self, values: Array) -> Array:
        if values.shape[1] == 1:
            return np.array(values[:, 0])
        return np.asarray(np.einsum("rs,rsk->rk", self.weights, values))

    def _place(self, name: str) -> int:
        if name not in self.targets:
            raise ValueError(unknown_name(name, self.targets))
        return self.targets.index(name)
