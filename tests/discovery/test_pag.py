from __future__ import annotations

import importlib.util
import warnings

import networkx as nx
import numpy as np
import pytest

from causal_rl.discovery import ConvergenceWarning
from causal_rl.discovery.pag import Separation, fci, fci_of_covariance, influences, pag_of_dag
from causal_rl.discovery.skeleton import find_skeleton
from causal_rl.graphs import CausalGraph, PartialGraph
from causal_rl.scm import topology


def dag(*edges: str) -> CausalGraph:
    names = sorted({name for edge in edges for name in edge})
    adjacency = np.zeros((len(names),) * 2, dtype=bool)
    for a, b in edges:
        adjacency[names.index(a), names.index(b)] = True
    return CausalGraph(adjacency, names=names)


def random_dag(seed: int, n: int = 7) -> CausalGraph:
    return CausalGraph(topology("er", n, np.random.default_rng(seed), density=1.3))


def test_known_graphs():
    assert pag_of_dag(dag("ac", "bc")).edges() == [("a", "o->", "c"), ("b", "o->", "c")]
    # A y-structure has a certain cause; a hidden cause of two effects makes them bidirected.
    assert ("c", "-->", "d") in pag_of_dag(dag("ac", "bc", "cd")).edges()
    found = pag_of_dag(dag("ab", "hb", "hc", "dc"), ["h"]).edges()
    assert found == [("a", "o->", "b"), ("b", "<->", "c"), ("d", "o->", "c")]
    assert pag_of_dag(dag("hb", "hc"), ["h"]).edges() == [("b", "o-o", "c")]


def test_possible_d_sep_separates_what_neighbours_do_not():
    # Spirtes, Glymour and Scheines: a and e are apart given b, c and d alone, and c is a neighbour
    # of neither.
    graph = dag("ta", "tb", "ud", "ue", "cb", "cd", "be", "da")
    observed = [graph.index(name) for name in "abcde"]
    first = find_skeleton(Separation(graph.contemporaneous, observed), 0.5).adjacency
    found = pag_of_dag(graph, ["t", "u"])
    assert first[0, 4]
    assert not found.skeleton[0, 4]
    assert found.skeleton.sum() == first.sum() - 2


def test_discriminating_path():
    # d -> a <-> b -> c with a -> c: whether b is a collider decides the last marks (rule 4).
    chain = pag_of_dag(dag("da", "ha", "hb", "bc", "ac"), ["h"])
    assert ("b", "-->", "c") in chain.edges()
    fork = pag_of_dag(dag("da", "ha", "hb", "kb", "kc", "ac"), ["h", "k"])
    assert ("b", "<->", "c") in fork.edges()


@pytest.mark.parametrize("seed", range(8))
def test_what_the_marks_say_is_so(seed: int):
    graph = random_dag(seed)
    hidden = list(graph.names[:2]) if seed % 2 else []
    found = pag_of_dag(graph, hidden)
    reach = nx.transitive_closure(nx.DiGraph(graph.contemporaneous.astype(int)))
    for i, a in enumerate(found.names):
        for j, b in enumerate(found.names):
            causes = reach.has_edge(graph.index(a), graph.index(b))
            if found.marks[i, j] == 2:
                assert not reach.has_edge(graph.index(b), graph.index(a))
            if found.marks[j, i] == 1:
                assert causes
    if not hidden:
        cpdag = PartialGraph.cpdag(graph)
        assert (found.skeleton == cpdag.skeleton).all()
        assert ((found.marks == 2) == (cpdag.marks == 2)).all()


def test_separation_is_that_of_networkx():
    graph = random_dag(3, 6)
    test = Separation(graph.contemporaneous, list(range(6)))
    peer = nx.DiGraph(graph.contemporaneous.astype(int))
    rng = np.random.default_rng(0)
    for _ in range(60):
        x, y, *given = rng.permutation(6)[: rng.integers(2, 6)].tolist()
        p = test.p_values(x, np.array([[y, *given]]))[0, 0]
        assert bool(p) == nx.is_d_separator(peer, {x}, {y}, set(given))


@pytest.mark.skipif(importlib.util.find_spec("causallearn") is None, reason="extra 'discovery'")
@pytest.mark.parametrize("seed", range(6))
def test_equals_causal_learn_where_it_is_complete(seed: int):
    from causallearn.search.ConstraintBased.FCI import fci as peer_fci

    from causal_rl.discovery.adapters.causal_learn import _marks

    rng = np.random.default_rng(seed)
    graph = random_dag(seed, 6)
    observed = np.sort(rng.permutation(6)[1:])
    ours = pag_of_dag(graph, [v for k, v in enumerate(graph.names) if k not in observed])
    order = [*observed, *(k for k in range(6) if k not in observed)]
    peer = nx.DiGraph(graph.contemporaneous[np.ix_(order, order)].astype(int))
    found, _ = peer_fci(
        rng.normal(size=(9, 5)), "d_separation", 0.5, true_dag=peer, show_progress=False
    )
    theirs = _marks(found)
    # Of the paths in rules 9 and 10 it looks at some only, and leaves a circle at times.
    different = theirs != ours.marks
    assert (theirs[different] == 3).all()
    assert (ours.marks[different] == 1).all()


def test_population_covariance_gives_the_graph_of_the_population():
    graph = dag("ab", "hb", "hc", "dc")
    weights = 0.8 * graph.contemporaneous
    effect = np.linalg.inv(np.eye(5) - weights)
    seen = [graph.index(name) for name in "abcd"]
    covariance = (effect.T @ effect)[np.ix_(seen, seen)]
    assert fci_of_covariance(covariance, names=list("abcd")) == pag_of_dag(graph, ["h"])


def test_bounds_and_bad_input():
    test = Separation(random_dag(0).contemporaneous, list(range(7)))
    with pytest.warns(ConvergenceWarning, match="max_tests=30"):
        fci(test, 0.5, max_tests=30)
    loose = fci(test, 0.5, max_conditioning=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert loose.skeleton.sum() >= fci(test, 0.5).skeleton.sum()
    forbidden = ~np.eye(7, dtype=bool)
    forbidden[0] = forbidden[:, 0] = False
    assert not fci(test, 0.5, possible=forbidden).skeleton[0].any()
    with pytest.raises(ValueError, match="alpha is 0"):
        fci(test, 0.0)
    with pytest.raises(ValueError, match="hidden holds all variables"):
        pag_of_dag(dag("ab"), ["a", "b"])
    with pytest.raises(ValueError, match="'z'"):
        pag_of_dag(dag("ab"), ["z"])


def test_influences_pass_colliders_and_triangles():
    # a o-> b <-o c o-o d: b is a collider, c is not.
    marks = pag_of_dag(dag("ab", "cb", "cd")).marks
    assert influences(marks, 0) == {1: 1, 2: 2}
    assert influences(marks, 0, depth=1) == {1: 1}
    assert influences(marks, 3) == {2: 1}
    triangle = pag_of_dag(dag("ab", "bc", "ac")).marks
    assert influences(triangle, 0) == {1: 1, 2: 1}
