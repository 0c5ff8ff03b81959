"""A small vision transformer that answers questions about a scene, reading some of its patches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.downstream.pendulum import (
    ASKED,
    ASKED_LIGHTS,
    N_ANSWERS,
    PATCH,
    PendulumQuestions,
    patch_objects,
    patches,
)
from causal_rl.downstream.token_model import (
    TokenEncoder,
    TokenOptions,
    predict_logits,
    train_model,
)

#: Tokens before the patches: the answer, what is asked, the light that is set.
N_QUESTION = 3
N_PATCHES = len(patch_objects())
_CHANCE_KEPT = 0.7


def read_kept(kept: ArrayLike) -> NDArray[np.bool_]:
    """Which patches have edges, as a copy (24,) bool.

    Raises:
        ValueError: another shape.
    """
    chosen = np.array(kept, dtype=bool)
    if chosen.shape != (N_PATCHES,):
        raise ValueError(f"kept has shape {chosen.shape}; it must be ({N_PATCHES},)")
    return chosen


class SceneTransformer(nn.Module):
    """Answer, question and patches as tokens; the answer's token is read.

    The graph over tokens has edges from the question and from each patch that is kept to every
    other token; a patch without edges is seen by none. Kept everywhere it is a plain transformer.

    Args:
        options: sizes.
        kept: (24,) bool, patches that have edges; all if None.
        hide: probability with which a kept patch loses its edges in training.

    Raises:
        ValueError: ``kept`` has another shape.
    """

    kept: Tensor

    def __init__(
        self, options: TokenOptions, kept: ArrayLike | None = None, *, hide: float = 0.0
    ) -> None:
        super().__init__()
        chosen = read_kept(np.ones(N_PATCHES) if kept is None else kept)
        width = options.embed_dim
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.patch = nn.Linear(PATCH[0] * PATCH[1], width)
            self.place = nn.Parameter(0.1 * torch.randn(N_QUESTION + N_PATCHES, width))
            self.asked = nn.Embedding(len(ASKED), width)
            self.light = nn.Embedding(len(ASKED_LIGHTS), width)
            self.encoder = TokenEncoder(options)
            self.head = nn.Linear(width, N_ANSWERS)
        self.register_buffer("kept", torch.from_numpy(chosen))
        self.hide = hide

    def graph(self, rows: int) -> Tensor:
        """(n, n), or (rows, n, n) while patches are hidden; [i, j] true where j may look at i."""
        seen = functional.pad(self.kept, (N_QUESTION, 0), value=True)
        n = len(seen)
        if not (self.training and self.hide):
            return seen[:, None].expand(n, n)
        drawn = torch.rand(rows, n) >= self.hide
        drawn[:, :N_QUESTION] = True
        drawn = drawn.to(seen.device)
        return (seen & drawn)[:, :, None].expand(rows, n, n)

    def forward(self, cut: Tensor, asked: Tensor, light: Tensor) -> Tensor:
        """Logits (B, 19) of the answers.

        Args:
            cut: (B, 24, 32) patches.
            asked: (B,) index into `ASKED`.
            light: (B,) index into `ASKED_LIGHTS`.
        """
        empty = cut.new_zeros(len(cut), 1, self.place.shape[1])
        question = [self.asked(asked)[:, None], self.light(light)[:, None]]
        x = torch.cat([empty, *question, self.patch(cut)], dim=1) + self.place
        logits: Tensor = self.head(self.encoder(x, self.graph(len(x))))
        return logits


def scene_inputs(questions: PendulumQuestions) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs of `SceneTransformer`."""
    return (
        torch.from_numpy(patches(questions.pictures)),
        torch.from_numpy(questions.asked),
        torch.from_numpy(questions.light),
    )


def true_patches() -> NDArray[np.bool_]:
    """(24,) the patches of the answer's causes under do(light).

    Those are the pendulum and, where it is asked what changes, the light as it is. The shade that
    the picture shows is an effect of the light that was, and the flag of the wind.
    """
    return np.array([name in ("pendulum", "light") for name in patch_objects()])


def correlated_patches(questions: PendulumQuestions, level: float = 0.01) -> NDArray[np.bool_]:
    """(24,) patches that are correlated with an answer: what Attn+Mask is given.

    For every kind of question the mean brightness of the left and of the right half of the patch is
    held against the answer (Fisher's z of the correlation, Bonferroni over the 24 patches).

    Args:
        questions: of the training.
        level: of the tests, in (0, 1).
    """
    from scipy.special import ndtri

    cut = patches(questions.pictures).reshape(len(questions), N_PATCHES, *PATCH)
    halves = cut.reshape(*cut.shape[:3], 2, -1).mean(axis=(2, 4))
    found = np.zeros(N_PATCHES, dtype=bool)
    bound = -ndtri(level / (4 * len(ASKED) * N_PATCHES))
    for kind in range(len(ASKED)):
        rows = questions.asked == kind
        x, y = halves[rows], questions.answer[rows].astype(np.float64)
        x, y = x - x.mean(axis=0), y - y.mean()
        size = np.sqrt((x**2).sum(axis=0) * (y**2).sum())
        r = (x * y[:, None, None]).sum(axis=0) / np.maximum(size, 1e-12)
        z = np.arctanh(np.clip(r, -1 + 1e-9, 1 - 1e-9)) * np.sqrt(max(rows.sum() - 3, 1))
        found |= (np.abs(z) > bound).any(axis=1)
    return found


def invariant_patches(
    questions: PendulumQuestions,
    options: TokenOptions,
    *,
    level: float = 0.01,
    device: str | torch.device = "cpu",
) -> NDArray[np.bool_]:
    """(24,) patches that tell the same of the answer in every environment.

    The idea of invariant causal prediction (Peters et al. 2016), for tokens: how the answer
    follows from its causes is the same everywhere, so environments that differ in how well it can
    be told are made to differ by something that is no cause. A transformer is trained with patches
    hidden at random, so that it predicts from any set. On rows held out, the set begins with all
    patches. What a patch is worth, the loss without it less the loss with it, is held against its
    worth in other environments (Welch's test, Bonferroni). Of the patches without which the
    environments are more alike, the one that differs most is left out, until none differs. Nothing
    but training rows is used.

    Args:
        questions: of the training, with at least two environments.
        options: of the model and its training.
        level: of the tests of one round together, in (0, 1).
        device: of the model.

    Raises:
        ValueError: fewer than two environments.
    """
    from scipy.stats import ttest_ind

    kinds = np.unique(questions.environment)
    if len(kinds) < 2:
        raise ValueError("questions are of one environment; at least two are needed")
    cut = 4 * len(questions) // 5
    inputs = scene_inputs(questions)
    labels = torch.from_numpy(questions.answer)
    model = SceneTransformer(options, hide=1 - _CHANCE_KEPT).to(device)
    train_model(model, [values[:cut] for values in inputs], labels[:cut], options)
    rest, own = [values[cut:] for values in inputs], questions.environment[cut:]

    def losses(kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        model.kept.copy_(torch.from_numpy(kept))
        loss = functional.cross_entropy(predict_logits(model, rest), labels[cut:], reduction="none")
        values: NDArray[np.float64] = loss.double().numpy()
        return values

    def spread(loss: NDArray[np.float64]) -> float:
        return float(np.std([loss[own == kind].mean() for kind in kinds]))

    kept = np.ones(N_PATCHES, dtype=bool)
    while kept.sum() > 1:
        now, p = losses(kept), np.ones(N_PATCHES)
        for patch in np.flatnonzero(kept):
            kept[patch] = False
            without = losses(kept)
            kept[patch] = True
            if spread(without) < spread(now):
                worth = without - now
                p[patch] = min(
                    ttest_ind(worth[own == kind], worth[own != kind], equal_var=False).pvalue
                    for kind in kinds
                )
        if p.min() * len(kinds) * N_PATCHES >= level:
            break
        kept[p.argmin()] = False
    return kept
