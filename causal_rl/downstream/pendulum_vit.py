"""ViT of ``transformers`` on pendulum questions that are drawn into the picture, under a graph."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from causal_rl.attention.huggingface import use_ecam
from causal_rl.downstream.pendulum import (
    ASKED_LIGHTS,
    N_ANSWERS,
    PATCH,
    SIZE,
    SKY_ROWS,
    PendulumQuestions,
)
from causal_rl.downstream.pendulum_model import read_kept
from causal_rl.downstream.token_model import TokenOptions
from causal_rl.errors import import_extra

_ACROSS = SIZE[1] // PATCH[1]
# Pixels more for every light.
_LINE = PATCH[0] * PATCH[1] // (len(ASKED_LIGHTS) - 1)
#: Tokens of the vision transformer: its class token and every patch of the picture.
N_TOKENS = 1 + (SIZE[0] // PATCH[0]) * _ACROSS


def draw_question_marks(questions: PendulumQuestions) -> NDArray[np.float32]:
    """The pictures, with the question drawn into the empty sky.

    In every patch of the upper row of sky one of the four lines of pixels is bright and says what
    is asked, in the order of `ASKED`. In every patch of the lower row the first 3 i pixels are,
    line by line, where i is the place of the light among `ASKED_LIGHTS`.

    Args:
        questions: whose pictures stay as they are.

    Returns:
        float32 ``(N, 32, 32)``.
    """
    pictures = questions.pictures.copy()
    high, (upper, lower) = PATCH[0], SKY_ROWS
    pixel = np.arange(high * PATCH[1]).reshape(PATCH)
    asked = pixel // PATCH[1] == questions.asked[:, None, None]
    light = pixel < _LINE * questions.light[:, None, None]
    for row, marks in ((upper, asked), (lower, light)):
        pictures[:, high * row : high * (row + 1)] += np.tile(marks, (1, 1, _ACROSS))
    return pictures


def token_graph(kept: ArrayLike) -> NDArray[np.bool_]:
    """(33, 33) graph over the class token and all patches, [i, j] true where j may look at i.

    The class token, the sky that holds the question, and the patches that are kept have edges to
    every other token.

    Args:
        kept: (24,) bool, patches of the scene in the order of
            `causal_rl.downstream.pendulum.patches`.

    Raises:
        ValueError: another shape.
    """
    sources = np.ones(N_TOKENS, dtype=bool)
    row_of = np.arange(N_TOKENS - 1) // _ACROSS
    sources[1:][~np.isin(row_of, SKY_ROWS)] = read_kept(kept)
    graph = np.repeat(sources[:, None], N_TOKENS, axis=1)
    np.fill_diagonal(graph, False)
    return graph


class SceneViT(nn.Module):
    """``ViTForImageClassification`` with :func:`~causal_rl.attention.huggingface.use_ecam`.

    Args:
        options: sizes; ``modulation`` is that of the graph. CATT's dictionary is not used.
        kept: (24,) bool, patches that have edges; None for the host without a graph.

    Raises:
        MissingExtraError: ``transformers`` is not installed.
        ValueError: ``kept`` has another shape, or an option is out of range.
    """

    def __init__(self, options: TokenOptions, kept: ArrayLike | None = None) -> None:
        super().__init__()
        options.check()
        library = import_extra("transformers", extra="transformers")
        config = library.ViTConfig(
            hidden_size=options.embed_dim,
            num_hidden_layers=options.num_layers,
            num_attention_heads=options.num_heads,
            intermediate_size=options.feedforward_dim,
            hidden_dropout_prob=options.dropout,
            attention_probs_dropout_prob=options.dropout,
            image_size=list(SIZE),
            patch_size=list(PATCH),
            num_channels=1,
            num_labels=N_ANSWERS,
            # The library's .02 is for a width of 768 and learns nothing in a thousand steps here.
            initializer_range=options.embed_dim**-0.5,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            self.vit = library.ViTForImageClassification(config)
        use_ecam(self.vit, options.modulation)
        graph = None if kept is None else torch.from_numpy(token_graph(kept))
        self.register_buffer("graph", graph)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, 19) of the answers.

        Args:
            pictures: (B, 32, 32), of `draw_question_marks`.
        """
        graph = {} if self.graph is None else {"ecam_graph": self.graph}
        logits: Tensor = self.vit(pictures[:, None], **graph).logits
        return logits


def vit_inputs(questions: PendulumQuestions) -> tuple[Tensor]:
    """The input of `SceneViT`."""
    return (torch.from_numpy(draw_question_marks(questions)),)
