"""ViT on pendulum questions: the question is in the picture, the graph over patches is obeyed."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from causal_rl.downstream.pendulum import (
    ASKED,
    ASKED_LIGHTS,
    draw_questions,
    patch_objects,
    patches,
    pendulum_scm,
)
from causal_rl.downstream.pendulum_model import true_patches
from causal_rl.downstream.pendulum_vit import (
    SceneViT,
    draw_question_marks,
    token_graph,
    vit_inputs,
)
from causal_rl.downstream.token_model import TokenOptions
from causal_rl.errors import MissingExtraError

pytest.importorskip("transformers", reason="needs the extra 'transformers'")

OPTIONS = TokenOptions(embed_dim=16, num_heads=2, feedforward_dim=16)
QUESTIONS = draw_questions(200, [pendulum_scm()], 0, pixel_noise=0.0)


def test_the_question_can_be_read_from_the_sky_and_the_scene_is_as_it_was() -> None:
    marked = draw_question_marks(QUESTIONS)
    np.testing.assert_array_equal(patches(marked), patches(QUESTIONS.pictures))  # all but the sky
    every = len(ASKED_LIGHTS) * QUESTIONS.asked + QUESTIONS.light
    sky = marked[:, 4:12].reshape(len(marked), -1)
    for i in range(len(marked)):
        np.testing.assert_array_equal((sky == sky[i]).all(axis=1), every == every[i])
    assert len(set(QUESTIONS.asked.tolist())) == len(ASKED)
    assert QUESTIONS.pictures[:, 4:12].max() == 0  # not drawn in place


def test_every_patch_of_a_row_says_the_same() -> None:
    sky = draw_question_marks(QUESTIONS)[:, 4:12].reshape(len(QUESTIONS), 8, 4, 8)
    for column in range(1, 4):
        np.testing.assert_array_equal(sky[:, :, column], sky[:, :, 0])


def test_a_patch_without_edges_moves_nothing() -> None:
    model = SceneViT(OPTIONS, true_patches()).eval()
    plain = SceneViT(OPTIONS).eval()
    shown = np.array(patch_objects())
    (pictures,) = vit_inputs(QUESTIONS)
    hidden, seen = pictures.clone(), pictures.clone()
    hidden[:, 28:] += 1.0  # the ground, where the shade falls
    hidden[:, :4, :8] += 1.0  # the flag
    seen[:, 16:20] += 1.0  # the pendulum
    assert set(shown[~true_patches()]) == {"flag", "shade"}
    with torch.no_grad():
        torch.testing.assert_close(model(hidden), model(pictures), rtol=0, atol=1e-6)
        assert (model(seen) - model(pictures)).abs().max() > 1e-3
        assert (plain(hidden) - plain(pictures)).abs().max() > 1e-3


def test_all_patches_kept_is_the_host() -> None:
    (pictures,) = vit_inputs(QUESTIONS)
    with torch.no_grad():
        full = SceneViT(OPTIONS, np.ones(24, dtype=bool)).eval()(pictures)
        torch.testing.assert_close(full, SceneViT(OPTIONS).eval()(pictures), rtol=0, atol=1e-6)


def test_graph_has_the_class_token_and_the_sky_as_sources() -> None:
    graph = token_graph(np.zeros(24, dtype=bool))
    assert graph.shape == (33, 33)
    assert np.flatnonzero(graph.any(axis=1)).tolist() == [0, *range(5, 13)]
    assert not graph.diagonal().any()


@pytest.mark.parametrize("kept", [[True] * 3, np.ones((24, 1))])
def test_refuses_another_number_of_patches(kept: object) -> None:
    with pytest.raises(ValueError, match="kept has shape"):
        SceneViT(OPTIONS, kept)  # type: ignore[arg-type]


def test_refuses_sizes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="num_heads is 3"):
        SceneViT(replace(OPTIONS, num_heads=3))


def test_says_which_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[transformers\]"):
        SceneViT(OPTIONS)
