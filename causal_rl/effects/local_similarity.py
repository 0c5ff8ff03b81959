"""SITE: a representation that keeps who is like whom (Yao et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from causal_rl.effects.networks import EffectNetwork
from causal_rl.effects.propensity import fit_propensity
from causal_rl.effects.representation import HeadsNetwork, TARNet, perceptron
from causal_rl.options import check_number


class SimilarityNetwork(HeadsNetwork):
    """TARNet with SITE's two terms, each on six rows of the batch that the propensity picks.

    i and j are the rows of either arm nearest to an even chance, k the treated and m the untreated
    row farthest from them, l and n their nearest neighbours in the other arm. A deep metric
    (PDDM) is to tell the similarity of their propensities from their representations, and the
    middle of i and m is drawn to that of j and k.

    Args:
        inputs: p.
        width: as in `HeadsNetwork`.
        propensity: maps ``(B, p)`` standardised rows to ``(B,)`` chances of arm 1.
        similarity: weight of the deep metric.
        middle: weight of the distance of the middles.
    """

    def __init__(
        self, inputs: int, width: int, propensity: Any, *, similarity: float, middle: float
    ) -> None:
        super().__init__(inputs, 2, width)
        self.propensity, self.similarity, self.middle = propensity, similarity, middle
        self.apart = nn.Linear(width, width)
        self.between = nn.Linear(width, width)
        self.compare = perceptron(2 * width, width, 1)

    def loss(self, X: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """Factual error and both terms; the error alone where the batch lacks an arm."""
        represented = self.represent(X)
        total: Tensor = self.errors(represented, t, y).mean()
        if bool((t == 1).all()) or bool((t == 0).all()):
            return total
        chance = self.propensity(X)
        i, j, k, m, near_k, near_m = _picked(chance, t)
        pairs = [(i, j), (k, near_k), (m, near_m), (k, m), (near_k, near_m)]
        first, second = (torch.tensor(side, device=X.device) for side in zip(*pairs, strict=True))
        a, b = chance[first], chance[second]
        wanted = 0.75 * ((a + b) / 2 - 0.5).abs() - ((a - b) / 2).abs() + 0.5
        said = self._similarity(represented[first], represented[second])
        total = total + self.similarity * ((said - wanted) ** 2).mean()
        gap = (represented[i] + represented[m]) / 2 - (represented[j] + represented[k]) / 2
        total = total + self.middle * (gap**2).sum()
        return total

    def _similarity(self, A: Tensor, B: Tensor) -> Tensor:
        apart = nn.functional.normalize((A - B).abs(), dim=1)
        between = nn.functional.normalize((A + B).abs() / 2, dim=1)
        heard = torch.cat([self.apart(apart).relu(), self.between(between).relu()], dim=1)
        found: Tensor = self.compare(heard).squeeze(1)
        return found


def _picked(chance: Tensor, t: Tensor) -> tuple[int, int, int, int, int, int]:
    """Rows i, j, k, m and the neighbours of k and m; see `SimilarityNetwork`."""
    treated, untreated = torch.nonzero(t == 1).squeeze(1), torch.nonzero(t == 0).squeeze(1)
    i = treated[(chance[treated] - 0.5).abs().argmin()]
    j = untreated[(chance[untreated] - 0.5).abs().argmin()]
    k = treated[(chance[treated] - chance[i]).abs().argmax()]
    m = untreated[(chance[untreated] - chance[j]).abs().argmax()]
    near_k = untreated[(chance[untreated] - chance[k]).abs().argmin()]
    near_m = treated[(chance[treated] - chance[m]).abs().argmin()]
    return int(i), int(j), int(k), int(m), int(near_k), int(near_m)


class SITE(TARNet):
    """TARNet that keeps local similarity and balances the arms; two arms.

    Args:
        similarity: weight of the deep metric.
        middle: weight of the distance of the middles.
        **options: as in `TARNet`.
    """

    def __init__(self, *, similarity: float = 0.5, middle: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.similarity = similarity
        self.middle = middle

    def check_options(self) -> None:
        """Check the options; see `EffectEstimator.check_options`."""
        super().check_options()
        for name in ("similarity", "middle"):
            check_number(name, getattr(self, name), least=0.0)

    def _build(self, X: Tensor, t: Tensor, y: Tensor) -> EffectNetwork:
        if self.n_arms_ != 2:
            raise ValueError(f"t has {self.n_arms_} arms; site takes two")
        tell = fit_propensity(X.double().cpu().numpy(), t.cpu().numpy(), 2)

        def propensity(rows: Tensor) -> Tensor:
            found = tell(rows.double().cpu().numpy())[:, 1]
            return torch.from_numpy(found.astype(np.float32)).to(rows.device)

        return SimilarityNetwork(
            X.shape[1], self.width, propensity, similarity=self.similarity, middle=self.middle
        )
