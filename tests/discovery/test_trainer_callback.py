from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from causal_rl.attention import CausalAttention
from causal_rl.discovery import GraphFromRepresentations
from causal_rl.discovery.trainer_callback import trainer_callback
from causal_rl.errors import MissingExtraError
from causal_rl.graphs import h_logdet

ARGS = SimpleNamespace(world_size=1)


class Tiny(nn.Module):
    """Three numbers in, their sum out, by attention under a graph."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.attend = nn.Linear(1, 4), CausalAttention(4, 1, "log")
        self.read = nn.Linear(4, 1)
        self.graphs: list[torch.Tensor | None] = []

    def forward(self, x, labels=None, ecam_graph=None):
        self.graphs.append(ecam_graph)
        graph = torch.ones(3, 3) if ecam_graph is None else ecam_graph
        out = self.read(self.attend(self.lift(x.unsqueeze(-1)), graph)).sum((1, 2))
        return {"loss": (out - labels).square().mean(), "logits": out}


def rows(count: int = 40) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(count, 3))).float()


def batches() -> list[dict[str, torch.Tensor]]:
    return [{"x": part, "labels": part.sum(1)} for part in rows().split(10)]


def test_the_events_of_a_trainer_learn_a_graph_every_k_epochs() -> None:
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, learner = Tiny(), GraphFromRepresentations(3, every=2)
    callback = trainer_callback(learner, model.lift)
    first, weights = learner.strengths(), model.read.weight.clone()
    callback.on_train_begin(ARGS, None, None, model=model)
    for epoch in (1, 2):
        for batch in batches():
            model(**batch)["loss"].backward()
        model.zero_grad()
        assert learner.graph.grad is None
        assert not any(graph.requires_grad for graph in model.graphs)
        np.testing.assert_array_equal(learner.strengths(), first)
        state = SimpleNamespace(epoch=epoch - 1e-9)
        callback.on_epoch_end(ARGS, state, None, model=model, train_dataloader=batches())
    expected = []
    for batch in batches():
        graph = torch.tensor(first, dtype=torch.float32, requires_grad=True)
        expected.append(
            torch.autograd.grad(model(**batch, ecam_graph=graph)["loss"], graph)[0].double()
        )
    learned, step = torch.stack(expected).mean(0).numpy(), learner.last_
    assert (step.batches, step.rows) == (4, 40)
    np.testing.assert_allclose(step.gradient - learned, _priors(learner, first), atol=1e-6)
    assert step.separated.sum() == 6  # three variables that have nothing in common
    assert not learner.strengths().any()
    assert model.training
    assert model.read.weight.grad is None or not model.read.weight.grad.any()
    assert torch.equal(model.read.weight, weights)
    callback.on_train_end(ARGS, None, None, model=model)
    model(**batches()[0])
    assert model.graphs[-1] is None


def _priors(learner: GraphFromRepresentations, graph: np.ndarray) -> np.ndarray:
    """What the sparsity and the acyclicity add to a gradient."""
    return learner.sparsity * np.sign(graph) + learner.acyclicity * h_logdet(graph, s=3.0)[1]


@pytest.mark.slow
def test_a_bert_under_a_graph_in_the_trainer(tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from causal_rl.attention.huggingface import use_ecam

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 2, (300, 5))
    for cause in (0, 1):  # token 1 -> token 2 -> token 3
        ids[:, cause + 1] = ids[:, cause] ^ (rng.random(300) < 0.1)
    config = transformers.BertConfig(
        vocab_size=2,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=5,
        num_labels=2,
    )
    model = use_ecam(transformers.BertForSequenceClassification(config), "log")
    learner = GraphFromRepresentations(5, every=2)
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=2,
            per_device_train_batch_size=50,
            gradient_accumulation_steps=2,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=[{"input_ids": torch.from_numpy(row), "labels": int(row[4])} for row in ids],
        callbacks=[trainer_callback(learner, model.bert.embeddings)],
    )
    trainer.train()
    adjacent = np.zeros((5, 5), dtype=bool)
    adjacent[[0, 1, 1, 2], [1, 0, 2, 1]] = True
    assert learner.last_.batches == 6
    assert learner.last_.rows == 300
    assert np.array_equal(learner.strengths() != 0, adjacent)
    assert np.abs(learner.last_.gradient).max() > 0


def test_reads_part_of_the_output_and_comes_before_other_hooks() -> None:
    pytest.importorskip("transformers")
    model, learner, seen = Tiny(), GraphFromRepresentations(3), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["ecam_graph"]), with_kwargs=True
    )
    shapes = []

    def read(tokens: torch.Tensor) -> torch.Tensor:
        shapes.append(tokens.shape)
        return tokens[..., :2]

    callback = trainer_callback(learner, model.lift, read=read, batches=3)
    callback.on_train_begin(ARGS, None, None, model=model)
    state = SimpleNamespace(epoch=1.0)
    callback.on_epoch_end(ARGS, state, None, model=model, train_dataloader=batches())
    assert all(graph is learner.graph for graph in seen)
    assert shapes == [(10, 3, 4)] * 3
    own = torch.eye(3)
    model(**batches()[0], ecam_graph=own)
    assert seen[-1] is own
    with pytest.raises(ValueError, match=r"^no gradient reached the graph; use modulation 'log'"):
        callback.on_epoch_end(
            ARGS, state, None, model=model, train_dataloader=[{**batches()[0], "ecam_graph": own}]
        )
    assert model.training


def test_bad_input(monkeypatch) -> None:
    pytest.importorskip("transformers")
    model, learner = Tiny(), GraphFromRepresentations(3)
    with pytest.raises(TypeError, match=r"^learner must be GraphFromRepresentations, not str$"):
        trainer_callback("pc", model.lift)
    with pytest.raises(TypeError, match=r"^layer must be a torch module, not str$"):
        trainer_callback(learner, "lift")
    callback = trainer_callback(learner, nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"^layer is not a module of the model that is trained$"):
        callback.on_train_begin(ARGS, None, None, model=model)
    with pytest.raises(ValueError, match=r"^world_size is 2; it must be 1 to learn a graph$"):
        callback.on_train_begin(SimpleNamespace(world_size=2), None, None, model=model)
    with pytest.raises(ValueError, match=r"^batches is 0; it must be >= 1$"):
        trainer_callback(learner, model.lift, batches=0)
    assert not model._forward_pre_hooks
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"causal_rl\[transformers\]"):
        trainer_callback(learner, model.lift)
