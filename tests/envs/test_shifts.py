from __future__ import annotations

import numpy as np
import pytest

from causal_rl.envs import (
    SCMEnvSpec,
    SCMVectorEnv,
    change_mechanism,
    list_envs,
    resolve_spec,
    scale_noise,
)
from causal_rl.scm import Variable

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


@pytest.mark.parametrize("name", list(list_envs()))
def test_noise_doubles_all_scales_but_the_goals(name: str) -> None:
    spec = resolve_spec(name)
    other = spec.shifted("noise")
    states = [v.name for v in spec.scm.variables if v.kind == "state"]
    assert differing(spec, other) == {v: {"noise"} for v in states}
    for v in states:
        assert variable(other, v).noise.std == pytest.approx(2 * variable(spec, v).noise.std)
    assert other.causal_graph == spec.causal_graph
    assert other.interventions is spec.interventions


@pytest.mark.parametrize("name", list(list_envs()))
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


def test_bad_arguments() -> None:
    spec = resolve_spec("chain-scm")
    with pytest.raises(ValueError, match="has no variable 'Z' to shift"):
        change_mechanism(spec, "Z")
    with pytest.raises(ValueError, match="factor"):
        scale_noise(spec, 0.0)
