"""What is known beforehand: its file, its contradictions, and learners that obey it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causal_rl.discovery import EdgePrior, Transitions, make_learner
from causal_rl.graphs import is_dag

NAMES = ("a", "b", "c", "d")


def write(path, *rows: str):
    path.write_text("\n".join(["rule,variable,to", *rows]) + "\n")
    return path


def test_the_file(tmp_path):
    path = write(tmp_path / "p.csv", "required,a,b", "", "forbidden, c ,a", "tier,a,1", "tier,d,5")
    prior = EdgePrior.read(path)
    assert prior == EdgePrior({("a", "b")}, {("c", "a")}, (("a",), ("d",)))
    assert prior.rules == {"required", "forbidden"}
    assert prior.names() == NAMES
    assert prior.needed(NAMES).sum() == 1
    allowed = prior.allowed(NAMES)
    banned = {(NAMES[i], NAMES[j]) for i, j in np.argwhere(~allowed) if i != j}
    assert banned == {("b", "a"), ("c", "a"), ("d", "a")}


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (["required,a,b", "forbidden,a,b"], ["requires and forbids", "a -> b"]),
        (["required,a,b", "required,b,c", "required,c,a"], ["cycle", "a -> b -> c -> a"]),
        (["required,a,a"], ["'a'", "itself"]),
        (["tier,a,2", "tier,b,1", "required,a,b"], ["a -> b", "tier 2", "tier 1"]),
        (["tier,a,2", "tier,a,1"], ["'a'", "more than once"]),
        (["tier,a,first"], ["line 2", "whole number", "first"]),
        (["required,a,b", "perhaps,a,b"], ["line 3", "perhaps", "forbidden"]),
        (["required,a"], ["line 2", "required,a"]),
        (["required,a,"], ["line 2"]),
    ],
)
def test_contradictions_and_bad_rows_are_one_line(tmp_path, rows, parts):
    with pytest.raises(ValueError, match="prior") as caught:
        EdgePrior.read(write(tmp_path / "p.csv", *rows))
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    for text in ("", "from,to\na,b\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match="rule,variable,to"):
            EdgePrior.read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no CSV text"):
        EdgePrior.read(path)


def test_wrong_types_are_refused():
    with pytest.raises(TypeError, match="required"):
        EdgePrior(required=["ab"])
    with pytest.raises(TypeError, match="tiers"):
        EdgePrior(tiers=["ab", "cd"])
    learner = make_learner("interventional")
    learner.prior = {"required": []}
    with pytest.raises(TypeError, match="prior"):
        learner.fit(np.eye(3))


EDGES = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda e: e[0] < e[1])


@settings(max_examples=60, deadline=None)
@given(st.sets(EDGES, max_size=4), st.sets(EDGES, max_size=4), st.permutations(NAMES))
def test_any_allowed_edge_fits_the_required_ones(required, forbidden, order):
    prior = EdgePrior(required, forbidden - required)
    needed, allowed = prior.needed(order), prior.allowed(order)
    assert not (needed & ~allowed).any()
    for i, j in np.argwhere(allowed):
        joined = needed.copy()
        joined[i, j] = True
        assert is_dag(joined)
    for cause, effect in prior.forbidden:
        assert not allowed[order.index(cause), order.index(effect)]


def chain(rows: int = 400) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(rows, 4))
    for j in range(1, 3):
        values[:, j] += np.tanh(2 * values[:, j - 1])
    return values


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("interventional", {}),
        ("algorithm5", {}),
        ("algorithm5", {"mechanism": "mlp", "steps": 40, "hidden": 4}),
        ("full", {}),
    ],
)
@pytest.mark.filterwarnings("ignore::causal_rl.discovery.ConvergenceWarning")
def test_learners_obey(name, options):
    # b -> a goes against the data, d -> a is nothing in them, b -> c is the strongest edge.
    names = [f"X{i}" for i in (1, 2, 3, 4)]
    prior = EdgePrior({("X2", "X1"), ("X4", "X1")}, {("X2", "X3")}, (("X4",), ("X3",)))
    learner = make_learner(name, **options)
    free = learner.fit(chain())
    learner.prior = prior
    graph = learner.fit(chain())
    assert prior.broken(graph) == []
    assert prior.broken(free) != [] or name == "full"
    assert graph.names == tuple(names)
    if name != "full":
        assert graph.is_acyclic


def test_required_edges_outrank_what_interventions_show():
    values = chain(600)
    target = np.zeros(values.shape, dtype=bool)
    target[:300, 0] = True
    values[:300, 1] = np.tanh(2 * values[:300, 0]) + values[:300, 3]
    learner = make_learner("interventional")
    assert learner.fit(values, do_target=target).contemporaneous[0, 1]
    learner.prior = EdgePrior(required={("X2", "X1")})
    graph = learner.fit(values, do_target=target)
    assert graph.contemporaneous[1, 0]
    assert not graph.contemporaneous[0, 1]


def test_the_reward_node_obeys_too():
    values = chain()
    data = Transitions(
        state=np.zeros_like(values), next_state=values, reward=values[:, 0] + values[:, 1]
    )
    learner = make_learner("interventional", reward_node=True)
    assert learner.fit(data).parents("reward") == ("X1", "X2")
    learner.prior = EdgePrior({("X4", "reward")}, {("X1", "reward")})
    parents = learner.fit(data).parents("reward")
    assert "X4" in parents
    assert "X1" not in parents


def test_what_a_learner_cannot_obey_is_refused():
    learner = make_learner("random")
    learner.prior = EdgePrior(forbidden={("X1", "X2")})
    with pytest.raises(ValueError, match=r"forbidden.*'random' cannot obey"):
        learner.fit(chain())
    learner.prior = EdgePrior()
    assert learner.fit(chain()).n == 4
    learner = make_learner("interventional")
    learner.prior = EdgePrior(required={("X1", "X9")})
    with pytest.raises(ValueError, match="X9"):
        learner.fit(chain())
    learner.prior = EdgePrior(required={("X1", "X2")})
    data = Transitions.from_table(chain(), kinds=["state", "context", "state", "state"])
    with pytest.raises(ValueError, match=r"X1 -> X2.*context"):
        learner.fit(data)
