"""Rules read off two-edge stories, and chart parsing by them: the symbolic peer."""

from __future__ import annotations

import torch
from torch import Tensor

from causal_rl.downstream.stories import StoryBatch


class RuleTable:
    """Induced rules (a, b) -> c, applied to all triangles of a story until nothing new follows.

    The chart is one of pairs of entities. A pair that is not known takes the relations that its
    triangles (i, k, j) vote for, shares of one vote; a pair once known stays as it is. The rules
    come from stories of two edges (i, k), (k, j) asked about (i, j): the shares of their answers.

    Args:
        n_relations: R.

    Attributes:
        rules_: (R, R, R) floats after `fit`, [a, b, c] the share of c among the answers to "a,
            then b"; zeros where no story told.

    Raises:
        ValueError: ``n_relations`` below 1.
    """

    def __init__(self, n_relations: int) -> None:
        if n_relations < 1:
            raise ValueError(f"n_relations: {n_relations}; allowed: >= 1")
        self.n_relations = n_relations
        self.rules_: Tensor = torch.zeros(n_relations, n_relations, n_relations)

    @property
    def n_rules(self) -> int:
        """Pairs (a, b) with a rule."""
        return int((self.rules_.sum(dim=-1) > 0).sum())

    def fit(self, stories: StoryBatch) -> RuleTable:
        """Read the rules off the stories of two edges.

        Raises:
            ValueError: there is none.
        """
        short = stories[stories.k == 2]
        if not len(short):
            raise ValueError("stories: none of two edges; allowed: at least one")
        counts = torch.zeros_like(self.rules_)
        for told, query, label, weight in zip(
            short.told.tolist(), short.query.tolist(), short.label, short.weight, strict=True
        ):
            (i, a, middle), (other, b, j) = told
            if [i, j] == query and middle == other:
                counts[a, b, label] += weight
        self.rules_ = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1e-9)
        return self

    def answer(self, stories: StoryBatch) -> Tensor:
        """(B, R) logarithms of the votes at the query pair; about -20 where nothing follows."""
        states = self.chart(stories.dense(self.n_relations))
        rows = torch.arange(len(stories))
        return torch.log(states[rows, stories.query[:, 0], stories.query[:, 1]] + 1e-9)

    def chart(self, edges: Tensor) -> Tensor:
        """All pairs that follow, (B, n, n, R) from told edges of the same shape.

        Raises:
            ValueError: the shape is another.
        """
        types = self.n_relations
        if edges.ndim != 4 or edges.shape[1] != edges.shape[2] or edges.shape[3] != types:
            raise ValueError(f"edges: {tuple(edges.shape)}; allowed: (B, n, n, {types})")
        apart = ~torch.eye(edges.shape[1], dtype=torch.bool)[None, :, :, None]
        states = edges * apart
        while True:
            after = torch.einsum("bkje,aec->bkajc", states, self.rules_)
            votes = torch.einsum("bika,bkajc->bijc", states, after) * apart
            total = votes.sum(dim=-1, keepdim=True)
            fresh = (total > 0) & (states.sum(dim=-1, keepdim=True) == 0)
            if not bool(fresh.any()):
                return states
            states = torch.where(fresh, votes / total.clamp(min=1e-9), states)
