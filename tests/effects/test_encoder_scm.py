"""Algorithm 3 on the encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.attention import SCMEncoder
from causal_rl.effects import counterfactual, intervene
from causal_rl.effects.encoder_mechanism import EncoderMechanism
from causal_rl.effects.encoder_scm import EncoderSCM
from causal_rl.graphs import CausalGraph
from causal_rl.scm import SCM, Categorical, Gaussian, Linear, Tanh, Variable

TRUTH = SCM(
    [
        Variable("y", Linear([1.0, 1.0]), Gaussian(0.3), ("x", "t")),
        Variable("x", Tanh([2.0]), Gaussian(0.4), ("z",)),
        Variable("z"),
        Variable("t", Categorical([Linear([0.0]), Linear([1.5])]), parents=("z",)),
    ]
)
SMALL = {"embed_dim": 16, "num_layers": 2, "steps": 100, "batch_size": 32}


@pytest.fixture(scope="module")
def fitted():
    return EncoderSCM(TRUTH.graph, **SMALL).fit(TRUTH.sample(600, 0))


def test_it_is_the_agents_encoder(fitted):
    assert type(fitted.network.encoder) is SCMEncoder
    laws = [v.function for v in fitted.scm.variables if isinstance(v.function, EncoderMechanism)]
    assert len(laws) == 2  # z has no parents, t is a coin
    assert len({id(law.network) for law in laws}) == 1


def test_nothing_but_parents_reaches_a_prediction(fitted):
    x = torch.randn(4, 4, requires_grad=True)
    told = fitted.network.predict(x, fitted.network.allowed)
    names = list(fitted.scm.names)
    for j, name in enumerate(names):
        (gradient,) = torch.autograd.grad(told[:, j].sum(), x, retain_graph=True)
        parents = {names.index(p) for p in TRUTH.graph.parents(name)}
        for i in range(4):
            assert bool((gradient[:, i] == 0).all()) == (i not in parents)


def test_reading_off_one_variable_is_the_whole_network(fitted):
    rows = TRUTH.sample(20, 1)
    standard = (rows - fitted._center) / fitted._scale
    with torch.no_grad():
        whole = fitted.network.predict(
            torch.from_numpy(standard.astype(np.float32)), fitted.network.allowed
        ).numpy()
    law = fitted.scm.variables[0].function
    told = (law(rows[:, [1, 3]]) - law.center) / law.scale
    assert np.allclose(told, whole[:, 0], atol=1e-5)


def test_under_the_mutilated_graph_the_others_are_told_alike(fitted):
    rows = TRUTH.sample(9, 1)
    standard = torch.from_numpy(((rows - fitted._center) / fitted._scale).astype(np.float32))
    cut = fitted.network.allowed.clone()
    cut[:, 1] = False
    with torch.no_grad():
        whole = fitted.network.predict(standard, fitted.network.allowed)
        mutilated = fitted.network.predict(standard, cut)
    assert torch.allclose(whole[:, [0, 2, 3]], mutilated[:, [0, 2, 3]], atol=1e-6)


def test_counterfactuals_are_exact_and_near_the_truth(fitted):
    rows = TRUTH.sample(300, 2)
    answer = fitted.counterfactual(rows, {"x": 0.5, "t": 1 - rows[:, 3]})
    assert answer.kind == "exact"
    truth = rows[:, 0] + (0.5 - rows[:, 1]) + (1 - 2 * rows[:, 3])
    assert np.sqrt(np.mean((answer["y"] - truth) ** 2)) < 0.25
    assert np.array_equal(answer["z"], rows[:, 2])
    same = fitted.counterfactual(rows, {"x": rows[:, 1]})
    assert np.array_equal(same.counterfactual, same.factual)
    posterior = fitted.abduct(rows, n_samples=3)
    assert np.allclose(fitted.scm.from_noise(posterior.noise[:, 0]), rows, atol=1e-9)


def test_interventions_have_no_memory_of_a_row(fitted):
    answer = fitted.intervene({"t": 1.0}, n_samples=4000, targets=["y"])
    assert answer.kind == "interventional"
    truth = TRUTH.sample(4000, 5, do={"t": 1.0})[:, 0].mean()
    assert answer["y"][0] == pytest.approx(truth, abs=0.2)
    given = fitted.intervene({"x": 0.0, "t": 1.0}, given={"z": [1.0, -1.0]}, targets=["y"])
    assert given.kind == "sampled"
    assert given["y"] == pytest.approx([1.0, 1.0], abs=0.25)
    with pytest.raises(ValueError, match="given names 'y', which the intervention reaches"):
        intervene(TRUTH, {"t": 1.0}, given={"y": 0.0})


def test_partial_evidence_is_sampled(fitted):
    answer = fitted.counterfactual({"y": 2.0, "z": 1.0, "x": 1.0}, {"x": 0.0}, targets=["t", "y"])
    assert answer.kind == "sampled"
    exact = counterfactual(
        TRUTH, {"y": 2.0, "z": 1.0, "x": 1.0}, {"x": 0.0}, targets=["t"], n_samples=5000
    )
    assert answer["t"][0] == pytest.approx(exact["t"][0], abs=0.12)


def test_the_same_seed_is_the_same_network():
    rows = TRUTH.sample(100, 0)
    tiny = {**SMALL, "steps": 5}
    one, two = (EncoderSCM(TRUTH.graph, **tiny).fit(rows) for _ in range(2))
    other = EncoderSCM(TRUTH.graph, seed=1, **tiny).fit(rows)
    asked = rows[:5, [1, 3]]
    told = [m.scm.variables[0].function(asked) for m in (one, two, other)]
    assert np.array_equal(told[0], told[1])
    assert not np.array_equal(told[0], told[2])


def test_bad_input():
    with pytest.raises(TypeError, match="graph must be a CausalGraph"):
        EncoderSCM(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="num_heads is 3; it must divide 32"):
        EncoderSCM(TRUTH.graph, num_heads=3)
    with pytest.raises(ValueError, match="held_out is 1"):
        EncoderSCM(TRUTH.graph, held_out=1.0)
    with pytest.raises(RuntimeError, match="not fitted"):
        EncoderSCM(TRUTH.graph).counterfactual({}, {"t": 1.0})
    with pytest.raises(ValueError, match="data has 10 rows; an encoder needs 20"):
        EncoderSCM(TRUTH.graph).fit(TRUTH.sample(10, 0))
    with pytest.raises(ValueError, match="the graph 4 variables"):
        EncoderSCM(TRUTH.graph).fit(np.zeros((50, 3)))
    cyclic = CausalGraph(contemporaneous=[[0, 1], [1, 0]], allow_cycles=True)
    with pytest.raises(ValueError, match="graph has a cycle: X1 -> X2 -> X1"):
        EncoderSCM(cyclic).fit(np.random.default_rng(0).normal(size=(50, 2)))
