"""Networks on another device than their rows: they train and answer there, to the same figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_stories import RELATIONS, cyclic, models, texts
from torch import Tensor, nn

from causal_rl.benchmarks.table3_rows import CLUTRR, KERNEL, measured
from causal_rl.benchmarks.table3_stories import composer
from causal_rl.datasets import AcreProblem, AcreQuery, AcreTrial
from causal_rl.devices import device_of, forked_random
from causal_rl.discovery.representation_graph import GraphFromRepresentations
from causal_rl.downstream.acre_tokens import TRUE_RELATIONS, AcreTransformer, acre_rows
from causal_rl.downstream.acre_tokens import learn_relations as relations_of
from causal_rl.downstream.cue_classifier import ClassifierOptions, predict, train_classifier
from causal_rl.downstream.cue_game import CueRows, make_game
from causal_rl.downstream.pendulum import draw_questions, pendulum_scm
from causal_rl.downstream.pendulum_model import SceneTransformer, invariant_patches, scene_inputs
from causal_rl.downstream.stories import StoryTraining, story_accuracy, train_on_stories
from causal_rl.downstream.story_text import (
    EdgeExtractor,
    cut_windows,
    extract_edges,
    read_words,
    train_extractor,
)
from causal_rl.downstream.text_model import TextTransformer
from causal_rl.downstream.text_tokens import TextRows
from causal_rl.downstream.token_model import TokenOptions, predict_logits, train_model
from tests.other_device import OTHER, on_both, other_device

CPU = torch.device("cpu")
OPTIONS = TokenOptions(embed_dim=8, num_heads=2, feedforward_dim=16, steps=2, batch=8)
PROBLEM = AcreProblem(
    trials=(AcreTrial((7, 3), light=True), AcreTrial((3,), light=False)),
    queries=(
        AcreQuery((7,), "on", "indirect", None),
        AcreQuery((3, 5), "off", "direct", 1),
    ),
)


def weights_of(model: nn.Module) -> NDArray[np.floating]:
    return np.concatenate([p.detach().cpu().numpy().ravel() for p in model.parameters()])


def trained(
    model: nn.Module, inputs: tuple[Tensor, ...], labels: Tensor, options: TokenOptions
) -> NDArray[np.floating]:
    """Logits after a training with rows held out."""
    train_model(model, inputs, labels, options, held_out=(inputs, labels), checks=2)
    return predict_logits(model, inputs, batch=5).numpy()


def test_the_other_device_is_one() -> None:
    with other_device() as device:
        x = torch.ones(3, device=device)
        assert x.device == OTHER
        with pytest.raises(RuntimeError, match="meets tensors"):
            x + torch.ones(3)
        with pytest.raises(RuntimeError, match="numpy"):
            x.numpy()
        assert float((x + 1).sum().cpu()) == 6


def test_a_scene() -> None:
    data = draw_questions(20, [pendulum_scm()], 0)

    def work(device: torch.device) -> NDArray[np.floating]:
        model = SceneTransformer(OPTIONS, hide=0.3).to(device)
        return trained(model, scene_inputs(data), torch.from_numpy(data.answer), OPTIONS)

    on_both(work)


def test_environments_and_a_dictionary() -> None:
    data = draw_questions(20, [pendulum_scm(), pendulum_scm(flag_noise=0.5)], 0)
    options = replace(OPTIONS, objective="irm", penalty=10.0, dictionary=4, dropout=0.1)

    def work(device: torch.device) -> NDArray[np.floating]:
        model = SceneTransformer(options).to(device)
        labels, environments = torch.from_numpy(data.answer), torch.from_numpy(data.environment)
        inputs = scene_inputs(data)
        return weights_of(train_model(model, inputs, labels, options, environments=environments))

    on_both(work)


def test_patches_and_relations_that_are_learned() -> None:
    data = draw_questions(60, [pendulum_scm(), pendulum_scm(flag_noise=0.5)], 0)
    on_both(lambda device: invariant_patches(data, OPTIONS, device=device).astype(float))
    rows = acre_rows([PROBLEM] * 10)

    def work(device: torch.device) -> NDArray[np.floating]:
        found = relations_of(rows, OPTIONS, device=device)
        return np.array([name in found for name in TRUE_RELATIONS], dtype=float)

    on_both(work)


def test_acre() -> None:
    rows = acre_rows([PROBLEM] * 4)

    def work(device: torch.device) -> NDArray[np.floating]:
        model = AcreTransformer(OPTIONS, TRUE_RELATIONS, drop=0.2).to(device)
        return trained(model, rows.inputs(), torch.from_numpy(rows.answer), OPTIONS)

    on_both(work)


@pytest.mark.parametrize("with_edges", [False, True])
def test_text(with_edges: bool) -> None:
    rng, n_words = np.random.default_rng(0), 12
    words = rng.integers(2, n_words, size=(20, 5))
    rows = TextRows(words, np.zeros_like(words), rng.integers(0, 2, 20))
    edges = np.ones((n_words, 5), dtype=bool) if with_edges else None

    def work(device: torch.device) -> NDArray[np.floating]:
        model = TextTransformer(n_words, words.shape[1], 2, OPTIONS, edges).to(device)
        return trained(model, rows.inputs(), torch.from_numpy(rows.labels), OPTIONS)

    on_both(work)


@pytest.fixture
def double() -> Iterator[None]:
    """Adam turns the rounding of a gradient of nothing into a step: none is left in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("index", range(6))
@pytest.mark.parametrize("invariance", [0.0, 10.0])
def test_stories(index: int, invariance: float) -> None:
    train = cyclic((2, 3))
    slots = 6 if index > 2 else 0
    training = StoryTraining(steps=3, sparsity=1.0, invariance=invariance, slots=slots)

    def work(device: torch.device) -> NDArray[np.floating]:
        model = models()[index].to(device)
        train_on_stories(model, model.answer, train, training, seed=0)
        share = story_accuracy(model.answer, cyclic((4,)))[4]
        return np.append(weights_of(model), share)

    on_both(work)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("row", measured(CLUTRR))
def test_rows_of_the_ablation(row: str) -> None:
    train = cyclic((2, 3))

    def work(device: torch.device) -> NDArray[np.floating]:
        model = composer(row, train, 0, hidden=8).double().to(device)
        train_on_stories(model, model.answer, train, StoryTraining(steps=2), seed=0)
        return np.append(weights_of(model), float((model.graph() > 0.5).float().sum()))

    if row == KERNEL:
        # Moving a module parts weights that two modules share, if they are no plain tensors.
        with other_device() as device:
            assert np.isfinite(work(device)).all()
    else:
        on_both(work)


def test_prose() -> None:
    windows = cut_windows(texts(), read_words(texts(), least=1), RELATIONS)

    def work(device: torch.device) -> NDArray[np.floating]:
        extractor = EdgeExtractor(len(RELATIONS), buckets=64, hidden=8).to(device)
        train_extractor(extractor, windows, steps=3, batch_size=8)
        return extract_edges(extractor, windows, 2, 3).numpy()

    on_both(work)


def cue_rows() -> tuple[CueRows, int, int]:
    game = make_game("copy", 0)
    return game.sample(60, 0.9, np.random.default_rng(0)), game.words, game.length


@pytest.mark.parametrize("algorithm_1", [False, True])
def test_cues(algorithm_1: bool) -> None:
    rows, words, length = cue_rows()
    modulation = "log" if algorithm_1 else "hard"
    options = ClassifierOptions(
        steps=4, embed_dim=8, feedforward_dim=8, hide=0.2, modulation=modulation
    )

    def work(device: torch.device) -> NDArray[np.floating]:
        graph = np.ones((length + 1, length + 1))
        given = GraphFromRepresentations(length + 1) if algorithm_1 else graph
        model = train_classifier(rows, words, given, options, rounds=1, device=device)
        assert device_of(model) == device
        labels = predict(model, rows, graph)
        tokens = torch.from_numpy(rows.tokens[:3]).to(device)
        weights = model.attention(tokens, model.prepare(graph))
        learned = given.strengths() if isinstance(given, GraphFromRepresentations) else graph
        return np.concatenate([labels, weights.ravel(), learned.ravel()])

    on_both(work)


def test_generator_of_the_cpu_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with forked_random(CPU):
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_generator_of_the_gpu_is_left_alone() -> None:  # pragma: no cover - needs a GPU
    torch.cuda.manual_seed(0)
    expected = torch.rand(3, device="cuda")
    torch.cuda.manual_seed(0)
    with forked_random(torch.device("cuda")):
        torch.manual_seed(5)
        torch.rand(7, device="cuda")
    assert torch.equal(torch.rand(3, device="cuda"), expected)
