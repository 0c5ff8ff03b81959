from __future__ import annotations

import itertools
import json
import pickle
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.graphs import CausalGraph, PartialGraph, is_dag


@st.composite
def dags(draw, most: int = 7):
    n = draw(st.integers(2, most))
    bits = draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))
    upper = np.triu(np.array(bits).reshape(n, n), 1)
    order = np.array(draw(st.permutations(range(n))))
    return upper[np.ix_(order, order)]


@st.composite
def any_marks(draw):
    n = draw(st.integers(2, 6))
    cells = draw(st.lists(st.integers(0, 9), min_size=n * n, max_size=n * n))
    marks = np.zeros((n, n), dtype=int)
    for i, j in itertools.combinations(range(n), 2):
        code = cells[i * n + j]
        if code:
            marks[i, j], marks[j, i] = 1 + (code - 1) // 3, 1 + (code - 1) % 3
    return marks


@cache
def all_dags(n: int) -> list[np.ndarray]:
    pairs = list(itertools.permutations(range(n), 2))
    found = []
    for chosen in itertools.product((False, True), repeat=len(pairs)):
        adjacency = np.zeros((n, n), dtype=bool)
        for (i, j), there in zip(pairs, chosen, strict=True):
            adjacency[i, j] = there
        if not (adjacency & adjacency.T).any() and is_dag(adjacency):
            found.append(adjacency)
    return found


def pattern(dag: np.ndarray) -> tuple:
    """Skeleton and v-structures, by their definitions (Verma and Pearl 1990)."""
    joined = dag | dag.T
    n = len(dag)
    colliders = frozenset(
        (x, y, z)
        for y in range(n)
        for x, z in itertools.combinations(range(n), 2)
        if dag[x, y] and dag[z, y] and not joined[x, z]
    )
    return joined.tobytes(), colliders


@cache
def classes_of_small_dags() -> list[list[np.ndarray]]:
    classes: dict[tuple, list[np.ndarray]] = {}
    for dag in all_dags(4):
        classes.setdefault(pattern(dag), []).append(dag)
    return list(classes.values())


def test_the_class_of_every_small_dag_is_what_its_members_share():
    assert len(classes_of_small_dags()) == 185  # Gillispie and Perlman 2001
    for members in classes_of_small_dags():
        shared = np.logical_and.reduce(members)
        expected = PartialGraph.from_adjacency(np.logical_or.reduce(members))
        assert (expected.directed == shared).all()
        for dag in members:
            assert PartialGraph.cpdag(dag) == expected
        assert expected.is_cpdag


def test_meek_tells_all_that_background_knowledge_implies():
    for members in classes_of_small_dags():
        cpdag = PartialGraph.cpdag(members[0])
        for i, j in np.argwhere(cpdag.undirected):
            known = cpdag.directed.copy()
            known[i, j] = True
            free = cpdag.undirected.copy()
            free[i, j] = free[j, i] = False
            closed = PartialGraph.from_adjacency(known | free).close()
            agreeing = [dag for dag in members if dag[i, j]]
            assert (closed.directed == np.logical_and.reduce(agreeing)).all()


def test_the_fourth_rule():
    a, b, c, d = range(4)
    adjacency = np.zeros((4, 4), dtype=bool)
    for x, y in ((a, b), (a, d), (a, c)):
        adjacency[x, y] = adjacency[y, x] = True
    adjacency[d, c] = adjacency[c, b] = True
    closed = PartialGraph.from_adjacency(adjacency, ["a", "b", "c", "d"]).close()
    assert closed.directed[a, b]
    assert ("a", "-->", "b") in closed.edges()


@settings(max_examples=25, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_extensions_are_markov_equivalent_whatever_the_order(dag, random):
    cpdag = PartialGraph.cpdag(dag)
    order = list(cpdag.names)
    random.shuffle(order)
    member = cpdag.to_dag(order)
    assert pattern(member.contemporaneous) == pattern(dag)
    assert PartialGraph.cpdag(member) == cpdag
    assert cpdag.forced_dag(order) == member
    assert cpdag.is_cpdag
    assert cpdag.close() == cpdag


@settings(max_examples=25, deadline=None)
@given(dags(), st.randoms(use_true_random=False))
def test_permutation_equivariance(dag, random):
    graph = CausalGraph(dag)
    names = list(graph.names)
    random.shuffle(names)
    cpdag = PartialGraph.cpdag(graph)
    assert PartialGraph.cpdag(graph.permute(names)) == cpdag.permute(names)
    order = sorted(names)
    assert cpdag.permute(names).to_dag(order) == cpdag.to_dag(order).permute(names)


@settings(max_examples=25, deadline=None)
@given(dags())
def test_free_edges_point_against_the_columns_unless_told_otherwise(dag):
    empty = np.zeros(dag.shape, dtype=bool)
    full = ~np.eye(len(dag), dtype=bool)
    complete = PartialGraph.from_adjacency(full)
    assert (complete.to_dag().contemporaneous == np.tril(full)).all()
    assert (complete.to_dag(complete.names).contemporaneous == np.triu(full)).all()
    assert (PartialGraph.from_adjacency(empty).to_dag().contemporaneous == empty).all()


@settings(max_examples=25, deadline=None)
@given(any_marks())
def test_closing_and_forcing_any_graph(marks):
    graph = PartialGraph(marks)
    forced = graph.forced_dag().contemporaneous
    assert is_dag(forced)
    assert ((forced | forced.T) == (graph.skeleton & ~graph.bidirected)).all()
    if graph.circles.any() or graph.bidirected.any():
        with pytest.raises(ValueError, match=r"circle marks|bidirected"):
            graph.close()
        return
    closed = graph.close()
    assert closed.close() == closed
    assert (closed.skeleton == graph.skeleton).all()
    assert (closed.directed >= graph.directed).all()
    if is_dag(graph.directed):
        assert is_dag(closed.directed)
    try:
        member = graph.to_dag().contemporaneous
    except ValueError:
        return
    assert (member >= graph.directed).all()
    # Soundness: what every rule says holds in each extension.
    assert (member >= closed.directed).all()


@pytest.mark.parametrize(
    "edges",
    [
        [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2), (3, 0), (0, 3)],  # a square, undirected
        [(0, 1), (1, 2), (2, 0)],  # a directed cycle
        [(0, 1), (1, 2), (2, 1), (3, 2)],  # x -> y - z <- w: either way a new v-structure
    ],
)
def test_graphs_without_an_extension(edges):
    adjacency = np.zeros((4, 4), dtype=bool)
    for i, j in edges:
        adjacency[i, j] = True
    graph = PartialGraph.from_adjacency(adjacency)
    with pytest.raises(ValueError, match="no consistent DAG extension"):
        graph.to_dag()
    assert not graph.is_cpdag
    forced = graph.forced_dag().contemporaneous
    assert is_dag(forced)
    assert ((forced | forced.T) == graph.skeleton).all()
    # At most the one edge of the cycle is turned.
    assert (graph.directed & ~forced).sum() <= 1


def test_forcing_reads_circles_and_drops_bidirected_edges():
    marks = np.zeros((4, 4), dtype=int)
    marks[0, 1], marks[1, 0] = 2, 3  # X1 o-> X2
    marks[1, 2], marks[2, 1] = 3, 1  # X3 --o ... seen from X2: the circle is at X3
    marks[2, 3], marks[3, 2] = 2, 2  # X3 <-> X4
    graph = PartialGraph(marks)
    forced = graph.forced_dag()
    assert forced.edges() == [
        ("contemporaneous", "X1", "X2"),
        ("contemporaneous", "X2", "X3"),
    ]
    assert graph.edges() == [("X1", "o->", "X2"), ("X2", "--o", "X3"), ("X3", "<->", "X4")]


@settings(max_examples=25, deadline=None)
@given(dags())
def test_classes_and_extensions_are_those_of_causal_learn(dag):
    pytest.importorskip("causallearn")
    from causallearn.graph.Dag import Dag
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.utils.DAG2CPDAG import dag2cpdag
    from causallearn.utils.PDAG2DAG import pdag2dag

    nodes = [GraphNode(f"X{i + 1}") for i in range(len(dag))]
    theirs = Dag(nodes)
    for i, j in np.argwhere(dag):
        theirs.add_directed_edge(nodes[i], nodes[j])
    found = dag2cpdag(theirs)
    # There [i, j] is the mark at i's end: -1 a tail, 1 an arrowhead.
    places = [found.node_map[node] for node in nodes]
    theirs_marks = found.graph.T[np.ix_(places, places)]
    cpdag = PartialGraph.cpdag(dag)
    assert (np.where(theirs_marks == -1, 1, np.where(theirs_marks == 1, 2, 0)) == cpdag.marks).all()
    extended = pdag2dag(found)
    member = (extended.graph.T == 1)[np.ix_(places, places)]
    assert PartialGraph.cpdag(member) == PartialGraph.cpdag(cpdag.to_dag())


@settings(max_examples=25, deadline=None)
@given(dags(), dags())
def test_comparison_counts_each_pair_once(one, other):
    n = min(len(one), len(other))
    a, b = PartialGraph.cpdag(one[:n, :n]), PartialGraph.cpdag(other[:n, :n])
    scores = a.compare(b)
    expected = sum(
        (a.marks[i, j], a.marks[j, i]) != (b.marks[i, j], b.marks[j, i])
        for i, j in itertools.combinations(range(n), 2)
    )
    assert scores.shd == expected == b.compare(a).shd
    assert (scores.shd == 0) == (a == b)
    assert scores.to_dict()["n_learned"] == np.triu(a.skeleton).sum()
    assert scores.skeleton_precision == b.compare(a).skeleton_recall
    assert scores.arrow_precision == b.compare(a).arrow_recall
    names = list(reversed(a.names))
    assert a.compare(b.permute(names)) == scores


def test_an_undirected_edge_costs_recall_of_arrows_and_no_precision():
    truth = PartialGraph.cpdag([[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    open_ends = PartialGraph.from_adjacency(truth.skeleton)
    scores = open_ends.compare(truth)
    assert (scores.shd, scores.skeleton_f1) == (2, 1.0)
    assert (scores.arrow_recall, scores.arrow_f1) == (0.0, 0.0)


@settings(max_examples=25, deadline=None)
@given(any_marks())
def test_json_pickle_equality(marks):
    graph = PartialGraph(marks)
    again = PartialGraph.from_dict(json.loads(json.dumps(graph.to_dict())))
    assert again == graph
    assert hash(again) == hash(graph)
    loaded = pickle.loads(pickle.dumps(graph))
    assert loaded == graph
    with pytest.raises(ValueError, match="read-only"):
        loaded.marks[0, 0] = 1
    assert graph != PartialGraph(marks, [f"v{i}" for i in range(len(marks))])
    assert graph != "a graph"
    for a, symbol, b in graph.edges():
        ends = {"-": 1, ">": 2, "<": 2, "o": 3}
        i, j = graph.index(a), graph.index(b)
        assert (graph.marks[j, i], graph.marks[i, j]) == (ends[symbol[0]], ends[symbol[-1]])


def test_saving_and_loading(tmp_path):
    graph = PartialGraph.cpdag(CausalGraph.random(["a", "b", "c", "d"], None, 1.0, 3))
    graph.save(tmp_path / "class.json")
    assert PartialGraph.load(tmp_path / "class.json") == graph
    (tmp_path / "bad.json").write_text('{"names": ["a"]}')
    with pytest.raises(
        ValueError, match=r"bad\.json holds no valid graph: data must have the keys"
    ):
        PartialGraph.load(tmp_path / "bad.json")


def test_names_and_kinds_come_from_the_graph():
    graph = CausalGraph([[0, 1], [0, 0]], names=["a", "r"], kinds=["state", "reward"])
    cpdag = PartialGraph.cpdag(graph)
    assert (cpdag.names, cpdag.kinds) == (("a", "r"), ("state", "reward"))
    assert cpdag.to_dag().kinds == cpdag.kinds
    assert cpdag.permute(["r", "a"]).kinds == ("reward", "state")
    assert PartialGraph.empty(["a", "b"]).edges() == []
    assert "2 variables: a, r; 1 edges, 0 of them directed" in repr(cpdag)


def test_drawing_shows_every_mark():
    marks = np.zeros((4, 4), dtype=int)
    marks[0, 1], marks[1, 0] = 2, 3
    marks[1, 2], marks[2, 1] = 2, 2
    marks[2, 3], marks[3, 2] = 1, 1
    graph = PartialGraph(marks)
    ax = graph.plot()
    shapes = [type(patch).__name__ for patch in ax.patches]
    assert shapes.count("Polygon") == 3  # arrowheads
    assert shapes.count("Circle") == 4 + 1  # nodes and the one ring
    assert len(ax.lines) == 3
    truth = PartialGraph(np.where(marks == 3, 1, marks), graph.names)
    marked = graph.plot(truth=truth)
    assert [text.get_text() for text in marked.get_legend().get_texts()] == ["right", "other marks"]
    dot = graph.to_dot()
    assert '"X1" -> "X2" [arrowtail=odot, arrowhead=normal];' in dot
    assert '"X2" -> "X3" [arrowtail=normal, arrowhead=normal];' in dot
    assert '"X3" -> "X4" [arrowtail=none, arrowhead=none];' in dot


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda: PartialGraph([[0, 4], [1, 0]]), ValueError, r"0 \(none\).*got 4 at \[0, 1\]"),
        (lambda: PartialGraph([[0, 2], [0, 0]]), ValueError, "both ends of an edge or at none"),
        (lambda: PartialGraph([[1, 0], [0, 0]]), ValueError, "zero diagonal, got an edge of X1"),
        (lambda: PartialGraph([[0, 1]]), ValueError, r"marks must have shape \(n, n\)"),
        (lambda: PartialGraph([["a"]]), TypeError, "marks must hold numbers"),
        (lambda: PartialGraph([[0, 1], [1, 0]], ["a", "a"]), ValueError, "names must be distinct"),
        (lambda: PartialGraph([[0]], kinds=["thing"]), ValueError, "kinds must be among"),
        (lambda: PartialGraph.cpdag([[0, 1], [1, 0]]), ValueError, "dag must be acyclic"),
        (lambda: PartialGraph.cpdag([[1]]), ValueError, "zero diagonal"),
        (lambda: PartialGraph.from_adjacency([[1]]), ValueError, "adjacency must have a zero diag"),
        (lambda: PartialGraph.from_adjacency([[0, 2], [0, 0]]), ValueError, "only 0 and 1"),
        (lambda: PartialGraph.from_dict([1]), TypeError, "data must be a mapping"),
        (
            lambda: PartialGraph.from_dict({"names": ["a"], "marks": [[0]], "x": 1}),
            ValueError,
            r"unknown keys \['x'\]",
        ),
        (
            lambda: PartialGraph.from_dict({"format": "other", "names": ["a"], "marks": [[0]]}),
            ValueError,
            "data must be of format",
        ),
        (lambda: PartialGraph([[0]]).compare([[0]]), TypeError, "truth must be a PartialGraph"),
        (
            lambda: PartialGraph([[0]]).compare(PartialGraph([[0]], ["b"])),
            ValueError,
            "missing: X1; unknown: b",
        ),
        (lambda: PartialGraph([[0]]).permute(["b"]), ValueError, "names must be the names of the"),
        (lambda: PartialGraph([[0]]).to_dag(["b"]), ValueError, "order must be the names of the"),
        (lambda: PartialGraph([[0]]).forced_dag("X1"), TypeError, "sequence of strings"),
        (lambda: PartialGraph([[0]]).index("X2"), ValueError, "no variable is named 'X2'"),
    ],
)
def test_bad_input_is_refused_at_the_door(build, error, match):
    with pytest.raises(error, match=match) as caught:
        build()
    assert "\n" not in str(caught.value)
