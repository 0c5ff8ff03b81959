"""Simulated tables, the training on them, and the command that runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from program import run

from causal_rl.discovery.amortised_model import ModelSizes, load_model
from causal_rl.discovery.amortised_training import (
    Training,
    TrainingSettings,
    train,
    unfinished_path,
)
from causal_rl.discovery.simulated_tasks import TaskSizes, draw_batch, draw_task
from causal_rl.graphs import is_dag

TINY = TrainingSettings(
    steps=4,
    cells=200,
    sizes=ModelSizes(embed_dim=4, pair_dim=4, product_dim=2, num_blocks=1, pair_updates=1),
    tasks=TaskSizes(most_variables=5, least_rows=20, most_rows=30),
)


# -------------------------------------------------------------------- simulated tables


def test_batches_hold_standardised_tables_of_acyclic_graphs() -> None:
    pasts = 0
    for seed in range(12):
        sizes = TaskSizes(most_variables=8, most_rows=60, past_share=0.5)
        batch = draw_batch(np.random.default_rng(seed), sizes, 500)
        tables, rows, columns = batch.values.shape
        assert 2 <= columns <= 8
        assert 50 <= rows <= 60
        assert tables == max(500 // (rows * columns), 1)
        assert batch.values.dtype == np.float32
        np.testing.assert_allclose(batch.values.mean(axis=1), 0.0, atol=1e-5)
        np.testing.assert_allclose(batch.values.std(axis=1), 1.0, atol=1e-4)
        assert (batch.do_target.sum(axis=2) <= 1).all()
        assert all(is_dag(graph) for graph in batch.graph)
        pasts += int(batch.past.any())
        if batch.past.any():
            assert batch.past.tolist() == [False] * (columns // 2) + [True] * (columns // 2)
            assert not batch.graph[:, :, batch.past].any()
            assert not batch.do_target[..., batch.past].any()
    assert 0 < pasts < 12


def test_the_seed_decides_and_tables_differ() -> None:
    first, again, other = (
        draw_batch(np.random.default_rng(seed), TaskSizes(), 1000) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.graph, again.graph)
    assert first.values.shape != other.values.shape or (first.values != other.values).any()


def test_what_was_set_has_lost_its_causes() -> None:
    with_causes, cut = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        values, do_target, graph = draw_task(rng, 400, np.zeros(2, dtype=bool))
        if graph.any():
            i, j = np.argwhere(graph)[0]
            for rows, found in ((do_target[:, j], cut), (~do_target.any(axis=1), with_causes)):
                if rows.sum() > 40 and (values[rows].std(axis=0) > 0.01).all():
                    found.append(abs(np.corrcoef(values[rows].T)[i, j]))
    assert len(cut) >= 5
    assert np.mean(cut) < 0.1 < 0.4 < np.mean(with_causes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"least_variables": 1}, "variables must be a range from 2 on, got 1 to 12"),
        ({"most_rows": 10}, "rows must be a range from 2 on, got 50 to 10"),
        ({"past_share": 1.5}, r"past_share must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_sizes_of_tables(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskSizes(**options)


# -------------------------------------------------------------------- training


def test_a_training_taken_up_again_ends_as_if_unbroken(tmp_path: Path) -> None:
    whole = Training(TINY)
    losses = [whole.advance() for _ in range(4)]
    part = Training(TINY)
    assert [part.advance(), part.advance()] == losses[:2]
    part.save(tmp_path / "part")
    rest = Training.load(tmp_path / "part")
    assert (rest.step, rest.tables, rest.settings) == (2, part.tables, TINY)
    assert [rest.advance(), rest.advance()] == losses[2:]
    for name, weights in whole.model.state_dict().items():
        assert torch.equal(weights, rest.model.state_dict()[name]), name


def test_training_lowers_the_loss_on_tables_held_out() -> None:
    settings = TrainingSettings(
        steps=80,
        learning_rate=0.02,
        cells=300,
        sizes=TINY.sizes,
        tasks=TaskSizes(most_variables=2, most_rows=60),
    )
    training = Training(settings)
    before = training.validate().loss
    for _ in range(settings.steps):
        training.advance()
    assert training.validate().loss < before - 0.08


def test_global_randomness_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Training(TINY).advance()
    assert torch.equal(torch.rand(1), expected)


def test_training_writes_the_network_and_how_it_came_about(tmp_path: Path) -> None:
    heard: list[int] = []
    training = Training(TINY)
    found = train(
        training,
        tmp_path / "network.pt",
        command="how it was called",
        report_every=2,
        validate_every=2,
        report=lambda step, loss, validation: heard.append(step),
    )
    assert heard == [2, 4]
    model, about = load_model(tmp_path / "network.pt")
    assert model.sizes == TINY.sizes
    assert about["command"] == "how it was called"
    assert about["settings"]["steps"] == 4
    assert about["tables"] == training.tables
    assert about["validation"]["auprc"] == found.auprc
    assert 0 < found.auprc <= 1
    assert found.shd >= 0
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt"]


def test_a_training_may_begin_with_another_ones_network(tmp_path: Path) -> None:
    train(Training(TINY), tmp_path / "first.pt")
    first, about = load_model(tmp_path / "first.pt")
    second = Training(TINY)
    second.begin_with(tmp_path / "first.pt")
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.model.state_dict()[name]), name
    second.save(tmp_path / "second")
    assert Training.load(tmp_path / "second").start == about
    with pytest.raises(ValueError, match="it must have"):
        Training(TrainingSettings()).begin_with(tmp_path / "first.pt")


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"seed": -1}, {"learning_rate": 0.0}, {"cells": 0}]
)
def test_bad_settings(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        TrainingSettings(**options)


# -------------------------------------------------------------------- command

QUICK = ("--steps=2", "--cells=200", "--variables=3", "--rows=50", "--blocks=1")


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert run("train-discovery", *words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_the_command_trains_and_takes_up_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole.pt", tmp_path / "broken.pt"
    assert run("train-discovery", f"--out={whole}", *QUICK) == 0
    assert "AUPRC" in capsys.readouterr().out
    about = load_model(whole)[1]
    assert about["command"].startswith("causal-rl train-discovery --steps 2 --seed 0")
    settings = TrainingSettings(
        2,
        0,
        cells=200,
        sizes=ModelSizes(num_blocks=1),
        tasks=TaskSizes(most_variables=3, most_rows=50),
    )
    training = Training(settings)
    training.advance()
    training.save(unfinished_path(broken))
    assert run("train-discovery", f"--out={broken}", "--resume") == 0
    capsys.readouterr()
    first, second = (load_model(path)[0].state_dict() for path in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "--out must be new" in refused(capsys, f"--out={whole}", *QUICK)


def test_the_command_refuses_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"--out={tmp_path / 'network.pt'}"
    assert "existing folder" in refused(capsys, f"--out={tmp_path}")
    assert "existing folder" in refused(capsys, f"--out={tmp_path / 'no' / 'a.pt'}")
    assert "device is 'toaster'" in refused(capsys, out, "--device=toaster")
    assert "finds no unfinished training" in refused(capsys, out, "--resume")
    assert "--steps cannot be given with --resume" in refused(capsys, out, "--resume", "--steps=3")
    start = f"--start={tmp_path / 'none.pt'}"
    assert "which is no file" in refused(capsys, out, start)
    assert "--blocks cannot be given with --start" in refused(capsys, out, start, "--blocks=1")
    assert "learning_rate" in refused(capsys, out, "--learning-rate=-1")
    assert "--steps" in refused(capsys, out, "--steps=0")
    unfinished_path(tmp_path / "network.pt").write_text("no training")
    assert "an unfinished training" in refused(capsys, out, "--resume")
