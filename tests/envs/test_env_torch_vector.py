"""The torch vector environment against the NumPy one: trajectories, resume, bad input."""

from __future__ import annotations

import re
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from causal_rl.envs import Interventions, SCMEnvSpec, SCMVectorEnv, resolve_spec
from causal_rl.envs.torch_vector import TorchSCMVectorEnv
from causal_rl.envs.worlds import BUILT_IN
from causal_rl.scm import (
    MLP,
    Categorical,
    DynamicSCM,
    Function,
    Laplace,
    Linear,
    OneHot,
    Structural,
    Tanh,
    Uniform,
    Variable,
)
from causal_rl.scm.torch_mechanisms import register_torch

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4}
HORIZON = 4
# Worlds that must run; others may have mechanisms of their own that were not translated.
STRUCTURE = [
    "chain-scm",
    "lagged-chain-scm",
    "delayed-chain-scm",
    "fork-scm",
    "collider-scm",
    "tree-scm",
    "jungle-scm",
    "full-scm",
    "er-scm",
    "sf-scm",
    "mixed-scm",
    "proxy-chain-scm",
    "cues-scm",
    "block-scm",
]


def noisy_product(x: Any, e: Any) -> Any:
    return (1 + 0.2 * x) * e


def shared_reward(x: Any, goal: Any, before: Any) -> Any:
    return 0.5 * x * goal - before


def grow(x: Any) -> Any:
    return np.exp(x)


register_torch(noisy_product)(noisy_product)
register_torch(shared_reward)(shared_reward)
register_torch(grow)(torch.exp)


def mixed_spec(horizon: int = HORIZON, **changes: Any) -> SCMEnvSpec:
    """Hidden, categorical and context variables, noise that is not added, columns in disorder."""
    reads = OneHot(Linear([0.5, -0.5, 0.2, 0.1]), [3, None])
    scores = [Linear([1.0, 0.2]), Tanh([0.5, -0.2]), MLP.random(2, np.random.default_rng(0))]
    variables = [
        Variable("y", reads, Laplace(0.3), parents=("kind", "x")),
        Variable("kind", Categorical(scores), parents=("secret",), lagged_parents=("y",)),
        Variable("secret", Tanh([0.9]), Uniform(), lagged_parents=("x",), kind="hidden"),
        Variable("x", Structural(noisy_product), Laplace(0.5), parents=("goal",)),
        Variable("goal", noise=Uniform(-1.0, 1.0), kind="context"),
        Variable(
            "reward",
            Function(shared_reward),
            parents=("y", "goal"),
            lagged_parents=("x",),
            kind="reward",
        ),
    ]
    values = {"kind": (0.0, 2.0), "x": (-1.0, 0.25)}
    made: dict[str, Any] = {
        "name": "mixed",
        "scm": DynamicSCM(variables),
        "interventions": Interventions(["kind", "x"], values, cost={"x": 0.3}),
        "horizon": horizon,
    }
    return SCMEnvSpec(**(made | changes))


def same_info(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        if name == "final_info":
            same_info(found[name], value)
        elif name == "final_obs":
            for i in np.flatnonzero(wanted["_final_obs"]):
                np.testing.assert_allclose(found[name][i].cpu().numpy(), value[i], atol=1e-4)
        else:
            np.testing.assert_allclose(found[name].cpu().numpy(), value, atol=1e-6)


def run_both(
    spec: SCMEnvSpec, dtype: torch.dtype, steps: int = 3 * HORIZON, device: str = "cpu"
) -> float:
    """Run some episodes under one seed; the greatest difference. Categories must be equal."""
    rows = 24
    numpy_env = SCMVectorEnv(spec, rows)
    torch_env = TorchSCMVectorEnv(spec, rows, device, dtype)
    wanted, wanted_info = numpy_env.reset(seed=2**64 - rows)
    found, found_info = torch_env.reset(seed=2**64 - rows)
    same_info(found_info, wanted_info)
    numpy_env.action_space.seed(1)
    categorical = [
        k for k, i in enumerate(spec.observed) if spec.scm.variables[i].categories is not None
    ]
    error = 0.0
    for _ in range(steps):
        array = found.cpu().numpy()
        error = max(error, float(np.abs(array - wanted).max()))
        np.testing.assert_array_equal(array[:, categorical], wanted[:, categorical])
        actions = numpy_env.action_space.sample()
        wanted, reward, *wanted_ends, wanted_info = numpy_env.step(actions)
        found, torch_reward, *ends, found_info = torch_env.step(torch.tensor(actions).to(device))
        error = max(error, float(np.abs(torch_reward.cpu().numpy() - reward).max()))
        for flags, wanted_flags in zip(ends, wanted_ends, strict=True):
            np.testing.assert_array_equal(flags.cpu().numpy(), wanted_flags)
        same_info(found_info, wanted_info)
        for tensor in (found, torch_reward):
            assert (tensor.dtype, tensor.device.type) == (dtype, device)
    return error


def actions_of(env: TorchSCMVectorEnv) -> torch.Tensor:
    return torch.tensor(env.action_space.sample())


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", [*STRUCTURE, "mixed"])
def test_worlds_run_as_in_numpy(name: str, dtype: torch.dtype) -> None:
    spec = mixed_spec() if name == "mixed" else resolve_spec(name, horizon=HORIZON)
    assert run_both(spec, dtype) < TOLERANCE[dtype]


def test_other_built_in_worlds_run_as_in_numpy_or_are_refused_by_name() -> None:
    refusals = []
    for name in [name for name in BUILT_IN if name not in STRUCTURE]:
        spec = resolve_spec(name)
        try:
            TorchSCMVectorEnv(spec)
        except ValueError as refusal:
            refusals.append(str(refusal))
        else:
            assert run_both(spec, torch.float64, steps=2 * HORIZON) < 1e-10, name
    for refusal in refusals:
        assert re.match(r"variable '.+': .* has no torch version; give one with", refusal)


@pytest.mark.parametrize("mechanism", ["linear", "mlp", "gp", "polynomial"])
def test_every_kind_of_mechanism_runs_as_in_numpy(mechanism: str) -> None:
    spec = resolve_spec("er-scm", n=6, mechanism=mechanism, horizon=HORIZON)
    assert run_both(spec, torch.float64) < 1e-10
    for shift in spec.shifts:
        assert run_both(spec.shifted(shift), torch.float64) < 1e-10


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_worlds_run_on_a_gpu_as_in_numpy_and_steps_do_not_wait(dtype: torch.dtype) -> None:
    for spec in (mixed_spec(), resolve_spec("er-scm", horizon=HORIZON)):
        assert run_both(spec, dtype, device="cuda") < TOLERANCE[dtype]
        env = TorchSCMVectorEnv(spec, 64, "cuda", dtype, validate=False)
        env.reset(seed=0)
        actions = actions_of(env).to("cuda")
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(2 * HORIZON):
                env.step(actions)
        finally:
            torch.cuda.set_sync_debug_mode("default")


class Waits(TorchDispatchMode):
    """Keeps the operations after which a host knows a number that a device computed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name()
        if any(word in name for word in ("local_scalar", "nonzero", "masked_select")):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def test_without_validation_a_step_asks_the_device_nothing() -> None:
    # This world has no Gaussian noise, whose tails are picked by nonzero on a CPU, and only there.
    env, careful = (TorchSCMVectorEnv(mixed_spec(), 8, validate=v) for v in (False, True))
    env.reset(seed=0)
    careful.reset(seed=0)
    actions, waits = actions_of(env), Waits()
    with waits:
        for _ in range(2 * HORIZON):
            env.step(actions)
    assert waits.seen == []
    with waits:
        for _ in range(HORIZON):
            careful.step(actions)
    assert len(waits.seen) == HORIZON


def test_seeds_mean_what_they_mean_in_numpy() -> None:
    spec = mixed_spec()
    numpy_env, torch_env = SCMVectorEnv(spec, 3), TorchSCMVectorEnv(spec, 3)
    for seed in (5, None, [7, None, 2**64 - 1], None, 5):
        wanted, found = numpy_env.reset(seed=seed)[0], torch_env.reset(seed=seed)[0]
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)
    # Without any seed each environment draws its own; given the first row, the rest are drawn from
    # its generator.
    for seeds in ([4, None, None], None):
        numpy_env, torch_env = SCMVectorEnv(spec, 3), TorchSCMVectorEnv(spec, 3)
        wanted, found = numpy_env.reset(seed=seeds)[0], torch_env.reset(seed=seeds)[0]
        assert np.allclose(found.numpy(), wanted) == (seeds is not None)
        assert len(np.unique(found.numpy()[:, -1])) == 3


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_states_go_from_one_backend_to_the_other(dtype: torch.dtype) -> None:
    """Rows of different ages, too: one that was reset later is taken up beside an older one."""
    spec = mixed_spec()
    young, old = SCMVectorEnv(spec, 2), SCMVectorEnv(spec, 2)
    young.reset(seed=0)
    old.reset(seed=2)
    for _ in range(HORIZON + 1):
        old.step(np.array([[1, 1], [0, 0]]))
    first, second = young.get_state(), old.get_state()
    state = {name: np.concatenate([first[name], second[name]]) for name in first}
    source, torch_env = SCMVectorEnv(spec, 4), TorchSCMVectorEnv(spec, 4, dtype=dtype)
    source.set_state(state)
    torch_env.set_state(state)
    source.action_space.seed(0)
    for _ in range(2 * HORIZON + 1):
        actions = source.action_space.sample()
        wanted, found = source.step(actions), torch_env.step(torch.tensor(actions))
        np.testing.assert_allclose(found[0].numpy(), wanted[0], atol=TOLERANCE[dtype])
        np.testing.assert_array_equal(found[3].numpy(), wanted[3])
        same_info(found[4], wanted[4])
    back, other = torch_env.get_state(), source.get_state()
    assert {k: (v.dtype, v.shape) for k, v in back.items()} == {
        k: (v.dtype, v.shape) for k, v in other.items()
    }
    for name, array in other.items():
        np.testing.assert_allclose(back[name], array, atol=TOLERANCE[dtype])
    twin = TorchSCMVectorEnv(spec, 4, dtype=dtype)
    twin.set_state(back)
    actions = actions_of(twin)
    torch.testing.assert_close(twin.step(actions)[0], torch_env.step(actions)[0], rtol=0, atol=0)


def test_final_observations_are_where_the_step_led_in_every_row() -> None:
    env = TorchSCMVectorEnv(mixed_spec(), 5)
    never = TorchSCMVectorEnv(mixed_spec(horizon=10**6), 5)
    env.reset(seed=0)
    never.reset(seed=0)
    for t in range(1, HORIZON + 1):
        actions = actions_of(env)
        found, wanted = env.step(actions), never.step(actions)
        if t == HORIZON:
            torch.testing.assert_close(found[4]["final_obs"], wanted[0])
            assert found[3].all()
            assert found[4]["_final_obs"].all()


@pytest.mark.parametrize("num_envs", [1, 3])
def test_what_is_handed_out_is_the_callers(num_envs: int) -> None:
    """Writing into everything that was returned changes nothing that follows."""
    spec = mixed_spec()
    spoilt, clean = (TorchSCMVectorEnv(spec, num_envs) for _ in range(2))
    actions = torch.ones((num_envs, 2), dtype=torch.int64)

    def spoil(value: Any) -> None:
        if isinstance(value, dict | tuple):
            for inner in value.values() if isinstance(value, dict) else value:
                spoil(inner)
        else:
            value.fill_(1)

    spoil(spoilt.reset(seed=1))
    clean.reset(seed=1)
    for _ in range(2 * HORIZON):
        spoil(spoilt.values)
        wanted, found = clean.step(actions), spoilt.step(actions)
        torch.testing.assert_close(found[0], wanted[0], rtol=0, atol=0)
        same_info(found[4], wanted[4])
        spoil(found)
    assert (actions == 1).all()


def test_spaces_and_oracle_are_those_of_numpy() -> None:
    spec = mixed_spec()
    numpy_env, torch_env = SCMVectorEnv(spec, 2), TorchSCMVectorEnv(spec, 2)
    assert torch_env.observation_space == numpy_env.observation_space
    assert torch_env.action_space == numpy_env.action_space
    assert torch_env.causal_graph == numpy_env.causal_graph
    assert torch_env.interventions is spec.interventions
    assert torch_env.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    single = TorchSCMVectorEnv(spec, 2, dtype=torch.float32)
    assert single.observation_space.dtype == np.float32
    assert single.observation_space.contains(single.reset(seed=0)[0].numpy())
    with pytest.raises(gymnasium.error.ResetNeeded):
        torch_env.step(torch.zeros((2, 2), dtype=torch.int64))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (torch.zeros((3, 2), dtype=torch.int64), "shape .2, 2., got torch.int64 of shape .3, 2."),
        (torch.zeros((2, 2)), "must be integers .* got torch.float32"),
        (torch.zeros((2, 2), dtype=torch.bool), "must be integers .* got torch.bool"),
        (torch.tensor([[0, 0], [3, 0]]), r"actions\[1\] is \[3, 0\]; allowed are target 0..2"),
        (torch.tensor([[0, -1], [0, 0]]), r"actions\[0\] is \[0, -1\]; .* value index 0..1"),
    ],
)
def test_bad_actions_are_named_and_change_nothing(actions: torch.Tensor, message: str) -> None:
    env, twin = (TorchSCMVectorEnv(mixed_spec(), 2) for _ in range(2))
    env.reset(seed=0)
    twin.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)
    good = torch.tensor([[2, 1], [1, 0]])
    torch.testing.assert_close(env.step(good)[0], twin.step(good)[0], rtol=0, atol=0)


def test_without_validation_indices_outside_become_the_nearest_allowed() -> None:
    env, twin = (TorchSCMVectorEnv(mixed_spec(), 2, validate=False) for _ in range(2))
    env.reset(seed=0)
    twin.reset(seed=0)
    found = env.step(torch.tensor([[9, 9], [-4, -1]]))[0]
    torch.testing.assert_close(found, twin.step(torch.tensor([[2, 1], [0, 0]]))[0])


@pytest.mark.parametrize("where", ["x", "reward"])
def test_values_that_are_not_finite_are_refused_by_name(where: str) -> None:
    """They come about only where a parent is set to 2000, so that the check passes."""
    reads: dict[str, Any] = {"x": Linear([1.0]), "reward": Linear([1.0])} | {where: grow}
    a = Variable("a")
    x = Variable("x", reads["x"], parents=("a",))
    reward = Variable("reward", reads["reward"], parents=("x",), kind="reward")
    spec = mixed_spec(
        scm=DynamicSCM([a, x, reward]), interventions=Interventions(["a", "x"], [0.0, 2000.0])
    )
    env = TorchSCMVectorEnv(spec, 2)
    env.reset(seed=0)
    before = env.get_state()
    bad = torch.tensor([[1 if where == "x" else 2, 1], [0, 0]])
    with pytest.raises(ValueError, match=f"variable '{where}'.* not finite"):
        env.step(bad)
    for name, array in env.get_state().items():
        np.testing.assert_array_equal(array, before[name])
    careless = TorchSCMVectorEnv(spec, 2, validate=False)
    careless.reset(seed=0)
    assert not torch.isfinite(careless.step(bad)[1]).all()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"num_envs": 0}, ValueError, "num_envs must be an integer of at least 1, got 0"),
        ({"num_envs": True}, ValueError, "num_envs must be .* got True"),
        ({"device": "gpu"}, ValueError, "device must be .* got 'gpu'"),
        ({"device": "meta"}, ValueError, "device must be .* got 'meta'"),
        ({"dtype": torch.int64}, ValueError, "dtype must be .* got torch.int64"),
        ({"render_mode": "human"}, ValueError, "render_mode must be None"),
        ({"scm_spec": "chain-scm"}, TypeError, "scm_spec must be an SCMEnvSpec, got str"),
    ],
)
def test_bad_arguments_are_named(
    arguments: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        TorchSCMVectorEnv(**({"scm_spec": mixed_spec()} | arguments))


def test_a_world_without_torch_version_is_refused_by_name() -> None:
    reward = Variable("reward", lambda x: -x, parents=("x",), kind="reward")
    spec = mixed_spec(
        scm=DynamicSCM([Variable("x"), reward]), interventions=Interventions(["x"], [0.0])
    )
    with pytest.raises(ValueError, match="variable 'reward': the function <lambda> has no torch"):
        TorchSCMVectorEnv(spec)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros((1, 5))}, r"state\['values'\] must have shape \(2, 5\)"),
        ({"pending": np.ones(2, dtype=np.bool_)}, r"state\['pending'\] must be false everywhere"),
        ({"seed": None}, "state lacks 'seed'"),
    ],
)
def test_bad_states_are_named(changes: dict[str, Any], message: str) -> None:
    env = TorchSCMVectorEnv(mixed_spec(), 2)
    env.reset(seed=0)
    state = {k: v for k, v in (env.get_state() | changes).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        env.set_state(state)
