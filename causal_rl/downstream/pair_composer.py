"""Causal attention over pairs of entities: known relations compose over the entity between."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from causal_rl.attention.modulation import Modulation, check_modulation
from causal_rl.devices import device_of
from causal_rl.downstream.stories import StoryBatch

GraphSource = Literal["learned", "full"]
GRAPH_SOURCES: tuple[GraphSource, ...] = get_args(GraphSource)
_TINY = 1e-9
_HIGH = 1e4
_FLOOR = 1e-4


class PairComposer(nn.Module):
    """Attention over middle entities, by steps of one shared weight, until the query is known.

    The state of an ordered pair (i, j) is a vector P[i, j] over relation types: the probability of
    each, which sums to how far the pair is known, 0 to 1. A step fills in pairs by triangles
    (i, k, j). With e a learned embedding of relation types, q and k linear maps of it:

    * M[i, k, j] = sum_ab P[i, k, a] P[k, j, b] G[a, b] is the modulation (ECAM, Eq. 2): both
      pairs must be known, and their relations must be ones that compose. G, the graph over
      relation types ("b may follow a"), is learned under the sparsity penalty of Eq. 3
      (`graph_penalty`), or given.
    * A[i, k, j] = q(P[i, k] e) . k(P[k, j] e) / sqrt(d) are the scores, the softmax over k is
      modulated by M as in `causal_rl.attention`: "log" softmax(A + log M), "hard" the same with G
      cut at 1/2 (straight-through gradient), "scale" softmax(A * M), which does not mask.
    * The values are the composed relations: sum_ab P[i, k, a] P[k, j, b] G[a, b] T[a, b], where
      T[a, b] is a softmax over relation types, made by a network from e_a and e_b.

    The new pair is known as far as any triangle is, 1 - prod_k (1 - M[i, k, j]), and takes the
    place of what was unknown: P <- P + (1 - known) * new. Pairs (i, i) stay unknown, as a story
    asks about two. Where every M is 0 the state is exactly 0. Nothing depends on which entity has
    which number, and a story's result does not depend on the others in its batch.

    Args:
        n_relations: R, relation types; those told and those asked are of one vocabulary.
        width: features of an embedding.
        hidden: units of each of the two hidden layers behind T.
        graph: "learned"; "full", which lets everything compose; or (R, R), entries in [0, 1].
        modulation: "hard", "log" or "scale".
        cut: in evaluation mode a learned G is 1 above it and 0 below; None leaves it as it is.
        generator: draws the first weights.

    Raises:
        ValueError: a size below 1, an unknown modulation, a cut outside (0, 1), a graph of another
            shape or with entries outside [0, 1].
    """

    def __init__(
        self,
        n_relations: int,
        *,
        width: int = 64,
        hidden: int = 128,
        graph: GraphSource | ArrayLike = "learned",
        modulation: Modulation = "log",
        cut: float | None = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("n_relations", n_relations), ("width", width), ("hidden", hidden)):
            if value < 1:
                raise ValueError(f"{name}: {value}; allowed: >= 1")
        if cut is not None and not 0 < cut < 1:
            raise ValueError(f"cut: {cut}; allowed: in (0, 1), or None")
        self.cut = cut
        self.n_relations = n_relations
        self.modulation: Modulation = check_modulation(modulation)
        self.embedding = nn.Embedding(n_relations, width)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Sequential(
            nn.Linear(2 * width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, n_relations),
        )
        self.learns_graph = isinstance(graph, str) and graph == "learned"
        if self.learns_graph:
            # Open at first: what is not needed is closed by the penalty.
            self.graph_logits = nn.Parameter(torch.full((n_relations, n_relations), 1.0))
        else:
            self.register_buffer("given_graph", _given(graph, n_relations))
        if generator is not None:
            _redraw(self, generator)

    def graph(self) -> Tensor:
        """(R, R) in [0, 1], [a, b] how freely b composes after a; cut where the class says so."""
        if not self.learns_graph:
            given: Tensor = self.get_buffer("given_graph")
            return given
        soft = torch.sigmoid(self.graph_logits)
        if not self.training and self.cut is not None:
            return (soft > self.cut).to(soft.dtype)
        if self.modulation != "hard":
            return soft
        return (soft > 0.5).to(soft.dtype) + soft - soft.detach()

    def graph_penalty(self) -> Tensor:
        """R(G) of Eq. 3: the mean of the learned graph; 0 where the graph is given."""
        if not self.learns_graph:
            return self.embedding.weight.new_zeros(())
        return torch.sigmoid(self.graph_logits).mean()

    def table(self) -> Tensor:
        """T, (R, R, R): [a, b, c] the probability that b after a makes c."""
        e, n = self.embedding.weight, self.n_relations
        pairs = torch.cat([e[:, None].expand(n, n, -1), e[None].expand(n, n, -1)], dim=-1)
        return torch.softmax(self.value(pairs), dim=-1)

    def forward(self, edges: Tensor, query: Tensor, steps: Tensor | None = None) -> Tensor:
        """The relation at the query pair of every story.

        Args:
            edges: (B, n, n, R) floats: [b, i, j] the relation types of the pair as told, zeros
                where nothing is; non-negative, their sum at most 1.
            query: (B, 2) integers, the two entities asked about.
            steps: (B,) integers >= 0, steps of each story; by default one less than the edges
                told, which suffices for any way to bracket a chain of them.

        Returns:
            (B, R), the probability of each relation, summing to how far the pair is known.

        Raises:
            ValueError: shapes disagree, a state is negative, sums to more than 1 or is not finite,
                a query is no entity.
        """
        states = self.states(edges, steps)
        _check_query(query, states)
        rows = torch.arange(len(query), device=query.device)
        return states[rows, query[:, 0], query[:, 1]]

    def answer(self, stories: StoryBatch) -> Tensor:
        """(B, R) logarithms of the probabilities of the answers; a step less than edges told."""
        stories = stories.to(device_of(self))
        steps = ((stories.told[..., 0] >= 0).sum(dim=1) - 1).clamp(min=1)
        states = self(stories.dense(self.n_relations), stories.query, steps)
        # A pair that stays unknown must cost a bounded loss.
        return torch.log(states + _TINY if not self.training else states + _FLOOR)

    def states(self, edges: Tensor, steps: Tensor | None = None) -> Tensor:
        """The states of all pairs after the last step, (B, n, n, R); see `forward`."""
        told = self._check_edges(edges)
        count = edges.shape[0]
        if steps is None:
            steps = ((told > 0.5).sum(dim=(1, 2)) - 1).clamp(min=1)
        if steps.shape != (count,) or bool((steps < 0).any()):
            raise ValueError(f"steps: {tuple(steps.shape)}; allowed: ({count},) integers >= 0")
        parts = self.embedding.weight, self.graph(), self.table()
        n = edges.shape[1]
        apart = ~torch.eye(n, dtype=torch.bool, device=edges.device)[None, :, :, None]
        states = edges * apart
        for step in range(int(steps.max()) if count else 0):
            filled = self.compose(states, *parts) * apart
            running = (steps > step)[:, None, None, None]
            states = torch.where(running, filled, states)
        return states

    def scores(self, states: Tensor, embedding: Tensor, graph: Tensor) -> Tensor:
        """How much each entity between two others is attended to, before M.

        Args:
            states: (B, n, n, R).
            embedding: (R, d) of the relations.
            graph: (R, R), not read here; for scores of another form.

        Returns:
            (B, n, n, n): [b, i, k, j] of k for the pair (i, j).
        """
        q, k = self.query(states @ embedding), self.key(states @ embedding)
        found: Tensor = torch.einsum("bikd,bkjd->bikj", q, k) * q.shape[-1] ** -0.5
        return found

    def compose(self, states: Tensor, embedding: Tensor, graph: Tensor, table: Tensor) -> Tensor:
        """One composition over all triangles.

        Args:
            states: (B, n, n, R).
            embedding: (R, d) of the relations.
            graph: (R, R), how far b may stand behind a.
            table: (R, R, R), what follows of a and b.

        Returns:
            (B, n, n, R); what was known stays.
        """
        batch, n, _, types = states.shape
        # [b, i, k, j] throughout, so that every sum over a relation is one matrix product.
        scores = self.scores(states, embedding, graph)
        strength = torch.einsum("bika,bkja->bikj", states @ graph, states).clamp(0.0, 1.0)
        after = torch.einsum("bkje,aec->bkajc", states, graph[:, :, None] * table)
        values = torch.einsum(
            "bkia,bkam->bkim", states.transpose(1, 2), after.reshape(batch, n, types, n * types)
        )
        values = values.view(batch, n, n, n, types)  # [b, k, i, j, c], of mass M
        if self.modulation == "scale":
            # It does not mask, so that numbers no entity of the story has must be kept out.
            told = states.sum(dim=-1) > 0
            present = (told.any(dim=1) | told.any(dim=2))[:, None, :, None]
            weights = torch.softmax((scores * strength).masked_fill(~present, -_HIGH), dim=2)
            new = torch.einsum("bikj,bkijc->bijc", weights, values)
            return states + (1.0 - _known(states)) * new
        # softmax(A + log M) over k: the values bear M already.
        top = scores.detach().masked_fill(strength <= 0, -torch.inf).amax(dim=2, keepdim=True)
        raised = torch.exp((scores - top.clamp(min=-_HIGH)).clamp(max=0.0))
        mixed = torch.einsum("bikj,bkijc->bijc", raised, values)
        mass = mixed.sum(dim=-1, keepdim=True)
        known = 1.0 - torch.prod(1.0 - strength, dim=2)
        new = mixed / mass.clamp(min=_TINY) * known[..., None]
        return states + (1.0 - _known(states)) * new

    def _check_edges(self, edges: Tensor) -> Tensor:
        """How far each pair is told, (B, n, n)."""
        types = self.n_relations
        if edges.ndim != 4 or edges.shape[1] != edges.shape[2] or edges.shape[3] != types:
            raise ValueError(f"edges: {tuple(edges.shape)}; allowed: (B, n, n, {types})")
        told = edges.sum(dim=-1)
        if not bool(torch.isfinite(edges).all()) or bool((edges < 0).any()):
            raise ValueError("edges: a state is negative or not finite; allowed: probabilities")
        if bool((told > 1 + 1e-4).any()):
            raise ValueError(f"edges: a state sums to {float(told.max()):.3g}; allowed: at most 1")
        return told


def _known(states: Tensor) -> Tensor:
    return states.sum(dim=-1, keepdim=True).clamp(max=1.0)


def _given(graph: ArrayLike, n: int) -> Tensor:
    """The fixed graph as a checked tensor."""
    if isinstance(graph, str):
        if graph != "full":
            raise ValueError(f"graph: {graph!r}; allowed: {GRAPH_SOURCES} or ({n}, {n})")
        return torch.ones(n, n)
    array = np.asarray(graph, dtype=np.float32)
    if array.shape != (n, n) or not ((array >= 0) & (array <= 1)).all():
        raise ValueError(f"graph: {array.shape}; allowed: ({n}, {n}) with entries in [0, 1]")
    return torch.from_numpy(array.copy())


def _redraw(module: nn.Module, generator: torch.Generator) -> None:
    """Weights of linear maps and embeddings, drawn by ``generator``."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            bound = part.in_features**-0.5
            nn.init.uniform_(part.weight, -bound, bound, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, generator=generator)


def _check_query(query: Tensor, states: Tensor) -> None:
    count, n = states.shape[:2]
    if query.shape != (count, 2) or bool(((query < 0) | (query >= n)).any()):
        raise ValueError(f"query: {tuple(query.shape)}; allowed: ({count}, 2) entities 0..{n - 1}")
