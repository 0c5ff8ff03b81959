from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest

from causal_rl.agents import SCMPlanner
from causal_rl.envs import (
    Interventions,
    SCMEnv,
    SCMEnvSpec,
    SCMVectorEnv,
    change_mechanism,
    flip_mechanisms,
    list_envs,
    randomise,
    resolve_spec,
    scale_noise,
)
from causal_rl.envs.scalar import check_same_interface
from causal_rl.envs.shifts import (
    causal_edges,
    default_stuck,
    drop_edge,
    hard_intervention,
    reward_causes,
)
from causal_rl.envs.unseen_graphs import UNSEEN_SEED, UnseenGraph, family, graph_shifts
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.scm import (
    Argmax,
    Categorical,
    DynamicSCM,
    Gaussian,
    Linear,
    Structural,
    Uniform,
    Variable,
)

DISTRACTORS = tuple(f"D{i}" for i in range(1, 9))


def differing(one: SCMEnvSpec, two: SCMEnvSpec) -> dict[str, set[str]]:
    """Which fields of which variables differ."""
    changed = {}
    for a, b in zip(one.scm.variables, two.scm.variables, strict=True):
        fields = ("mechanism", "noise", "parents", "lagged_parents", "kind", "name")
        different = {f for f in fields if getattr(a, f) != getattr(b, f)}
        if different:
            changed[a.name] = different
    return changed


def play(spec: SCMEnvSpec, seed: int = 0) -> np.ndarray:
    envs = SCMVectorEnv(spec, 64)
    rng = np.random.default_rng(0)
    frames = [envs.reset(seed=seed)[0]]
    nvec = spec.interventions.space().nvec
    for _ in range(10):
        frames.append(envs.step(rng.integers(0, nvec, (64, 2)))[0])
    return np.stack(frames)


def variable(spec: SCMEnvSpec, name: str) -> Variable:
    return next(v for v in spec.scm.variables if v.name == name)


# Worlds by the kinds of variable there are in them; hidden and categorical ones too.
WORLDS = ["chain-scm", "delayed-chain-scm", "er-scm", "mixed-scm", "proxy-chain-scm"]


@pytest.mark.parametrize("name", WORLDS)
def test_noise_doubles_all_scales_but_the_goals(name: str) -> None:
    spec = resolve_spec(name)
    other = spec.shifted("noise")
    expected = {}
    for v in spec.scm.variables:
        if v.categories is not None:
            expected[v.name] = {"mechanism"}
        elif v.kind == "state" and v.noise.std > 0:
            expected[v.name] = {"noise"}
            wide = variable(other, v.name).noise.std
            assert wide == pytest.approx(2 * v.noise.std)
    assert differing(spec, other) == expected
    assert other.causal_graph == spec.causal_graph
    assert other.interventions is spec.interventions


@pytest.mark.parametrize("name", WORLDS)
def test_mechanism_changes_that_of_the_sink_alone(name: str) -> None:
    spec = resolve_spec(name)
    other = spec.shifted("mechanism")
    (sink,) = (v for v in spec.causal_graph.parents("reward") if v != "goal")
    assert differing(spec, other) == {sink: {"mechanism"}}
    assert other.causal_graph == spec.causal_graph
    x = np.random.default_rng(0).standard_normal((5, len(_inputs(variable(spec, sink)))))
    before, after = variable(spec, sink).function(x), variable(other, sink).function(x)
    np.testing.assert_allclose(after, 0.5 + 0.6 * before)


def _inputs(v: Variable) -> tuple[str, ...]:
    return (*v.parents, *v.lagged_parents)


def test_flip_turns_the_proxies_and_nothing_else() -> None:
    spec = resolve_spec("proxy-chain-scm")
    other = spec.shifted("flip")
    assert differing(spec, other) == {d: {"mechanism"} for d in DISTRACTORS}
    assert other.causal_graph == spec.causal_graph
    one, two = play(spec), play(other)
    columns = [spec.observed_names.index(d) for d in DISTRACTORS]
    rest = [i for i in range(one.shape[2]) if i not in columns]
    np.testing.assert_array_equal(one[..., rest], two[..., rest])
    goal = one[..., [spec.observed_names.index("goal")]]
    # Same noise, opposite signal: the sum of the two is twice the noise.
    assert np.std(one[..., columns] + two[..., columns]) == pytest.approx(0.2, abs=0.02)
    follow = np.sign((one[..., columns] * goal).mean(axis=(0, 1)))
    assert set(follow) == {-1.0, 1.0}
    np.testing.assert_array_equal(np.sign((two[..., columns] * goal).mean(axis=(0, 1))), -follow)


def test_randomise_cuts_the_proxies_off_the_goal() -> None:
    spec = resolve_spec("proxy-chain-scm")
    other = spec.shifted("randomise")
    assert set(differing(spec, other)) == set(DISTRACTORS)
    one, two = play(spec), play(other)
    columns = [spec.observed_names.index(d) for d in DISTRACTORS]
    rest = [i for i in range(one.shape[2]) if i not in columns]
    np.testing.assert_array_equal(one[..., rest], two[..., rest])
    goal = two[..., spec.observed_names.index("goal")].ravel()
    for c in columns:
        assert abs(np.corrcoef(goal, two[..., c].ravel())[0, 1]) < 0.2
        assert abs(np.corrcoef(goal, one[..., c].ravel())[0, 1]) > 0.95
        assert np.std(two[..., c]) == pytest.approx(np.std(one[..., c]), abs=0.15)
    assert not any(other.causal_graph.parents(d) for d in DISTRACTORS)


def test_shifts_compose() -> None:
    spec = resolve_spec("proxy-chain-scm", shift="flip").shifted("noise")
    assert spec.name == "proxy-chain-scm[flip][noise]"
    assert variable(spec, "D1").noise.std == pytest.approx(0.2)


def _bent(columns: object, noise: np.ndarray) -> np.ndarray:
    return np.asarray(columns) * noise


def _unbent(value: np.ndarray, column: np.ndarray) -> np.ndarray:
    return value / column


def _add(*columns: np.ndarray) -> np.ndarray:
    return np.sum(columns, axis=0)


def zoo() -> SCMEnvSpec:
    """Every sort of mechanism: additive, categorical, without noise, structural; one hidden."""
    variables = [
        Variable("root", noise=Uniform(1.0, 2.0)),
        Variable(
            "kind", Categorical([Linear([2.0]), Linear([-1.0]), Linear([0.0])]), parents=("root",)
        ),
        Variable("pick", Argmax([Linear([1.0]), Linear([-1.0])]), parents=("root",)),
        Variable("bent", Structural(_bent, _unbent), parents=("root",)),
        Variable("secret", Linear([0.5]), parents=("kind",), kind="hidden"),
        Variable(
            "end", Linear([1.0, 0.5, 0.2]), parents=("bent", "secret"), lagged_parents=("end",)
        ),
        Variable("goal", noise=Gaussian(1.0), kind="context"),
        Variable("reward", _add, parents=("end", "goal"), kind="reward"),
    ]
    actions = Interventions(["root", "end"], (-1.0, 1.0), cost={"end": 0.25})
    return SCMEnvSpec("zoo", DynamicSCM(variables), actions, horizon=6)


def descendants(spec: SCMEnvSpec, names: tuple[str, ...]) -> set[str]:
    return set(spec.scm.graph.descendants(names))


def moved(one: SCMEnvSpec, two: SCMEnvSpec) -> set[str]:
    """Which variables ever differ under the same seeds and actions, hidden ones included."""
    actions = np.random.default_rng(0).integers(0, one.action_space().nvec, (12, 32, 2))
    frames = []
    for spec in (one, two):
        envs = SCMVectorEnv(spec, 32)
        envs.reset(seed=3)
        values = [envs.values]
        for step in actions:
            envs.step(step)
            values.append(envs.values)
        frames.append(np.stack(values))
    differ = (frames[0] != frames[1]).any(axis=(0, 1))
    return {name for name, d in zip(one.scm.names, differ, strict=True) if d}


# Each: a shift of the zoo, and the variables that it says it changes.
ZOO = {
    "noise": (scale_noise, ("root", "kind", "secret", "end")),
    "mechanism": (change_mechanism, ("end",)),
    "several": (partial(change_mechanism, name=("kind", "secret")), ("kind", "secret")),
    "pick": (partial(change_mechanism, name="pick"), ("pick",)),
    "flip": (partial(flip_mechanisms, names=("kind", "pick")), ("kind", "pick")),
    "flip-end": (partial(flip_mechanisms, names=("end",)), ("end",)),
    "any": (partial(randomise, names=("kind",)), ("kind",)),
    "own": (partial(randomise, names=("bent",), noise=Gaussian(1.0)), ("bent",)),
    "stuck": (partial(hard_intervention, values={"kind": 2, "bent": 0.5}), ("kind", "bent")),
    "aim": (partial(hard_intervention, values={"goal": 0.5}), ("goal",)),
    "edge": (partial(drop_edge, parent="root", child="kind"), ("kind",)),
    "bare": (partial(drop_edge, parent="root", child="pick", value=-1.0), ("pick",)),
    "straight": (partial(drop_edge, parent="root", child="bent", value=3.0), ("bent",)),
    "forget": (partial(drop_edge, parent="end", child="end"), ("end",)),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_shift_moves_what_it_changes_and_its_descendants_alone(name: str) -> None:
    spec = zoo()
    shift, changed = ZOO[name]
    other = shift(spec)
    assert set(differing(spec, other)) == set(changed)
    assert set(changed) <= moved(spec, other) <= descendants(spec, changed)
    check_same_interface(spec, other)
    other.scm.check()
    assert [v.categories for v in other.scm.variables] == [v.categories for v in spec.scm.variables]
    assert other.scm.kinds == spec.scm.kinds
    # A shift is pure, and survives a process boundary.
    assert not moved(spec, zoo())
    again = pickle.loads(pickle.dumps(shift))(spec)
    assert not moved(pickle.loads(pickle.dumps(other)), again)


def test_noise_of_categories_is_the_temperature_of_their_softmax() -> None:
    cold, hot = scale_noise(zoo(), 0.01), scale_noise(zoo(), 100.0)
    root = [np.array([1.5])]
    np.testing.assert_allclose(
        variable(cold, "kind").function.probabilities(root, 1)[:, 0], [1.0, 0.0, 0.0], atol=1e-9
    )
    np.testing.assert_allclose(
        variable(hot, "kind").function.probabilities(root, 1)[:, 0], 1 / 3, atol=0.02
    )


def test_categories_move_round_or_turn_round() -> None:
    spec, root = zoo(), [np.array([1.5])]
    before = variable(spec, "kind").function.probabilities(root, 1)[:, 0]
    round_ = variable(change_mechanism(spec, "kind"), "kind").function.probabilities(root, 1)[:, 0]
    turned = variable(flip_mechanisms(spec, ["kind"]), "kind").function.probabilities(root, 1)[:, 0]
    np.testing.assert_allclose(round_, np.roll(before, -1))
    np.testing.assert_allclose(turned, before[::-1])


def test_randomised_categories_are_even() -> None:
    other = randomise(zoo(), ["kind"])
    values = other.scm.simulate(50, 0, batch=200).values[..., other.scm.names.index("kind")]
    np.testing.assert_allclose(
        np.bincount(values.astype(int).ravel()) / values.size, 1 / 3, atol=0.02
    )


def test_what_is_stuck_no_action_moves_and_every_action_costs() -> None:
    spec = zoo()
    other = hard_intervention(spec, {"end": 1.5, "kind": 1})
    env = SCMEnv(other)
    env.reset(seed=0)
    for _ in range(3):
        observation, reward, _, _, info = env.do("end", -1.0)
        by_name = dict(zip(other.observed_names, observation, strict=True))
        assert (by_name["end"], by_name["kind"]) == (1.5, 1.0)
        assert not info["do_target"].any()
        assert reward == pytest.approx(1.5 + by_name["goal"] - 0.25)
        observation, *_, info = env.do("root", -1.0)
        assert observation[other.observed_names.index("root")] == -1.0
        assert info["do_target"].sum() == 1
    trajectory = env.trajectory()
    same = env.counterfactual(trajectory, (trajectory.do_mask, trajectory.do_value))
    np.testing.assert_array_equal(same.values, trajectory.values)
    twice = hard_intervention(other, {"root": 1.0})
    assert moved(other, twice) >= {"root"}
    assert not twice.action_tables.mask.any()
    # The planner knows: the cheapest action that moves nothing is none.
    assert SCMPlanner(twice, samples=2).plan(np.zeros((1, twice.scm.n))).action[0, 0] in (0, 1)
    assert copy.deepcopy(twice).interventions.stuck == ("end", "root")


def test_a_lost_parent_is_read_as_its_mean_and_is_one_no_more() -> None:
    spec = zoo()
    for child in ("kind", "bent"):
        other = drop_edge(spec, "root", child)
        graph = other.scm.graph
        expected = [e for e in spec.scm.graph.edges() if e[1:] != ("root", child)]
        assert list(graph.edges()) == expected
    at_mean = drop_edge(spec, "root", "kind")
    wanted = variable(spec, "kind").function.probabilities([np.array([1.5])], 1)
    found = variable(at_mean, "kind").function.probabilities([], 1)
    np.testing.assert_allclose(found, wanted, atol=0.01)
    # Of a categorical parent it is the commonest category, which is no mean.
    secret = drop_edge(spec, "kind", "secret")
    assert variable(secret, "secret").function.evaluate([], 1)[0] == 0.0
    np.testing.assert_array_equal(
        variable(drop_edge(spec, "bent", "end", 2.0), "end").function(np.array([[1.0, 3.0]])),
        variable(spec, "end").function(np.array([[2.0, 1.0, 3.0]])),
    )
    trajectory = drop_edge(spec, "root", "bent", 3.0).scm.simulate(4, 0, batch=2)
    noise = drop_edge(spec, "root", "bent", 3.0).scm.abduct(trajectory.values)
    column = spec.scm.names.index("bent")
    np.testing.assert_allclose(noise[..., column], trajectory.noise[..., column])


def test_causes_and_edges_come_nearest_first() -> None:
    spec = zoo()
    assert reward_causes(spec) == {"end": 1, "bent": 2, "secret": 2, "root": 3, "kind": 3}
    edges = causal_edges(spec)
    assert edges[:2] == [("bent", "end"), ("secret", "end")]
    assert set(edges[2:]) == {("root", "bent"), ("kind", "secret"), ("root", "kind")}
    assert set(hard_intervention(spec).action_tables.mask.any(axis=0)) == {False, True}
    assert set(differing(spec, hard_intervention(spec))) == {"root"}
    assert default_stuck(spec, "root") == {"root": 1.0}
    assert default_stuck(spec, "kind") == {"kind": 2.0}
    assert default_stuck(spec, "bent") == {"bent": 2.0}


@pytest.mark.parametrize("name", list(list_envs()))
def test_every_shift_of_every_world_keeps_the_interface(name: str) -> None:
    spec = resolve_spec(name)
    for shift in spec.shifts:
        other = spec.shifted(shift)
        check_same_interface(spec, other)
        assert other.horizon == spec.horizon
        assert other.scm.kinds == spec.scm.kinds
        pickle.dumps(other)


def drawn(name: str, **options: object) -> SCMEnvSpec:
    """A built-in world with the shifts of worlds whose graph is drawn."""
    world = BUILT_IN[name]
    chosen = world.options(**options)
    spec = world.build(chosen)
    return spec.replace(shifts={**spec.shifts, **graph_shifts(world.build, chosen)})


@pytest.mark.parametrize(
    "name", ["chain-scm", "lagged-chain-scm", "er-scm", "mixed-scm", "proxy-chain-scm", "full-scm"]
)
def test_an_unseen_graph_is_another_world_of_the_family_behind_one_interface(name: str) -> None:
    spec = drawn(name, n=6)
    shift = spec.shifts["unseen-graph"]
    seeds = shift.unseen_seeds(spec, 3)
    assert len(set(seeds)) == 3
    assert min(seeds) >= UNSEEN_SEED
    worlds = [UnseenGraph(shift.family, seed)(spec) for seed in seeds]
    graphs = [spec.scm.graph, *(w.scm.graph for w in worlds)]
    assert all(a != b for i, a in enumerate(graphs) for b in graphs[:i])
    for seed, world in zip(seeds, worlds, strict=True):
        check_same_interface(spec, world)
        assert world.scm.kinds == spec.scm.kinds
        for v in spec.scm.variables:
            assert variable(world, v.name).categories == v.categories
        assert world.causal_graph.parents("reward") == spec.causal_graph.parents("reward")
        # Nothing but labels: sorted, the values of an episode are those of the family's member.
        member = shift.family(seed)
        assert sorted(world.interventions.cost.values()) == sorted(
            member.interventions.cost.values()
        )
        np.testing.assert_array_equal(
            np.sort(_at_zero_noise(world)), np.sort(_at_zero_noise(member))
        )
    first = spec.shifted("unseen-graph")
    assert first.scm.graph == graphs[1]
    assert pickle.loads(pickle.dumps(spec)).shifted("unseen-graph").scm.graph == first.scm.graph


def _at_zero_noise(spec: SCMEnvSpec) -> np.ndarray:
    half = np.full((1, spec.scm.n), 0.5)
    return spec.scm.initial(spec.scm.noise_from_uniforms(half))[0]


@pytest.mark.parametrize("name", ["collider-scm", "delayed-chain-scm"])
def test_where_no_graph_is_unseen_it_says_so(name: str) -> None:
    spec = drawn(name, n=4)
    with pytest.raises(ValueError, match=r"has no unseen graph; the last tried: .* makes"):
        spec.shifted("unseen-graph")
    with pytest.raises(ValueError, match="makes its own graph"):
        UnseenGraph(spec.shifts["unseen-graph"].family, 0)(spec)


def test_unseen_graphs_are_counted_once() -> None:
    """A fork of 4 whose end is fixed has 3 possible causes, one of them in training."""
    spec = drawn("fork-scm", n=4)
    seeds = spec.shifts["unseen-graph"].unseen_seeds(spec, 10)
    assert len(seeds) == 2


def test_labels_move_in_circles_if_they_must() -> None:
    """Whichever variables are categorical: where they are as many as in training it can be done."""
    spec = drawn("mixed-scm", n=7, mechanism="linear")
    shift = spec.shifts["unseen-graph"]

    def counts(world: SCMEnvSpec) -> list[str]:
        return sorted(str(v.categories) for v in world.scm.variables)

    done = 0
    for seed in range(UNSEEN_SEED, UNSEEN_SEED + 12):
        if counts(shift.family(seed)) == counts(spec):
            world = UnseenGraph(shift.family, seed)(spec)
            found = [v.categories for v in world.scm.variables]
            assert found == [v.categories for v in spec.scm.variables]
            done += 1
    assert done > 4


def test_delayed_worlds_are_offered_no_unseen_graph() -> None:
    world = BUILT_IN["chain-scm"]
    assert set(graph_shifts(world.build, world.options(timing="delayed"))) == {"edge"}
    assert set(graph_shifts(world.build, world.options())) == {"edge", "unseen-graph"}


def test_a_family_is_all_options_but_the_seed() -> None:
    world = BUILT_IN["er-scm"]
    options = world.options(n=5, density=1.5, horizon=7)
    other = family(world.build, options)(11)
    expected = world.make(n=5, density=1.5, horizon=7, graph_seed=11)
    assert other.scm.graph == expected.scm.graph
    assert other.horizon == 7


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (partial(change_mechanism, name="Z"), "has no variable 'Z' to shift"),
        (partial(change_mechanism, name="bent"), "Structural of 'bent' is neither"),
        (partial(flip_mechanisms, names=["bent"]), "Structural of 'bent' is neither"),
        (partial(scale_noise, factor=0.0), "factor must be above 0"),
        (partial(scale_noise, factor=float("nan")), "factor must be above 0"),
        (partial(randomise, names=["kind"], noise=Gaussian(1.0)), "'kind' has 3 categories"),
        (partial(randomise, names=["root"]), "'root' needs a noise"),
        (partial(hard_intervention, values={"kind": 3}), "category 0..2, got 3"),
        (partial(hard_intervention, values={"kind": 0.5}), "category 0..2, got 0.5"),
        (partial(hard_intervention, values={"end": float("inf")}), "'end' must be finite"),
        (partial(hard_intervention, values={"Z": 1.0}), "no variable 'Z'"),
        (partial(hard_intervention, values={"reward": 1.0}), "reward 'reward' cannot be cut"),
        (partial(randomise, names=["reward"], noise=Gaussian(1.0)), "'reward' cannot be cut"),
        (partial(drop_edge, parent="end", child="root"), "no edge 'end' -> 'root' to drop"),
        (partial(drop_edge, parent="end", child="reward"), "no edge 'end' -> 'reward' to drop"),
        (partial(drop_edge, parent="end"), "given together"),
        (partial(drop_edge, parent="root", child="kind", value=float("nan")), "finite"),
    ],
)
def test_bad_arguments(shift, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        shift(zoo())


def test_worlds_without_what_a_default_needs() -> None:
    goal = Variable("goal", noise=Gaussian(1.0), kind="context")
    lone = Variable("lone")
    reward = Variable("reward", _add, parents=("goal",), kind="reward")
    spec = SCMEnvSpec("idle", DynamicSCM([lone, goal, reward]), Interventions(["lone"]))
    for shift, words in (
        (change_mechanism, "no variable whose mechanism can change"),
        (hard_intervention, "no variable that can be stuck"),
        (drop_edge, "causes of the reward have no parents"),
    ):
        with pytest.raises(ValueError, match=words):
            shift(spec)
