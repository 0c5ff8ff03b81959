"""The amortised learner: options, prior knowledge, lags, and what the shipped network can do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from causal_rl.discovery import EdgePrior, Transitions, make_learner
from causal_rl.discovery.amortised import SHIPPED
from causal_rl.discovery.amortised_model import AmortisedModel, ModelSizes, load_model, save_model
from causal_rl.graphs import CausalGraph
from causal_rl.scm import DynamicSCM, random_dynamic_scm, random_scm, topology


def intervened(d: int, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, do-targets and the true graph; in most rows one variable was set."""
    rng = np.random.default_rng([909, seed])
    adjacency = topology("er", d, rng, density=1.0)
    world = DynamicSCM(random_scm(adjacency, "tanh", rng, samples=500).variables)
    do_target = rng.integers(0, d + 1, rows)[:, None] == np.arange(d)
    do_value = rng.standard_normal((rows, d))
    noise = world.sample_noise(rng, rows)
    values = world.step(np.zeros((rows, d)), noise, None, do_target, do_value)
    return values, do_target, adjacency


def test_the_shipped_network_is_small_and_says_how_it_was_trained() -> None:
    assert SHIPPED.stat().st_size < 1_000_000
    about = load_model(SHIPPED)[1]
    assert about["command"].startswith("causal-rl train-discovery --steps")
    assert about["tables"] > 1000


def test_it_beats_the_empty_graph_where_variables_were_set() -> None:
    learner, ours, edges = make_learner("amortised"), 0, 0
    for seed in range(4):
        values, do_target, adjacency = intervened(5, 400, seed)
        graph = learner.fit(values, do_target=do_target)
        ours += graph.compare(CausalGraph(adjacency)).contemporaneous.shd
        edges += int(adjacency.sum())
        assert graph.contemporaneous_confidence is not None
    assert ours <= edges / 2


@pytest.mark.parametrize("cause", [0, 1])
def test_interventions_tell_the_direction_of_a_straight_line(cause: int) -> None:
    rng = np.random.default_rng(5)
    values = rng.standard_normal((300, 2))
    target = rng.integers(0, 3, 300)[:, None] == np.arange(2)
    effect = 1 - cause
    passed_on = 0.9 * values[:, cause] + 0.44 * values[:, effect]  # of variance 1, as the cause
    values[:, effect] = np.where(target[:, effect], values[:, effect], passed_on)
    graph = make_learner("amortised").fit(values, do_target=target)
    assert graph.edges() == [("contemporaneous", f"X{cause + 1}", f"X{effect + 1}")]


def test_lagged_edges_come_from_the_columns_before() -> None:
    rng = np.random.default_rng(3)
    now = np.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=bool)
    lagged = np.array([[0, 0, 0], [0, 1, 0], [1, 0, 1]], dtype=bool)
    world = random_dynamic_scm(now, lagged, "linear", rng, noise_share=0.3)
    values = world.simulate(400, rng).values[:, 0]
    graph = make_learner("amortised").fit(
        Transitions(state=values[100:-1], next_state=values[101:])
    )
    truth = CausalGraph(now, lagged)
    assert graph.lagged.any()
    assert graph.compare(truth).lagged.shd < int(lagged.sum())
    assert graph.lagged_confidence is not None
    assert graph.lagged_confidence[lagged].mean() > graph.lagged_confidence[~lagged].mean()


def test_a_table_has_no_lagged_edges() -> None:
    values, do_target, _ = intervened(4, 60, 0)
    graph = make_learner("amortised").fit(values, do_target=do_target)
    assert not graph.lagged.any()


def test_more_rows_than_are_read_at_a_time() -> None:
    values, do_target, adjacency = intervened(4, 300, 0)
    whole = make_learner("amortised").fit(values, do_target=do_target)
    parts = make_learner("amortised", rows=100).fit(values, do_target=do_target)
    exactly = make_learner("amortised", rows=300).fit(values, do_target=do_target)
    confidence = parts.contemporaneous_confidence
    assert np.array_equal(whole.contemporaneous_confidence, exactly.contemporaneous_confidence)
    assert not np.array_equal(whole.contemporaneous_confidence, confidence)
    assert confidence[adjacency].mean() > confidence[~adjacency].mean()


def test_prior_knowledge_is_obeyed() -> None:
    values, do_target, _ = intervened(5, 300, 0)
    learner = make_learner("amortised")
    a, b = learner.fit(values, do_target=do_target).edges()[0][1:]
    learner.prior = EdgePrior(forbidden=frozenset({(a, b)}))
    assert (a, b) not in [edge[1:] for edge in learner.fit(values, do_target=do_target).edges()]
    learner.prior = EdgePrior(required=frozenset({(b, a)}))
    graph = learner.fit(values, do_target=do_target)
    assert (b, a) in [edge[1:] for edge in graph.edges()]
    assert graph.is_acyclic


def test_confidences_are_those_of_exclusive_choices() -> None:
    values, do_target, _ = intervened(6, 80, 1)
    graph = make_learner("amortised").fit(values, do_target=do_target)
    confidence = graph.contemporaneous_confidence
    assert ((confidence + confidence.T) <= 1 + 1e-6).all()
    assert (confidence[graph.contemporaneous] > 0).all()


def test_another_network_by_option(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "network.pt"
    save_model(AmortisedModel(ModelSizes(embed_dim=4, pair_dim=4, num_blocks=1)), path, {})
    values, do_target, _ = intervened(4, 60, 0)
    learner = make_learner("amortised", checkpoint=path)
    untrained = learner.fit(values, do_target=do_target).contemporaneous_confidence
    learner.checkpoint = None
    shipped = learner.fit(values, do_target=do_target).contemporaneous_confidence
    assert not np.allclose(untrained, shipped)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"checkpoint": "none.pt"}, ValueError, "checkpoint must be .*which is no file"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a path or None"),
        ({"threshold": 1.0}, ValueError, "threshold"),
        ({"rows": 1}, ValueError, "rows is 1"),
        ({"device": "toaster"}, ValueError, "device is 'toaster'"),
        ({"seed": -1}, ValueError, "seed"),
    ],
)
def test_bad_options(options: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        make_learner("amortised", **options)
    assert "\n" not in str(refused.value)


def test_a_file_of_something_else_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    path.write_text("no network")
    learner = make_learner("amortised", checkpoint=str(path))
    with pytest.raises(ValueError, match="cannot be read as one") as refused:
        learner.fit(np.random.default_rng(0).normal(size=(30, 3)))
    assert "\n" not in str(refused.value)
