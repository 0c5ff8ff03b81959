from __future__ import annotations

import logging
import sys

import numpy as np
import pytest
import torch

from causal_rl.discovery import Transitions, make_learner
from causal_rl.discovery.adapters import DagmaLearner
from causal_rl.errors import MissingExtraError
from causal_rl.graphs import possible_edges

KINDS = ("context", "state", "state", "state")
PACKAGE = {"notears": "castle", "dagma": "dagma"}


def chain(rows: int = 400) -> Transitions:
    """X1 -> X2 -> X3 on raw scales, where the order of variances gives the order away."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(rows, 3))
    x = np.empty((rows, 3))
    x[:, 0] = noise[:, 0]
    x[:, 1] = 2.0 * x[:, 0] + noise[:, 1]
    x[:, 2] = -2.0 * x[:, 1] + noise[:, 2]
    return Transitions(state=np.zeros((rows, 3)), next_state=x, reward=x[:, 2] + noise[:, 0])


def four() -> Transitions:
    rng = np.random.default_rng(1)
    return Transitions(
        state=rng.normal(size=(9, 4)),
        next_state=rng.normal(size=(9, 4)),
        reward=np.zeros(9),
        kinds=KINDS,
    )


def test_empty_and_full():
    kinds = (*KINDS, "reward")
    assert make_learner("empty", reward_node=True).fit(four()).edges() == []
    full = make_learner("full", reward_node=True).fit(four())
    contemporaneous, lagged = possible_edges(kinds)
    assert full.kinds == kinds
    assert full.names[-1] == "reward"
    assert np.array_equal(full.contemporaneous, contemporaneous)
    assert np.array_equal(full.lagged, lagged)


def test_random_depends_on_the_seed_alone():
    first = make_learner("random", seed=3).fit(four())
    assert make_learner("random", seed=3).update(four()[:2]) == first
    graphs = [make_learner("random", seed=seed).fit(four()) for seed in range(8)]
    assert any(graph != first for graph in graphs)
    dense = make_learner("random", density=99.0, reward_node=True).fit(four())
    assert dense.contemporaneous.sum() == 3 + 3 + 4  # context out, a full order, into the reward
    with pytest.raises(ValueError, match="density is -1"):
        make_learner("random", density=-1.0)
    with pytest.raises(TypeError, match="seed must be an integer"):
        make_learner("random", seed=0.5)


def test_random_resumes():
    learner = make_learner("random", seed=5)
    graph = learner.fit(four())
    again = make_learner("random", seed=5)
    again.load_state_dict(learner.state_dict())
    assert again.graph_ == graph
    assert again.update(four()) == graph


@pytest.mark.parametrize("name", ["notears", "dagma"])
def test_adapters_find_the_chain_on_raw_scales(name: str, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip(PACKAGE[name])
    data = chain()
    before = data.next_state.copy()
    handlers = list(logging.getLogger().handlers)
    graph = make_learner(name, standardise=False).fit(data)
    assert graph.edges() == [("contemporaneous", "X1", "X2"), ("contemporaneous", "X2", "X3")]
    assert graph.contemporaneous_weights[1, 2] == pytest.approx(-2.0, abs=0.2)
    assert np.array_equal(data.next_state, before)
    assert logging.getLogger().handlers == handlers
    assert torch.get_default_dtype() == torch.float32
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


def test_adapter_rows_accumulate_and_resume(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DagmaLearner, "_weights", lambda self, columns: columns.T @ columns / 300)
    data = chain(300)
    whole = make_learner("dagma", reward_node=True)
    graph = whole.fit(data)
    assert graph.kinds[-1] == "reward"
    assert not graph.contemporaneous[-1].any()
    assert not graph.lagged.any()
    broken = make_learner("dagma", reward_node=True)
    broken.update(data[:100])
    resumed = make_learner("dagma", reward_node=True)
    resumed.load_state_dict(broken.state_dict())
    resumed.update(data[100:])
    assert resumed.graph_ == graph
    assert graph.contemporaneous.any()
    assert np.array_equal(
        resumed.graph_.contemporaneous_confidence, graph.contemporaneous_confidence
    )


def test_an_adapter_never_returns_nan(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DagmaLearner, "_weights", lambda self, columns: np.full((3, 3), np.nan))
    learner = make_learner("dagma")
    with pytest.raises(RuntimeError, match="dagma did not converge"):
        learner.fit(chain(50))
    assert learner.graph_ is None


@pytest.mark.parametrize("name", ["notears", "dagma"])
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    class Absent:
        def find_spec(self, module: str, path: object = None, target: object = None) -> None:
            if module.partition(".")[0] == PACKAGE[name]:
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    for module in [m for m in sys.modules if m.partition(".")[0] == PACKAGE[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"causal_rl\[discovery\]"):
        make_learner(name).fit(chain(50))


@pytest.mark.parametrize("name", ["notears", "dagma"])
def test_adapter_options_are_checked(name: str):
    with pytest.raises(ValueError, match="sparsity is -1"):
        make_learner(name, sparsity=-1.0)
    with pytest.raises(ValueError, match="threshold is nan"):
        make_learner(name, threshold=float("nan"))
    with pytest.raises(TypeError, match="standardise"):
        make_learner(name, standardise=1)
