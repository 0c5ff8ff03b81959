"""The built-in worlds: graphs, scales, costs, and that they can be solved and not trivially."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv, resolve_spec, sortability
from causal_rl.envs.worlds import BUILT_IN, BlockOptions, WorldOptions
from causal_rl.graphs import CausalGraph, one_step_graph
from causal_rl.scm import perturbation_graph, perturbation_one_step

#: The worlds in which a chain, a tree or another structure is to be held at a goal.
WORLDS = [
    name
    for name, world in BUILT_IN.items()
    if issubclass(world.options, WorldOptions) and world.options is not BlockOptions
]


def is_x(name: str) -> bool:
    """Whether a variable belongs to the structure, and is no cue and no cell that remembers."""
    return name.startswith("X") and "." not in name


def chain_order(spec: SCMEnvSpec) -> list[str]:
    """Names of the chain, first cause first, along both blocks."""
    graph = spec.causal_graph
    states = [v for v in spec.observed_names if is_x(v)]
    return sorted(states, key=lambda v: len([a for a in graph.ancestors(v) if a in states]))


@pytest.mark.parametrize("mechanism", ["linear", "tanh", "mlp"])
@pytest.mark.parametrize("name", WORLDS)
def test_perturbing_the_simulator_gives_the_stated_graph(name: str, mechanism: str) -> None:
    for graph_seed in range(3):
        spec = resolve_spec(name, mechanism=mechanism, graph_seed=graph_seed)
        assert perturbation_graph(spec.scm, graph_seed) == spec.scm.graph
        steps = perturbation_one_step(spec.scm, graph_seed, n_points=128)
        assert steps == one_step_graph(spec.scm.graph)


# A category need not change where its cause does.
@pytest.mark.parametrize("name", [w for w in WORLDS if w != "mixed-scm"])
def test_interventions_through_the_env_move_the_stated_descendants(name: str) -> None:
    spec = resolve_spec(name, graph_seed=1)
    graph, states = spec.causal_graph, spec.observed_names
    within = graph.with_(lagged=np.zeros_like(graph.lagged))
    one, two = SCMEnv(spec), SCMEnv(spec)
    last = spec.interventions.n_values - 1
    for target, intervened in enumerate(spec.interventions.settable, start=1):
        one.reset(seed=target)
        two.reset(seed=target)
        now = moved(one, two, states, (target, 0), (target, last))
        assert now == set(within.descendants(intervened)) - {"reward"}
        later = moved(one, two, states, (0, 0), (0, 0))
        children = {c for v in now for c in graph.children(v, block="lagged")}
        expected = {d for c in children for d in within.descendants(c)}
        assert later == expected - {"reward"}


def moved(
    one: SCMEnv, two: SCMEnv, names: tuple[str, ...], a: tuple[int, int], b: tuple[int, int]
) -> set[str]:
    first, second = one.step(np.array(a))[0], two.step(np.array(b))[0]
    return {name for name, x, y in zip(names, first, second, strict=True) if x != y}


def test_graphs_are_what_the_names_say() -> None:
    for n in (4, 8):
        spec = resolve_spec("chain-scm", n=n, graph_seed=5)
        order = chain_order(spec)
        assert set(spec.causal_graph.edges()) == {
            *(("contemporaneous", a, b) for a, b in pairwise(order)),
            ("contemporaneous", order[-1], "reward"),
            ("contemporaneous", "goal", "reward"),
            ("lagged", order[-1], order[-1]),
        }
        lagged = resolve_spec("lagged-chain-scm", n=n, graph_seed=5)
        assert chain_order(lagged) == order
        assert set(lagged.causal_graph.edges()) == {
            *(("lagged", a, b) for a, b in pairwise(order)),
            ("contemporaneous", order[-1], "reward"),
            ("contemporaneous", "goal", "reward"),
            ("lagged", order[-1], order[-1]),
        }
    fork = resolve_spec("fork-scm").causal_graph
    roots = [v for v in fork.names if v.startswith("X") and not fork.parents(v)]
    assert len(roots) == 1
    assert len(fork.children(roots[0])) == 7
    collider = resolve_spec("collider-scm").causal_graph
    sinks = [v for v in collider.names if "reward" in collider.children(v) and v != "goal"]
    assert len(collider.parents(sinks[0])) == 8  # seven causes and its own past


def test_labels_are_permuted() -> None:
    orders = {tuple(chain_order(resolve_spec("chain-scm", graph_seed=s))) for s in range(6)}
    assert len(orders) == 6
    assert all(resolve_spec("chain-scm").interventions.settable[i] < "X9" for i in range(7))
    settable = resolve_spec("chain-scm", graph_seed=2).interventions.settable
    assert list(settable) == sorted(settable)


def test_the_number_of_edges_of_er_follows_density() -> None:
    def edges(density: float) -> float:
        specs = [resolve_spec("er-scm", n=10, density=density, graph_seed=s) for s in range(20)]
        blocks = [s.causal_graph.contemporaneous[:10, :10].sum() for s in specs]
        return float(np.mean(blocks)) / 10

    assert edges(1.0) == pytest.approx(1.0, abs=0.25)
    assert edges(2.0) == pytest.approx(2.0, abs=0.25)


@pytest.mark.parametrize("name", WORLDS)
def test_costs_rise_in_causal_order_and_the_sink_cannot_be_set(name: str) -> None:
    spec = resolve_spec(name, graph_seed=3)
    graph, cost = spec.causal_graph, spec.interventions.cost
    assert isinstance(cost, dict)
    read = graph.parents("score") if "score" in graph.names else graph.parents("reward")
    (sink,) = (v for v in read if v != "goal")
    assert set(cost) == {v for v in graph.names if is_x(v)} - {sink}
    for _, cause, effect in graph.edges():
        if cause in cost and effect in cost:
            assert cost[cause] < cost[effect]
    assert max(cost.values()) == pytest.approx(0.1)
    assert min(cost.values()) > 0


@pytest.mark.parametrize("mechanism", ["linear", "tanh", "mlp"])
@pytest.mark.parametrize("name", WORLDS)
def test_variances_are_one_and_tell_nothing(name: str, mechanism: str) -> None:
    spec = resolve_spec(name, mechanism=mechanism, graph_seed=2)
    values = spec.scm.simulate(31, 0, batch=1500).values[15:].reshape(-1, spec.scm.n)
    free = [i for i, v in enumerate(spec.scm.variables[: spec.scm.n]) if v.categories is None]
    free = [i for i in free if not spec.scm.names[i].startswith(("score", "E"))]
    np.testing.assert_allclose(values[:, free].std(axis=0), 1.0, atol=0.12)


@pytest.mark.parametrize("mechanism", ["linear", "tanh", "mlp"])
@pytest.mark.parametrize("name", ["er-scm", "mixed-scm"])
def test_random_worlds_do_not_leak_their_order(name: str, mechanism: str) -> None:
    scores = [
        sortability(resolve_spec(name, mechanism=mechanism, graph_seed=s), episodes=100)
        for s in range(100, 112)
    ]
    for key in ("varsortability", "r2_sortability"):
        assert 0.35 < np.mean([s[key] for s in scores]) < 0.7


def test_equal_noise_shares_would_leak_the_order_by_r2() -> None:
    scores = [
        sortability(resolve_spec("er-scm", noise_share=0.2, graph_seed=s), episodes=100)
        for s in range(100, 112)
    ]
    assert np.mean([s["r2_sortability"] for s in scores]) < 0.25


@pytest.mark.parametrize("name", WORLDS)
def test_no_world_leaks_its_order_by_variance(name: str) -> None:
    scores = [sortability(resolve_spec(name, graph_seed=s), episodes=100) for s in range(6)]
    if name != "cues-scm":  # the score is a smaller number than what it is made of
        assert 0.2 < np.mean([s["varsortability"] for s in scores]) < 0.8


def two_slices(graph: CausalGraph) -> np.ndarray:
    """The DAG over (before, now) of the variables that are not goal or reward."""
    keep = [i for i, kind in enumerate(graph.kinds) if kind == "state"]
    now, lag = graph.contemporaneous[np.ix_(keep, keep)], graph.lagged[np.ix_(keep, keep)]
    return np.block([[now, lag], [np.zeros_like(now), now]])


def v_structures(dag: np.ndarray) -> set[tuple[int, int, int]]:
    adjacent = dag | dag.T
    return {
        (int(i), j, int(k))
        for j in range(len(dag))
        for i in np.flatnonzero(dag[:, j])
        for k in np.flatnonzero(dag[:, j])
        if i < k and not adjacent[i, k]
    }


def turned(graph: CausalGraph, edges: list[tuple[str, str]]) -> CausalGraph:
    now = graph.contemporaneous.copy()
    for a, b in edges:
        i, j = graph.index(a), graph.index(b)
        now[i, j], now[j, i] = False, True
    return graph.with_(contemporaneous=now)


def test_the_slow_sink_orients_the_last_edge_of_the_chain_only() -> None:
    spec = resolve_spec("chain-scm")
    graph, order = spec.causal_graph, chain_order(spec)
    edges = list(pairwise(order))
    truth = v_structures(two_slices(graph))
    assert truth  # the sink's past and its parent meet in the sink
    for start in range(1, len(edges)):  # any prefix of the chain may be turned round
        other = turned(graph, edges[:start])
        assert v_structures(two_slices(other)) == truth
    assert v_structures(two_slices(turned(graph, edges))) != truth


def curved(x: np.ndarray) -> np.ndarray:
    return np.column_stack([x, x**2, np.tanh(x), np.tanh(2 * x), np.sin(x)])


def log_likelihood(
    values: np.ndarray, graph: CausalGraph, basis: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> float:
    """Of the best Gaussian model that is linear in a basis of the graph's parents, per row."""
    before, now = values[:-1].reshape(-1, values.shape[2]), values[1:].reshape(-1, values.shape[2])
    total = 0.0
    for j, kind in enumerate(graph.kinds):
        if kind == "state":
            here = [basis(now[:, [i]]) for i in np.flatnonzero(graph.contemporaneous[:, j])]
            past = [basis(before[:, [i]]) for i in np.flatnonzero(graph.lagged[:, j])]
            design = np.column_stack([np.ones(len(now)), *here, *past])
            residual = now[:, j] - design @ np.linalg.lstsq(design, now[:, j])[0]
            total -= 0.5 * np.log(np.mean(residual**2))
    return total


def test_observations_of_the_linear_chain_leave_the_other_edges_open() -> None:
    spec = resolve_spec("chain-scm", mechanism="linear")
    graph, order = spec.causal_graph, chain_order(spec)
    edges = list(pairwise(order))
    values = spec.scm.simulate(100, 0, batch=50).values
    truth = log_likelihood(values, graph)
    assert log_likelihood(values, turned(graph, edges[:-1])) == pytest.approx(truth, abs=1e-9)
    assert log_likelihood(values, turned(graph, edges)) < truth - 0.01


def test_the_shape_of_tanh_mechanisms_tells_directions() -> None:
    spec = resolve_spec("chain-scm", mechanism="tanh")
    graph, order = spec.causal_graph, chain_order(spec)
    head = list(pairwise(order))[:-1]
    values = spec.scm.simulate(100, 0, batch=50).values
    truth = log_likelihood(values, graph, curved)
    assert log_likelihood(values, turned(graph, head), curved) < truth - 0.1


Policy = Callable[[np.ndarray], np.ndarray]


def mean_return(spec: SCMEnvSpec, policy: Policy, num_envs: int = 24) -> float:
    envs = SCMVectorEnv(spec, num_envs)
    obs, _ = envs.reset(seed=0)
    total = 0.0
    for _ in range(spec.horizon):
        obs, rewards, *_ = envs.step(policy(obs))
        total += float(rewards.mean())
    return total


def oracle(spec: SCMEnvSpec, samples: int = 8, ahead: int = 0) -> Policy:
    """Greedy in the true model: the best mean reward, now or ``ahead`` steps later."""
    scm, plans, rng = spec.scm, spec.interventions.all_actions(), np.random.default_rng(0)
    mask, value, cost = spec.interventions.decode(plans, scm.names)

    def policy(obs: np.ndarray) -> np.ndarray:
        rows = len(obs) * len(plans) * samples
        before = np.repeat(obs, len(plans) * samples, axis=0)
        repeated = [np.tile(np.repeat(x, samples, axis=0), (len(obs), 1)) for x in (mask, value)]
        noise = np.tile(scm.sample_noise(rng, samples), (rows // samples, 1))
        after = scm.step(before, noise, None, *repeated)
        for _ in range(ahead):
            before, after = after, scm.step(after, scm.sample_noise(rng, rows))
        gain = scm.reward_value(before, after).reshape(len(obs), len(plans), samples).mean(axis=2)
        return plans[np.argmax(gain - cost, axis=1)]

    return policy


# A greedy oracle does not see what a delayed edge brings; hidden variables are not in obs.
@pytest.mark.parametrize("graph_seed", [0, 1])
@pytest.mark.parametrize("name", [w for w in WORLDS if w not in ("delayed-chain-scm", "cues-scm")])
def test_who_knows_the_world_gains_a_lot(name: str, graph_seed: int) -> None:
    spec = resolve_spec(name, graph_seed=graph_seed, horizon=16)
    rng = np.random.default_rng(0)
    nvec = spec.interventions.space().nvec
    nothing = mean_return(spec, lambda obs: np.zeros((len(obs), 2), dtype=int)) / 16
    random = mean_return(spec, lambda obs: rng.integers(0, nvec, (len(obs), 2))) / 16
    best = mean_return(spec, oracle(spec, ahead=int(name.startswith("lagged")))) / 16
    assert best > max(nothing, random) + 0.25
    assert best > -0.85


def test_hidden_truth_is_not_in_obs_or_info() -> None:
    spec = resolve_spec("proxy-chain-scm")
    envs = SCMVectorEnv(spec, 3)
    obs, info = envs.reset(seed=0)
    assert obs.shape == (3, 17)
    keys = {"do_target", "_do_target", "do_value", "_do_value"}
    assert set(info) == keys
    for _ in range(spec.horizon):
        *_, info = envs.step(np.zeros((3, 2), dtype=int))
    assert set(info) == keys | {"final_obs", "_final_obs", "final_info", "_final_info"}


def test_the_goal_is_drawn_anew_and_held() -> None:
    spec = resolve_spec("chain-scm")
    env = SCMEnv(spec)
    goals = []
    for episode in range(200):
        obs, _ = env.reset(seed=0 if episode == 0 else None)
        goals.append(obs[-1])
        assert env.step(np.array([1, 0]))[0][-1] == obs[-1]
    assert abs(np.mean(goals)) < 0.25
    assert np.std(goals) == pytest.approx(1.0, abs=0.1)
    assert np.max(np.abs(goals)) <= np.sqrt(3.0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"n": 1}, "n is 1; it must be >= 2"),
        ({"n": 4.0}, "n must be an integer"),
        ({"graph_seed": -1}, "graph_seed is -1; it must be >= 0"),
        ({"noise_share": "equal"}, r"noise_share is 'equal'; it must be a number in \(0, 1\) or"),
        ({"noise_share": 1.0}, "noise_share is 1.0; it must be finite, > 0 and < 1"),
        ({"timing": "late"}, "timing is 'late'; it must be one of within, lagged, delayed"),
        ({"sink_lag": 1.0}, "sink_lag is 1.0; it must be finite, >= 0 and < 1"),
        ({"max_cost": -0.1}, "max_cost is -0.1; it must be finite, >= 0"),
        ({"max_value": 0.0}, "max_value is 0.0; it must be finite, > 0"),
        ({"n_values": 1}, "n_values is 1; it must be >= 2"),
        ({"horizon": 0}, "horizon is 0; it must be >= 1"),
        ({"sink_lag": "much"}, "sink_lag must be a number"),
        ({"max_cost": float("nan")}, "max_cost is nan; it must be finite, >= 0"),
    ],
)
def test_options_out_of_range(kwargs: dict, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        resolve_spec("chain-scm", **kwargs)
    assert "\n" not in str(caught.value)


def test_options_of_single_worlds_out_of_range() -> None:
    with pytest.raises(ValueError, match="distractors is 0; it must be >= 1"):
        resolve_spec("proxy-chain-scm", distractors=0)
    with pytest.raises(ValueError, match=r"density is 0\.0; it must be finite, > 0"):
        resolve_spec("er-scm", density=0.0)
    with pytest.raises(ValueError, match="density must be in"):
        resolve_spec("er-scm", n=4, density=9.0)
    with pytest.raises(ValueError, match="the random graph has no edge"):
        resolve_spec("er-scm", n=2, density=0.01)


def test_a_sink_without_memory() -> None:
    assert not resolve_spec("chain-scm", sink_lag=0.0).causal_graph.lagged.any()
