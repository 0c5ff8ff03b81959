from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from causal_rl.agents.transfer import (
    DoPredictor,
    MechanismEvidence,
    Method,
    Queries,
    WorldFamily,
    ask,
    do_batch,
    fit_evidence,
    method_evidence,
    random_transitions,
    train_predictor,
    training_worlds,
)
from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph, within_step_reach

FAMILY = WorldFamily()


def known(n: int, seed: int, queries: int = 24) -> tuple[MechanismEvidence, Queries, CausalGraph]:
    scm = FAMILY.world(n, seed)
    evidence = fit_evidence(random_transitions(scm, 300, seed=seed), scm.graph)
    return evidence, ask(scm, queries, seed=seed, samples=16), scm.graph


def bold(seed: int = 0, **options: object) -> DoPredictor:
    """An untrained predictor that depends strongly on all it is told."""
    predictor = DoPredictor(seed=seed, **options).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in predictor.parameters():
            weight.mul_(1.5)
    return predictor


def answers(
    predictor: DoPredictor, evidence: MechanismEvidence, queries: Queries
) -> NDArray[np.float64]:
    mean, _ = predictor.predict(evidence, queries.previous, queries.do_mask, queries.do_value)
    return mean


@pytest.mark.parametrize("n", [2, 3, 6, 9, 12, 17])
def test_any_number_of_variables(n: int) -> None:
    evidence, queries, _ = known(n, 1)
    mean, spread = bold().predict(evidence, queries.previous, queries.do_mask, queries.do_value)
    assert mean.shape == spread.shape == (24, n)
    assert np.isfinite(mean).all()
    assert np.all(spread >= 0.0)


def test_what_is_set_has_its_value_and_no_spread() -> None:
    evidence, queries, _ = known(6, 1)
    mean, spread = bold().predict(evidence, queries.previous, queries.do_mask, queries.do_value)
    at = queries.do_mask
    np.testing.assert_allclose(mean[at], queries.do_value[at], atol=1e-5)
    assert np.all(spread[at] == 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_relabelled_worlds_get_relabelled_answers(seed: int) -> None:
    scm = FAMILY.world(7, seed)
    data, queries = random_transitions(scm, 300, seed=0), ask(scm, 16, seed=0, samples=2)
    order = np.random.default_rng(seed).permutation(7)
    moved = Transitions(
        state=data.state[:, order],
        next_state=data.next_state[:, order],
        do_target=data.do_target[:, order],
        names=[data.names[i] for i in order],
    )
    predictor = bold(seed)
    plain = predictor.predict(
        fit_evidence(data, scm.graph), queries.previous, queries.do_mask, queries.do_value
    )
    other = predictor.predict(
        fit_evidence(moved, scm.graph),
        queries.previous[:, order],
        queries.do_mask[:, order],
        queries.do_value[:, order],
    )
    for here, there in zip(plain, other, strict=True):
        np.testing.assert_allclose(there, here[:, order], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_what_the_set_variable_does_not_cause_is_exactly_as_without(seed: int) -> None:
    evidence, _, graph = known(8, seed)
    reach = within_step_reach(graph)
    previous = np.random.default_rng(seed).standard_normal((8, 8))
    mask = np.eye(8, dtype=bool)
    predictor = bold(seed)
    changed = 0
    nothing = predictor.predict(evidence, previous, np.zeros_like(mask), np.zeros((8, 8)))
    for value in (-2.0, 1.0):
        done = predictor.predict(evidence, previous, mask, np.full((8, 8), value))
        for with_do, without in zip(done, nothing, strict=True):
            np.testing.assert_array_equal(with_do[~reach], without[~reach])
            changed += int((with_do[reach & ~mask] != without[reach & ~mask]).sum())
    assert changed > 0


def test_what_no_cause_remembers_moves_nothing() -> None:
    """From the state before, effects run along edges across the step, then inside it, alone."""
    evidence, _, graph = known(6, 3)
    batch = do_batch(evidence, np.zeros((1, 6)), np.zeros((1, 6), dtype=bool), np.zeros((1, 6)))
    batch.previous.requires_grad_()
    allowed = graph.lagged @ within_step_reach(graph)
    predictor = bold()
    mean, _ = predictor(batch)
    slopes = torch.stack(
        [torch.autograd.grad(mean[0, j], batch.previous, retain_graph=True)[0][0] for j in range(6)]
    ).T.numpy()
    assert np.all(slopes[~allowed] == 0.0)
    assert np.all(slopes[allowed] != 0.0)


def test_rows_of_a_batch_do_not_mix() -> None:
    first, second = known(6, 1)[:2], known(6, 2)[:2]
    parts = [do_batch(e, q.previous, q.do_mask, q.do_value) for e, q in (first, second)]
    whole = type(parts[0])(
        *(torch.cat([getattr(p, name) for p in parts]) for name in parts[0].__dataclass_fields__)
    )
    predictor = bold()
    together, _ = predictor(whole)
    for k, part in enumerate(parts):
        alone, _ = predictor(part)
        torch.testing.assert_close(together[24 * k : 24 * (k + 1)], alone)


def test_a_row_alone_is_answered_as_in_a_batch() -> None:
    evidence, queries, _ = known(6, 4)
    predictor = bold()
    whole = predictor.predict(evidence, queries.previous, queries.do_mask, queries.do_value)
    for row in range(0, 24, 6):
        at = slice(row, row + 1)
        alone = predictor.predict(
            evidence, queries.previous[at], queries.do_mask[at], queries.do_value[at]
        )
        for one, many in zip(alone, whole, strict=True):
            np.testing.assert_allclose(one, many[at], rtol=1e-5, atol=1e-5)


def test_a_file_brings_back_the_predictor(tmp_path: Path) -> None:
    evidence, queries, _ = known(5, 2)
    predictor, path = bold(3, embed_dim=16, hidden=24), tmp_path / "predictor.pt"
    predictor.save(path)
    again = DoPredictor.load(path)
    np.testing.assert_array_equal(
        answers(again, evidence, queries), answers(predictor, evidence, queries)
    )
    with pytest.raises(ValueError, match="which is no file"):
        DoPredictor.load(tmp_path / "absent.pt")
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="no readable predictor file"):
        DoPredictor.load(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(ValueError, match="no predictor of this program"):
        DoPredictor.load(path)


def test_the_full_graph_and_slots_let_everything_through() -> None:
    """What the baselines lack: under both, effects reach what the set variable does not cause."""
    scm = FAMILY.world(6, 0)
    data = random_transitions(scm, 300, seed=0)
    mask = np.eye(6, dtype=bool)
    off = ~within_step_reach(scm.graph)
    for method in ("attention", "adjacency"):
        predictor = bold(method=method)
        evidence = method_evidence(predictor.method, data, scm.graph)
        low, high = (
            predictor.predict(evidence, np.zeros((6, 6)), mask, np.full((6, 6), value))[0]
            for value in (-1.0, 1.0)
        )
        assert (low[off] != high[off]).any()


@pytest.mark.parametrize("method", ["ecam", "attention", "adjacency"])
def test_training_is_a_function_of_its_seed(method: Method) -> None:
    worlds = [known(4, seed)[:2] for seed in range(3)]
    losses = []
    for seed in (0, 0, 1):
        torch.rand(1)  # what others draw changes nothing
        predictor = DoPredictor(method, embed_dim=16, hidden=16, sweeps=2, seed=seed)
        losses.append(train_predictor(predictor, worlds, steps=2, batch=8, seed=seed))
    assert losses[0] == losses[1] != losses[2]


def test_bad_input_is_named() -> None:
    evidence, _, _ = known(4, 0)
    mask, zeros = np.zeros((2, 4), dtype=bool), np.zeros((2, 4))
    with pytest.raises(ValueError, match="method must be one of"):
        DoPredictor("mlp")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="embed_dim must be a multiple of 4"):
        DoPredictor(embed_dim=10)
    with pytest.raises(ValueError, match="sweeps must be at least 1"):
        DoPredictor(sweeps=0)
    with pytest.raises(ValueError, match="do_mask must be boolean"):
        do_batch(evidence, zeros, zeros, zeros)
    with pytest.raises(ValueError, match=r"previous must have shape \(rows, 4\), got \(2, 3\)"):
        do_batch(evidence, zeros[:, :3], mask, zeros)
    with pytest.raises(ValueError, match="previous must be finite"):
        do_batch(evidence, zeros * np.nan, mask, zeros)
    with pytest.raises(ValueError, match="worlds must hold at least one"):
        train_predictor(DoPredictor(), [])
    with pytest.raises(ValueError, match="steps must be at least 1"):
        train_predictor(DoPredictor(), [known(4, 0)[:2]], steps=0)
    with pytest.raises(ValueError, match="rows must name at least one number"):
        training_worlds(FAMILY, 4, [0], rows=())
    small = DoPredictor("adjacency", max_variables=3)
    with pytest.raises(ValueError, match="batch has 4 variables, max_variables is 3"):
        small.predict(evidence, zeros, mask, zeros)
    scm = FAMILY.world(4, 0)
    cyclic = fit_evidence(random_transitions(scm, 50, seed=0), CausalGraph.full(scm.names))
    with pytest.raises(ValueError, match="cycle inside the step"):
        DoPredictor().predict(cyclic, zeros, mask, zeros)
