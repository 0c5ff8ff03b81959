from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import (
    GraphLearner,
    Transitions,
    learner_options,
    list_learners,
    make_learner,
    register_learner,
    registry,
)
from causal_rl.discovery.baselines import EmptyLearner
from causal_rl.discovery.registry import learner_class


def data(rows: int = 40) -> Transitions:
    rng = np.random.default_rng(0)
    return Transitions(
        state=rng.normal(size=(rows, 3)),
        next_state=rng.normal(size=(rows, 3)),
        reward=np.ones(rows),
    )


def test_names():
    assert list_learners()[0] == "interventional"
    assert {"algorithm5", "notears", "dagma", "empty", "full", "random"} <= set(list_learners())


@pytest.mark.parametrize("name", list_learners())
def test_every_learner_is_made_with_its_own_defaults(name: str):
    learner = make_learner(name, **learner_options(name))
    assert isinstance(learner, GraphLearner)
    assert learner.name == name
    assert learner.graph_ is None


def test_unknown_names_and_options_offer_the_nearest():
    with pytest.raises(ValueError, match="'algoritm5'; did you mean 'algorithm5'"):
        make_learner("algoritm5")
    with pytest.raises(ValueError, match="known: interventional, algorithm5"):
        make_learner("zzz")
    with pytest.raises(ValueError, match="no option 'sparcity'; did you mean 'sparsity'"):
        make_learner("algorithm5", sparcity=1.0)
    with pytest.raises(TypeError, match="name must be a string"):
        make_learner(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["interventional", "algorithm5", "empty", "full", "random"])
def test_bad_data_at_every_learner(name: str):
    learner = make_learner(name)
    with pytest.raises(TypeError, match="transitions must be Transitions"):
        learner.update(np.zeros((3, 3)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rows"):
        learner.fit(data()[:0])
    with pytest.raises(TypeError, match="reward_node"):
        make_learner(name, reward_node="yes")
    plain = data()
    bare = Transitions(state=plain.state, next_state=plain.next_state)
    with pytest.raises(ValueError, match="has no reward"):
        make_learner(name, reward_node=True).fit(bare)
    learner.fit(plain)
    other = Transitions(state=plain.state, next_state=plain.next_state, names=["a", "b", "c"])
    with pytest.raises(ValueError, match="this learner has seen"):
        learner.update(other)
    assert learner.fit(other).names == ("a", "b", "c")


@pytest.mark.parametrize("name", ["empty", "full", "random"])
def test_a_state_of_another_learner_is_refused(name: str):
    with pytest.raises(ValueError, match="state is of the learner"):
        make_learner(name).load_state_dict(make_learner("algorithm5").state_dict())
    with pytest.raises(ValueError, match="reward_node"):
        make_learner(name).load_state_dict(make_learner(name, reward_node=True).state_dict())


def test_a_learner_of_ones_own_is_known_by_its_name() -> None:
    class Own(EmptyLearner):
        name = "own"

        def __init__(self, *, size: int = 3, reward_node: bool = False) -> None:
            super().__init__(reward_node=reward_node)
            self.size = size

    try:
        assert register_learner(Own) is Own
        assert "own" in list_learners()
        assert make_learner("own", size=5).size == 5
        with pytest.raises(ValueError, match="no option 'sise'"):
            make_learner("own", sise=5)

        class Again(Own):
            pass

        register_learner(Again)
        assert type(make_learner("own")) is Again
    finally:
        registry._LEARNERS._entries.pop("own", None)


def test_what_cannot_be_registered() -> None:
    class Pc(EmptyLearner):
        name = "pc"

    class Nameless(EmptyLearner):
        name = ""

    with pytest.raises(ValueError, match="'pc' is a built-in"):
        register_learner(Pc)
    with pytest.raises(ValueError, match="needs an attribute name"):
        register_learner(Nameless)
    for wrong in (GraphLearner, int, Pc()):
        with pytest.raises(TypeError, match="complete subclass of GraphLearner"):
            register_learner(wrong)
    assert learner_class("pc") is not Pc
