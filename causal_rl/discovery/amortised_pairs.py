"""Between the values of a table and the pairs of its variables: the parts of an `AmortisedModel`.

Tokens ``(batch, rows, variables, features)`` stand for values, pairs ``(batch, variables,
variables, features)`` for the edge from the first variable to the second. No part knows the number
of rows or variables, or their order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Added to variances before their root is taken.
_LEAST_VARIANCE = 1e-8
#: Fewer rows say too little of a variable's spread.
_ENOUGH_ROWS = 10


class PairProducts(nn.Module):
    """From tokens to pairs: correlations of what two variables' tokens hold.

    Features of the tokens are `standardised` over the rows of their table. Products of those of one
    variable with those of another are averaged, apart for rows in which the first of the two was
    set, rows in which the second was, and all others; how many there are is told too.

    Args:
        token_dim: features of a token.
        pair_dim: features of a pair.
        product_dim: features of either token that are multiplied with each other.
    """

    def __init__(self, token_dim: int, pair_dim: int, product_dim: int) -> None:
        super().__init__()
        self.split = nn.Linear(token_dim, 2 * product_dim)
        self.join = nn.Linear(3 * (2 * product_dim**2 + 1), pair_dim)

    def forward(self, tokens: Tensor, was_set: Tensor) -> Tensor:
        """Average over rows.

        Args:
            tokens: ``(batch, rows, variables, token_dim)``.
            was_set: ``(batch, rows, variables)``, 1 where the variable was set, else 0.

        Returns:
            ``(batch, variables, variables, pair_dim)``.
        """
        batch, _, d, _ = tokens.shape
        done, free = was_set[..., None], 1.0 - was_set[..., None]
        one, other = standardised(self.split(tokens), free).chunk(2, dim=-1)
        parts = []
        for first, second in ((done, free), (free, done), (free, free)):
            count = first.squeeze(-1).transpose(1, 2) @ second.squeeze(-1)
            root = count.clamp(min=1.0).rsqrt()[..., None]
            left = (one * first).flatten(2).transpose(1, 2)
            total = (left @ (other * second).flatten(2)).view(batch, d, -1, d, other.shape[-1])
            # Over the root of the count: how many standard errors the mean is from zero.
            errors = total.transpose(2, 3).flatten(3) * root
            parts += [errors * root, 0.1 * errors, 0.25 * torch.log1p(count)[..., None]]
        joined: Tensor = self.join(torch.cat(parts, -1))
        return joined


class PairUpdate(nn.Module):
    """From pairs to pairs: what is learned by way of a third variable, and a feed-forward net.

    Sums over the third variable run along chains (i -> k -> j), forks (i <- k -> j) and colliders
    (i -> k <- j).

    Args:
        pair_dim: features of a pair.
        product_dim: features that are multiplied, for each of the three.
    """

    def __init__(self, pair_dim: int, product_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(pair_dim)
        self.split = nn.Linear(pair_dim, 6 * product_dim)
        self.join = nn.Linear(3 * product_dim, pair_dim)
        self.feed = feed_forward(pair_dim)

    def forward(self, pairs: Tensor) -> Tensor:
        """``(batch, variables, variables, pair_dim)`` of the same."""
        d = pairs.shape[1]
        parts = self.split(self.norm(pairs)).permute(0, 3, 1, 2).chunk(6, dim=1)
        chains = parts[0] @ parts[1]
        forks = parts[2].transpose(-1, -2) @ parts[3]
        colliders = parts[4] @ parts[5].transpose(-1, -2)
        joined = torch.cat([chains, forks, colliders], 1).permute(0, 2, 3, 1) / d**0.5
        pairs = pairs + self.join(joined)
        updated: Tensor = pairs + self.feed(pairs)
        return updated


class Messages(nn.Module):
    """From pairs to tokens: sums over variables, with weights of either sign that the pairs tell.

    Attention alone can only average; a regression subtracts too.

    Args:
        token_dim: features of a token, a multiple of ``heads``.
        pair_dim: features of a pair.
        heads: weights a pair, each for its own share of the features.
    """

    def __init__(self, token_dim: int, pair_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.weights = nn.Sequential(nn.LayerNorm(pair_dim), nn.Linear(pair_dim, heads))
        self.split = nn.Linear(token_dim, token_dim)
        self.join = nn.Linear(token_dim, token_dim)

    def forward(self, tokens: Tensor, pairs: Tensor) -> Tensor:
        """Sum over the other variables of each row.

        Args:
            tokens: ``(batch, rows, variables, token_dim)``.
            pairs: ``(batch, variables, variables, pair_dim)``.

        Returns:
            As the tokens.
        """
        batch, rows, d, _ = tokens.shape
        weights = self.weights(pairs).permute(0, 3, 2, 1)  # batch, head, effect, cause
        own = torch.eye(d, dtype=torch.bool, device=weights.device)
        parts = self.split(tokens).view(batch, rows, d, self.heads, -1).permute(0, 3, 2, 1, 4)
        sums = weights.masked_fill(own, 0.0) @ parts.flatten(3)
        joined = sums.view(batch, self.heads, d, rows, -1).permute(0, 3, 2, 1, 4)
        out: Tensor = self.join(joined.flatten(3))
        return out


def standardised(values: Tensor, free: Tensor) -> Tensor:
    """Centre and scale by the rows in which the variable was not set.

    By all rows, settings that are far off would squeeze all else together.

    Args:
        values: ``(batch, rows, ...)``.
        free: 1 where the variable was not set, else 0; as the values, or with axes of length 1.
            Where it is 1 in too few rows, all count.

    Returns:
        As the values.
    """
    used = torch.where(free.sum(dim=1, keepdim=True) >= _ENOUGH_ROWS, free, 1.0)
    count = used.sum(dim=1, keepdim=True)
    centred = values - (values * used).sum(dim=1, keepdim=True) / count
    variance = (centred.square() * used).sum(dim=1, keepdim=True) / count
    return centred * torch.rsqrt(variance + _LEAST_VARIANCE)


def feed_forward(width: int) -> nn.Sequential:
    """LayerNorm and two layers, the inner one twice as wide."""
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
    )
