from __future__ import annotations

import logging
import random
import sys

import numpy as np
import pytest
import torch

from causal_rl.discovery import Transitions, make_learner
from causal_rl.discovery.adapters.dagma import DagmaLearner
from causal_rl.discovery.batch import within_the_possible
from causal_rl.errors import MissingExtraError
from causal_rl.graphs import CausalGraph, PartialGraph

PACKAGE = {
    "notears": "castle",
    "notears-mlp": "castle",
    "dagma": "dagma",
    "ges": "ges",
    "gies": "gies",
    "boss": "causallearn",
    "fci": "causallearn",
    "lingam": "causallearn",
    "sort-regress": "sklearn",
    "r2-sort-regress": "sklearn",
}
COLLIDER = [("X1", "X3"), ("X2", "X3"), ("X3", "X4")]
CONTEMPORANEOUS = [("contemporaneous", a, b) for a, b in COLLIDER]


def chain(rows: int = 400) -> Transitions:
    """X1 -> X2 -> X3 on raw scales, where the order of variances gives the order away."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(rows, 3))
    x = np.empty((rows, 3))
    x[:, 0] = noise[:, 0]
    x[:, 1] = 2.0 * x[:, 0] + noise[:, 1]
    x[:, 2] = -2.0 * x[:, 1] + noise[:, 2]
    return Transitions(state=np.zeros((rows, 3)), next_state=x, reward=x[:, 2] + noise[:, 0])


def collider(rows: int = 800, *, uniform: bool = False, seed: int = 0) -> np.ndarray:
    """X1 -> X3 <- X2 and X3 -> X4: the data determine every direction."""
    rng = np.random.default_rng(seed)
    e = rng.uniform(-1.7, 1.7, (rows, 4)) if uniform else rng.normal(size=(rows, 4))
    x = e.copy()
    x[:, 2] = 1.2 * x[:, 0] - x[:, 1] + e[:, 2]
    x[:, 3] = 0.8 * x[:, 2] + e[:, 3]
    return x


def targeted(rows: int = 300) -> Transitions:
    """Z -> Y -> X, half of the rows with Y set: the interventions alone tell the directions."""
    rng = np.random.default_rng(2)
    e = rng.normal(size=(2 * rows, 3))
    target = np.zeros((2 * rows, 3), dtype=bool)
    target[rows:, 1] = True
    z = e[:, 2]
    y = np.where(target[:, 1], 2.0 * e[:, 1], z + e[:, 1])
    x = y + e[:, 0]
    return Transitions.from_table(
        np.column_stack([x, y, z]), do_target=target, names=["X", "Y", "Z"]
    )


@pytest.mark.parametrize("name", ["ges", "boss", "fci"])
def test_a_collider_determines_the_class(name: str):
    learner = make_learner(name)
    graph = learner.fit(collider())
    assert graph.edges() == CONTEMPORANEOUS
    found = learner.equivalence_class_
    assert found is not None
    if name == "fci":
        assert set(found.edges()) == {
            ("X1", "o->", "X3"),
            ("X2", "o->", "X3"),
            ("X3", "-->", "X4"),
        }
    else:
        assert found == PartialGraph.cpdag(graph)


def test_lingam_tells_directions_by_the_shape_of_the_noise():
    graph = make_learner("lingam").fit(collider(uniform=True))
    assert graph.edges() == CONTEMPORANEOUS
    assert graph.contemporaneous_weights[0, 2] == pytest.approx(1.2, abs=0.1)
    assert graph.contemporaneous_weights[2, 3] == pytest.approx(0.8, abs=0.1)


def test_gies_is_told_what_was_set_and_ges_is_not():
    data = targeted()
    told, untold = make_learner("gies"), make_learner("ges")
    assert told.fit(data).edges() == [("contemporaneous", "Y", "X"), ("contemporaneous", "Z", "Y")]
    assert not told.equivalence_class_.undirected.any()
    untold.fit(data)
    assert untold.equivalence_class_.undirected.any()
    always = Transitions.from_table(data.next_state, do_target=np.tile([[1, 0, 0]], (600, 1)))
    with pytest.raises(RuntimeError, match="gies needs rows in which a variable was not set"):
        told.fit(always)


@pytest.mark.slow
def test_notears_finds_a_chain_on_raw_scales():
    graph = make_learner("notears", standardise=False).fit(chain())
    assert graph.edges() == [("contemporaneous", "X1", "X2"), ("contemporaneous", "X2", "X3")]
    assert graph.contemporaneous_weights[1, 2] == pytest.approx(-2.0, abs=0.2)


@pytest.mark.slow
def test_notears_mlp_finds_a_bent_edge():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    y = 2 * np.sin(1.5 * x) + 0.5 * rng.normal(size=200)
    learner = make_learner("notears-mlp", standardise=False)
    graph = learner.fit(np.column_stack([x, y]))
    assert graph.edges() == [("contemporaneous", "X1", "X2")]
    assert torch.get_default_dtype() == torch.float32
    again = make_learner("notears-mlp", standardise=False).fit(np.column_stack([x, y]))
    assert np.array_equal(again.contemporaneous_confidence, graph.contemporaneous_confidence)


def peer_ges(x: np.ndarray) -> np.ndarray:
    return PartialGraph.from_adjacency(sys.modules["ges"].fit_bic(x)[0] != 0).marks


def peer_boss(x: np.ndarray) -> np.ndarray:
    from causallearn.search.PermutationBased.BOSS import boss

    random.seed(0)
    return theirs(boss(x, parameters={"lambda_value": 2}, verbose=False))


def peer_fci(x: np.ndarray) -> np.ndarray:
    from causallearn.search.ConstraintBased.FCI import fci

    return theirs(fci(x, show_progress=False)[0])


def theirs(found: object) -> np.ndarray:
    """The marks, edge by edge, by the peer's own objects."""
    n = found.get_num_nodes()
    marks = np.zeros((n, n), dtype=int)
    index = {node.get_name(): i for i, node in enumerate(found.get_nodes())}
    code = {"TAIL": 1, "ARROW": 2, "CIRCLE": 3}
    for edge in found.get_graph_edges():
        i, j = index[edge.get_node1().get_name()], index[edge.get_node2().get_name()]
        marks[i, j], marks[j, i] = code[edge.endpoint2.name], code[edge.endpoint1.name]
    return marks


@pytest.mark.parametrize(
    ("name", "call"), [("ges", peer_ges), ("boss", peer_boss), ("fci", peer_fci)]
)
def test_the_class_is_the_one_that_the_peer_gives(name: str, call):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(300, 5)) @ np.triu(rng.normal(size=(5, 5)) + np.eye(5))
    learner = make_learner(name)
    learner.fit(x)
    assert learner.equivalence_class_.skeleton.any()
    assert np.array_equal(learner.equivalence_class_.marks, call(x))


def test_weights_are_those_that_the_peer_gives():
    from causallearn.search.FCMBased.lingam import DirectLiNGAM

    x = collider(300, uniform=True)
    peer = DirectLiNGAM()
    peer.fit(x)
    found = make_learner("lingam").fit(x)
    assert np.allclose(found.contemporaneous_weights, peer.adjacency_matrix_.T, atol=1e-8)


@pytest.mark.slow
def test_dagma_is_the_peers_dagma():
    from dagma.linear import DagmaLinear

    data = chain(200).next_state
    weights = DagmaLinear(loss_type="l2").fit(data.copy(), lambda1=0.03)
    graph = make_learner("dagma", standardise=False).fit(data)
    assert np.allclose(graph.contemporaneous_weights, weights)
    assert graph.edges() == [("contemporaneous", "X1", "X2"), ("contemporaneous", "X2", "X3")]


@pytest.mark.parametrize("name", ["ges", "gies", "boss", "lingam"])
def test_columns_in_another_order_give_the_same_graph(name: str):
    x, order = collider(uniform=True), [3, 1, 0, 2]
    names = [f"X{i + 1}" for i in range(4)]
    graph = make_learner(name).fit(Transitions.from_table(x))
    turned = make_learner(name).fit(
        Transitions.from_table(x[:, order], names=[names[i] for i in order])
    )
    assert turned.permute(names) == graph


def test_boss_answers_the_same_whatever_was_drawn_before():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 6)) @ (rng.normal(size=(6, 6)) + np.eye(6))
    first = make_learner("boss", seed=3).fit(x)
    for draws in range(6):
        random.seed(draws)
        assert make_learner("boss", seed=3).fit(x) == first


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("notears", "dagma")]


@pytest.mark.parametrize("name", ["notears", "ges", "boss", "fci", "lingam", SLOW[1]])
def test_a_peer_leaves_no_trace(name: str, capsys: pytest.CaptureFixture[str]):
    data = chain(100)
    before = data.next_state.copy()
    handlers, printing = list(logging.getLogger().handlers), np.get_printoptions()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    state = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    make_learner(name).fit(data)
    assert random.getstate() == state[0]
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002
    assert np.get_printoptions() == printing
    assert np.array_equal(data.next_state, before)
    assert logging.getLogger().handlers == handlers
    assert torch.get_default_dtype() == torch.float32
    printed = capsys.readouterr()
    assert printed.out + printed.err == ""


@pytest.mark.parametrize("name", ["ges", "gies", "boss", "fci", "lingam", "r2-sort-regress"])
def test_data_that_a_peer_cannot_take(name: str):
    x = collider(60)
    learner = make_learner(name)
    constant = learner.fit(np.column_stack([x, np.full(60, 7.0)]))
    assert not constant.contemporaneous[4].any()
    assert not constant.contemporaneous[:, 4].any()
    assert constant.contemporaneous.any()
    assert not learner.fit(x[:1]).contemporaneous.any()
    with pytest.raises(RuntimeError, match=f"{name} needs linearly independent columns; 'X5'"):
        learner.fit(np.column_stack([x, x[:, 0] - 2 * x[:, 1]]))
    with pytest.raises(RuntimeError, match=f"{name} needs more rows than variables"):
        learner.fit(x[:4])
    with pytest.raises(ValueError, match=r"takes at most \d+"):
        learner.fit(np.zeros((2, 10_000)))
    with pytest.raises(ValueError, match="beyond 1e\\+150"):
        learner.fit(x * 1e200)


@pytest.mark.parametrize("name", ["dynotears", "cam", "score", "sort-regress", *SLOW])
def test_copies_and_few_rows_give_a_finite_answer(name: str):
    x = collider(40)
    rows = np.column_stack([x, x[:, 0], np.full(40, 3.0)])
    for data in (rows, rows[:1], rows[:2], rows[:5]):
        graph = make_learner(name).fit(data)
        assert not graph.contemporaneous[5].any()
        assert not graph.contemporaneous[:, 5].any()
        for matrix in (graph.contemporaneous_weights, graph.contemporaneous_confidence):
            assert matrix is None or np.isfinite(matrix).all()


def test_rows_accumulate_and_resume(monkeypatch: pytest.MonkeyPatch):
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


def test_gies_resumes_with_its_targets():
    data = targeted()
    whole = make_learner("gies")
    whole.fit(data)
    broken, resumed = make_learner("gies"), make_learner("gies")
    broken.update(data[:350])
    resumed.load_state_dict(broken.state_dict())
    resumed.update(data[350:])
    assert resumed.equivalence_class_ == whole.equivalence_class_


def test_an_adapter_never_returns_nan(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DagmaLearner, "_weights", lambda self, columns: np.full((3, 3), np.nan))
    learner = make_learner("dagma")
    with pytest.raises(RuntimeError, match="dagma did not converge"):
        learner.fit(chain(50))
    assert learner.graph_ is None


def test_kinds_turn_edges_of_a_class():
    data = Transitions(
        state=np.zeros((800, 4)),
        next_state=collider(),
        kinds=["state", "state", "state", "context"],
    )
    learner = make_learner("ges")
    graph = learner.fit(data)
    assert ("X4", "-->", "X3") in learner.equivalence_class_.edges()
    assert ("contemporaneous", "X4", "X3") in graph.edges()
    assert CausalGraph(graph.contemporaneous).is_acyclic


def test_a_class_obeys_what_is_possible():
    marks = np.array([[0, 2, 1, 2], [1, 0, 3, 0], [1, 2, 0, 0], [2, 0, 0, 0]])
    possible = np.ones((4, 4), dtype=bool)
    possible[0, 1] = possible[1, 2] = possible[2, 1] = possible[0, 3] = False
    mended = within_the_possible(marks, possible)
    assert (mended[1, 0], mended[0, 1]) == (2, 1)  # 0 -> 1 cannot be, 1 -> 0 can
    assert mended[1, 2] == mended[2, 1] == 0  # neither can be
    assert (mended[0, 2], mended[2, 0]) == (1, 1)  # both can be
    assert (mended[0, 3], mended[3, 0]) == (2, 2)  # a hidden cause is no edge of theirs


@pytest.mark.parametrize("name", sorted(PACKAGE))
def test_a_missing_extra_is_named(name: str, monkeypatch: pytest.MonkeyPatch):
    class Absent:
        def find_spec(self, module: str, path: object = None, target: object = None) -> None:
            if module.partition(".")[0] == PACKAGE[name]:
                raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    for module in [m for m in sys.modules if m.partition(".")[0] == PACKAGE[name]]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    with pytest.raises(MissingExtraError, match=r"causal_rl\[discovery\]"):
        make_learner(name)


@pytest.mark.parametrize(
    ("name", "options", "error", "text"),
    [
        ("notears", {"sparsity": -1.0}, ValueError, "sparsity is -1"),
        ("dagma", {"threshold": float("nan")}, ValueError, "threshold is nan"),
        ("dagma", {"standardise": 1}, TypeError, "standardise"),
        ("notears-mlp", {"hidden": 0}, ValueError, "hidden is 0"),
        ("notears-mlp", {"ridge": -1.0}, ValueError, "ridge is -1"),
        ("boss", {"penalty": 0.0}, ValueError, "penalty is 0"),
        ("boss", {"seed": -1}, ValueError, "seed is -1"),
        ("fci", {"alpha": 1.0}, ValueError, "alpha is 1"),
        ("fci", {"depth": -2}, ValueError, "depth is -2"),
        ("fci", {"max_path_length": 0.5}, TypeError, "max_path_length"),
    ],
)
def test_options_are_checked(name: str, options: dict, error: type[Exception], text: str):
    with pytest.raises(error, match=text):
        make_learner(name, **options)
