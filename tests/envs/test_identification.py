"""Exact enumeration, what passive data identify, and where the graph says to act."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.envs import Interventions, SCMEnvSpec, SCMVectorEnv
from causal_rl.envs.worlds.confounding import (
    BanditOptions,
    ConfoundedMDPOptions,
    RegimeOptions,
    bandit_uc,
    confounded_mdp,
    treatment_regime,
)
from causal_rl.envs.worlds.deconfounding import (
    FrontDoorOptions,
    InstrumentOptions,
    WhereOptions,
    front_door,
    instrument,
    where_to_intervene,
)
from causal_rl.envs.worlds.enumeration import distribution
from causal_rl.envs.worlds.identification import (
    confounded_pairs,
    exact_values,
    possibly_optimal_sets,
    set_values,
)
from causal_rl.envs.worlds.tables import Lookup, chance, coin, conditional
from causal_rl.scm import DynamicSCM, Linear, Variable


def seen(spec: SCMEnvSpec, rows: int = 50_000, seed: int = 1) -> dict[str, np.ndarray]:
    """Passive data: what is observed in the first step if nothing is set."""
    envs = SCMVectorEnv(spec, rows, autoreset_mode="NextStep")
    envs.reset(seed=seed)
    obs, *_ = envs.step(np.zeros((rows, 2), dtype=np.int64))
    return dict(zip(spec.observed_names, obs.T, strict=True))


@pytest.mark.parametrize("horizon", [1, 2, 5])
def test_the_corridor_solved_by_hand(horizon: int) -> None:
    options = ConfoundedMDPOptions(n_states=3, horizon=horizon)
    n, worth = 3, dict.fromkeys(range(3), 0.0)
    intended = worth

    def after(s: int, x: int, u: int, value: dict[int, float]) -> float:
        up, down = min(s + 1, n - 1), max(s - 1, 0)
        rise = options.grip if x == u else 1 - options.grip
        return rise * (up / (n - 1) + value[up]) + (1 - rise) * (down / (n - 1) + value[down])

    def joint(s: int) -> dict[tuple[int, int], float]:  # of the wind and the natural action
        high = options.lean if s < n / 2 else 1 - options.lean
        return {
            (u, x): (high if u else 1 - high) * (1 - options.misled if x == u else options.misled)
            for u in (0, 1)
            for x in (0, 1)
        }

    for _ in range(horizon):
        new, better = {}, {}
        for s in range(n):
            p = joint(s)
            new[s] = max(
                sum(p[u, x] * after(s, x, u, worth) for u, x in p),
                *(sum(p[u, x] * after(s, do, u, worth) for u, x in p) for do in (0, 1)),
            )
            better[s] = sum(
                max(sum(p[u, x] * after(s, do, u, intended) for u in (0, 1)) for do in (0, 1))
                for x in (0, 1)
            )
        worth, intended = new, better
    start = distribution(confounded_mdp(options), 0)
    place = start.values[:, start.names.index("S")].astype(int)
    chances = list(zip(place, start.probability, strict=True))
    exact = exact_values(confounded_mdp(options))
    assert exact.policy == pytest.approx(sum(p * worth[s] for s, p in chances))
    assert exact.counterfactual == pytest.approx(sum(p * intended[s] for s, p in chances))


def test_rewards_are_evidence_for_the_best_policy() -> None:
    """A hidden coin is held; what it paid for tells it, so that the second step is certain."""
    begun = Variable("begun", Lookup([1, 1], 2), lagged_parents=("begun",))
    drawn = np.zeros((2, 2, 2))  # [begun before][before]
    drawn[0], drawn[1] = 0.5, np.eye(2)
    hidden = Variable("H", conditional(drawn), lagged_parents=("begun", "H"), kind="hidden")
    cue = Variable("X", chance([0.3, 0.7]), parents=("H",))
    paid = Variable("reward", Lookup(np.eye(2)), parents=("X", "H"), kind="reward")
    spec = SCMEnvSpec(
        "tell",
        DynamicSCM([begun, hidden, cue, paid]),
        Interventions(("X",), (0.0, 1.0), cost=0.125),
        horizon=2,
    )
    exact = exact_values(spec)
    assert exact.see == pytest.approx(1.4)
    assert exact.do == pytest.approx({("X", 0.0): 0.75, ("X", 1.0): 0.75})
    # The cue of the reset and the natural one are right with 0.7; to follow intent is free. It pays
    # to set X in the second step, as 1 - 0.125 > 0.7; with sight of intent only when it is wrong.
    assert exact.policy == pytest.approx(0.7 + 0.875)
    assert exact.counterfactual == pytest.approx(0.7 + 0.7 + 0.3 * 0.875)


def test_what_is_seen_is_not_what_is_done_and_the_front_door_closes_the_gap() -> None:
    spec = front_door(FrontDoorOptions())
    data = seen(spec, 100_000)
    x, m, y = data["X"], data["M"], data["Y"]
    naive = {v: y[x == v].mean() for v in (0, 1)}
    adjusted = {
        v: sum(
            (m[x == v] == k).mean()
            * sum((x == w).mean() * y[(m == k) & (x == w)].mean() for w in (0, 1))
            for k in (0, 1)
        )
        for v in (0, 1)
    }
    truth = {v: distribution(spec, do={"X": v}).mean("Y") for v in (0, 1)}
    assert truth == pytest.approx({0: 0.625, 1: 0.425})
    assert adjusted == pytest.approx(truth, abs=0.01)
    assert naive == pytest.approx({0: 0.475, 1: 0.575}, abs=0.01)  # the wrong sign
    exact = distribution(spec)
    assert exact.mean("Y", {"X": 0}) == pytest.approx(0.475)
    assert exact.mean("Y", {"X": 1}) == pytest.approx(0.575)


def test_the_instrument_finds_the_effect_and_regression_its_opposite() -> None:
    options = InstrumentOptions()
    data = seen(instrument(options), 100_000)
    z, x, y = data["Z"], data["X"], data["Y"]
    two_stage = np.cov(z, y)[0, 1] / np.cov(z, x)[0, 1]
    regression = np.cov(x, y)[0, 1] / x.var()
    variance = options.first_stage**2 + options.to_treatment**2 + options.noise**2
    bias = options.to_treatment * options.to_outcome / variance
    assert two_stage == pytest.approx(options.effect, abs=0.04)
    assert regression == pytest.approx(options.effect + bias, abs=0.04)
    assert regression * options.effect < 0


def test_the_record_of_the_treatment_regime_recommends_the_worse_treatment() -> None:
    for horizon in (2, 3):
        spec = treatment_regime(RegimeOptions(horizon=horizon))
        record = distribution(spec, horizon)
        assert record.mean("Y", {"X": 1}) > record.mean("Y", {"X": 0}) + 0.2
        done = {x: distribution(spec, horizon, {"X": x}).mean("Y") for x in (0, 1)}
        assert done[0] > done[1] + 0.02
        if horizon == 2:
            assert exact_values(spec).do[("X", 0.0)] == pytest.approx(done[0])


def test_setting_more_is_worse_than_setting_the_right_lever() -> None:
    spec = where_to_intervene(WhereOptions())
    value = set_values(spec)
    assert value == pytest.approx(
        {
            (): 0.41,
            ("Z",): 0.95,
            ("X",): 0.5,
            ("W",): 0.23,
            ("Z", "X"): 0.5,
            ("Z", "W"): 0.5,
            ("X", "W"): 0.275,
            ("Z", "X", "W"): 0.275,
        }
    )
    levers = possibly_optimal_sets(spec)
    assert levers == [("Z",), ("X",), ("Z", "W"), ("X", "W")]
    assert max(value, key=value.__getitem__) in levers
    rng = np.random.default_rng(0)
    trial = spec.scm.simulate(1, rng, batch=20_000, do={"Z": 1.0, "X": 1.0, "W": 0.0})
    assert trial.reward is not None
    assert trial.reward.mean() == pytest.approx(0.275, abs=4 * 0.45 / np.sqrt(20_000))


def test_possibly_optimal_sets_of_known_graphs() -> None:
    def levers(edges: dict[str, tuple[str, ...]], settable: tuple[str, ...]) -> list[set[str]]:
        names = {p for parents in edges.values() for p in parents} | set(edges)
        variables = [
            Variable(
                n,
                Linear(np.ones(len(edges.get(n, ())))),
                parents=edges.get(n, ()),
                kind="hidden" if n.startswith("U") else "reward" if n == "Y" else "state",
            )
            for n in sorted(names)
        ]
        spec = SCMEnvSpec("g", DynamicSCM(variables), Interventions(settable))
        return [set(s) for s in possibly_optimal_sets(spec)]

    # Lee & Bareinboim 2018: with an instrument, the empty set is never needed.
    assert levers({"X": ("Z", "U"), "Y": ("X", "U")}, ("Z", "X")) == [{"Z"}, {"X"}]
    # A confounded arm alone: doing nothing may be best.
    assert levers({"X": ("U",), "Y": ("X", "U")}, ("X",)) == [set(), {"X"}]
    # The front door, all settable, and with its middle out of reach.
    front = {"X": ("U",), "M": ("X",), "Y": ("M", "U")}
    assert levers(front, ("X", "M")) == [set(), {"M"}]
    assert levers(front, ("X",)) == [set(), {"X"}]
    # Without hidden causes the parents of the reward are all there is to set.
    assert levers({"B": ("A",), "C": ("A",), "Y": ("B", "C")}, ("A", "B", "C")) == [{"B", "C"}]


def test_confounded_pairs_are_the_bidirected_edges() -> None:
    assert confounded_pairs(bandit_uc(BanditOptions())) == [("X", "Y")]
    assert confounded_pairs(confounded_mdp(ConfoundedMDPOptions())) == [("X", "S")]
    assert confounded_pairs(treatment_regime(RegimeOptions())) == [
        ("X", "S"),
        ("X", "Y"),
        ("S", "Y"),
    ]
    assert confounded_pairs(front_door(FrontDoorOptions())) == [("X", "Y")]
    assert confounded_pairs(instrument(InstrumentOptions())) == [("X", "Y")]
    assert confounded_pairs(where_to_intervene(WhereOptions())) == [("X", "Y"), ("W", "Y")]
    chained = SCMEnvSpec(
        "c",
        DynamicSCM(
            [
                Variable("U", kind="hidden"),
                Variable("V", Linear([1.0]), lagged_parents=("U",), kind="hidden"),
                Variable("A", Linear([1.0]), parents=("V",)),
                Variable("B", Linear([1.0, 1.0]), parents=("A",), lagged_parents=("U",)),
                Variable("C", Linear([1.0]), parents=("B",)),
                Variable("R", Linear([1.0, 1.0]), parents=("C", "V"), kind="reward"),
            ]
        ),
        Interventions(("A",)),
    )
    assert confounded_pairs(chained) == [("A", "B"), ("A", "R"), ("B", "R")]


def test_what_cannot_be_enumerated_is_refused() -> None:
    with pytest.raises(ValueError, match="variable 'U' has noise"):
        exact_values(instrument(InstrumentOptions()))
    with pytest.raises(ValueError, match="step must be at least 0"):
        distribution(bandit_uc(BanditOptions()), -1)
    with pytest.raises(ValueError, match="'Q' is no variable"):
        distribution(bandit_uc(BanditOptions())).mean("Q")
    with pytest.raises(ValueError, match="has probability 0"):
        distribution(bandit_uc(BanditOptions()), do={"X": 1.0}).mean("Y", {"X": 0.0})
    for function in (set_values, possibly_optimal_sets):
        with pytest.raises(ValueError, match="has lagged edges"):
            function(treatment_regime(RegimeOptions()))


def test_tables_are_checked() -> None:
    np.testing.assert_array_equal(Lookup([[1, 2], [3, 4]])(np.array([[0.0, 1.0], [1, 0]])), [2, 3])
    np.testing.assert_allclose(coin(0.25).probabilities([], 1).ravel(), [0.75, 0.25])
    with pytest.raises(ValueError, match=r"table must hold categories 0\.\.1"):
        Lookup([0, 2], 2)
    with pytest.raises(ValueError, match="table must be numbers with one axis"):
        Lookup(3.0)
    with pytest.raises(ValueError, match="table must sum to 1"):
        conditional([[0.5, 0.4]])
    with pytest.raises(ValueError, match="table must hold probabilities"):
        chance([0.5, 1.5])
    with pytest.raises(ValueError, match="table must have an axis a parent"):
        conditional([0.5, 0.5])
