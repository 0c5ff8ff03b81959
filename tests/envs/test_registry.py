from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import (
    Interventions,
    SCMEnv,
    SCMEnvSpec,
    SCMVectorEnv,
    list_envs,
    register_env,
    registry,
    resolve_spec,
)
from causal_rl.scm import DynamicSCM, Linear, Tanh, Variable

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_world.py"


def rain() -> DynamicSCM:
    return DynamicSCM(
        [
            Variable("wet", Tanh([1.5]), parents=("rain",)),
            Variable("rain", Linear([0.5]), lagged_parents=("rain",)),
        ]
    )


def dryness(wet: np.ndarray) -> np.ndarray:
    return -wet


@pytest.fixture(autouse=True)
def _forget_custom_worlds() -> Iterator[None]:
    yield
    for name in list(registry._CUSTOM):
        del registry._CUSTOM[name]
        del gymnasium.registry[f"causal_rl/{name}-v0"]


def test_register_in_one_call() -> None:
    spec = register_env("my-scm", rain(), reward=("wet", dryness), actions=["rain"], horizon=9)
    env = gymnasium.make("causal_rl/my-scm-v0")
    assert isinstance(env.unwrapped, SCMEnv)
    assert env.unwrapped.scm_spec is spec
    assert env.unwrapped.causal_graph.names == ("wet", "rain", "reward")
    check_env(env.unwrapped)
    envs = gymnasium.make_vec("causal_rl/my-scm-v0", num_envs=1024)
    assert isinstance(envs, SCMVectorEnv)
    assert envs.reset(seed=0)[0].shape == (1024, 2)
    obs, reward, *_ = envs.step(np.zeros((1024, 2), dtype=int))
    np.testing.assert_array_equal(reward, -obs[:, 0])
    assert "my-scm" in list_envs()
    for text in ("my-scm", "causal_rl/my-scm", "causal_rl/my-scm-v0"):
        assert resolve_spec(text) is spec
    assert resolve_spec("my-scm", horizon=3).horizon == 3
    assert gymnasium.make("causal_rl/my-scm-v0", horizon=3).unwrapped.scm_spec.horizon == 3
    assert resolve_spec("my-scm", shift="noise").name == "my-scm[noise]"


def test_forms_of_reward_and_actions() -> None:
    variable = Variable("pay", dryness, parents=("wet",), kind="reward")
    spec = register_env("a", rain(), reward=variable)
    assert spec.scm.reward is not None
    assert spec.scm.reward.name == "pay"
    assert spec.interventions.settable == ("wet", "rain")
    whole = DynamicSCM([*rain().variables, variable])
    actions = Interventions(["wet"], [1.0], cost=0.1)
    assert register_env("b", whole, actions=actions).interventions is actions
    lone = register_env("c", rain(), reward=(["rain", "wet"], lambda r, w: r - w))
    assert lone.causal_graph.parents("reward") == ("wet", "rain")
    assert register_env("d", lone).scm is lone.scm


def test_registering_again_replaces() -> None:
    register_env("again", rain(), reward=("wet", dryness), horizon=4)
    register_env("again", rain(), reward=("wet", dryness), horizon=5)
    assert gymnasium.make("causal_rl/again-v0").unwrapped.scm_spec.horizon == 5


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"name": "a b"}, ValueError, "name must be letters"),
        ({"name": "x/a"}, ValueError, "name must be letters"),
        ({"name": "a-v0"}, ValueError, "name must be letters"),
        ({"name": 3}, ValueError, "name must be letters"),
        ({"name": "chain-scm"}, ValueError, "is a built-in world"),
        ({"world": "rain"}, TypeError, "world must be a DynamicSCM or SCMEnvSpec"),
        ({"reward": None}, ValueError, "has no reward"),
        ({"reward": ("sun", dryness)}, ValueError, "sun"),
        ({"reward": dryness}, TypeError, "reward must be a Variable or a pair"),
        ({"reward": Variable("r")}, ValueError, "of kind 'reward', got 'state'"),
        ({"actions": ["sun"]}, ValueError, "settable 'sun' is no variable"),
        ({"horizon": 0}, ValueError, "horizon"),
    ],
)
def test_bad_registrations(kwargs: dict, error: type[Exception], message: str) -> None:
    given = {"name": "bad", "world": rain(), "reward": ("wet", dryness)} | kwargs
    with pytest.raises(error, match=message) as caught:
        register_env(**given)
    assert "\n" not in str(caught.value)
    assert "causal_rl/bad-v0" not in gymnasium.registry


def test_two_rewards() -> None:
    whole = register_env("whole", rain(), reward=("wet", dryness))
    with pytest.raises(ValueError, match="has the reward 'reward' already"):
        register_env("bad", whole.scm, reward=("wet", dryness))
    with pytest.raises(ValueError, match="must be None"):
        register_env("bad", whole, reward=("wet", dryness))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chian-scm", "unknown env 'chian-scm'; did you mean chain-scm"),
        ("causal_rl/chian-scm-v0", "did you mean chain-scm"),
        ("CartPole-v1", "known: chain-scm, lagged-chain-scm"),
        ("", "env must be a name"),
        ("nowhere/file.py:WORLD", "there is no file nowhere/file.py"),
        ("no_such_module_x:WORLD", "importing no_such_module_x failed: ModuleNotFoundError"),
        ("math:pi", "must be an SCMEnvSpec or a callable that returns one, got float"),
        ("math:sqrt", "env 'math:sqrt' failed: TypeError"),
        ("builtins:dict", "must return an SCMEnvSpec, got dict"),
        (":x", "must be 'path/to/file.py:NAME' or 'module:NAME'"),
    ],
)
def test_what_cannot_be_found(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        resolve_spec(text)
    assert "\n" not in str(caught.value)


def test_options() -> None:
    assert resolve_spec("er-scm", n=6, density=1.5, mechanism="linear").scm.n == 7
    with pytest.raises(ValueError, match="env 'chain-scm' has no option 'density'; its options"):
        resolve_spec("chain-scm", density=2)
    with pytest.raises(ValueError, match="n is 1; it must be >= 2"):
        resolve_spec("chain-scm", n=1)
    with pytest.raises(
        ValueError,
        match="mechanism is 'cubic'; it must be one of linear, tanh, mlp, gp, polynomial",
    ):
        gymnasium.make("causal_rl/chain-scm-v0", mechanism="cubic")
    with pytest.raises(ValueError, match="shift 'flip' is unknown to world 'chain-scm'"):
        resolve_spec("chain-scm", shift="flip")


FILE = """
from causal_rl.envs import Interventions, SCMEnvSpec
from causal_rl.scm import DynamicSCM, Variable

def twice(x):
    return 2 * x

def make(horizon=4):
    scm = DynamicSCM([Variable("x"), Variable("y", twice, parents=("x",)),
                      Variable("reward", twice, parents=("y",), kind="reward")])
    return SCMEnvSpec("filed", scm, Interventions(["x"]), horizon=horizon)

WORLD = make()
"""


def test_files_and_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "filed_world.py"
    path.write_text(FILE)
    assert resolve_spec(f"{path}:WORLD").horizon == 4
    assert resolve_spec(f"{path}:WORLD", horizon=2).horizon == 2
    assert resolve_spec(f"{path}:make", horizon=3).horizon == 3
    with pytest.raises(ValueError, match="has no 'WORD'; did you mean WORLD"):
        resolve_spec(f"{path}:WORD")
    with pytest.raises(ValueError, match="env 'filed' has no option 'n'"):
        resolve_spec(f"{path}:WORLD", n=2)
    with pytest.raises(ValueError, match="make' failed: TypeError"):
        resolve_spec(f"{path}:make", n=2)
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_spec("filed_world:WORLD").name == "filed"


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "world.py"
    path.write_text(FILE)
    resolve_spec(f"{path}:WORLD")
    path.write_text(FILE.replace("horizon=4", "horizon=55"))
    assert resolve_spec(f"{path}:WORLD").horizon == 55


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 +", "failed: SyntaxError"),
        ("raise RuntimeError('a\\nb')", "failed: RuntimeError: a b"),
        (
            "from causal_rl.scm import DynamicSCM, Linear, Variable\n"
            "DynamicSCM([Variable('a', Linear([1.0]), parents=('b',)),"
            " Variable('b', Linear([1.0]), parents=('a',))])",
            "failed: cycle: a -> b -> a",
        ),
    ],
)
def test_files_that_fail(tmp_path: Path, code: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(code)
    with pytest.raises(ValueError, match=message) as caught:
        resolve_spec(f"{path}:WORLD")
    assert "\n" not in str(caught.value)


def test_a_world_with_a_broken_mechanism_is_refused_when_found(tmp_path: Path) -> None:
    path = tmp_path / "nan.py"
    path.write_text(FILE.replace("return 2 * x", "return x * float('nan')"))
    with pytest.raises(ValueError, match="'y'"):
        resolve_spec(f"{path}:WORLD")


def test_the_example_runs() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        capture_output=True,
        text=True,
        cwd=EXAMPLE.parents[1],
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert "return" in done.stdout
    spec = resolve_spec(f"{EXAMPLE}:GARDEN")
    assert isinstance(spec, SCMEnvSpec)
    gymnasium.make("causal_rl/garden-v0").reset(seed=0)


def test_parallel_processes_need_no_registry() -> None:
    register_env("elsewhere", rain(), reward=("wet", dryness), horizon=4)
    envs = gymnasium.make_vec("causal_rl/elsewhere-v0", num_envs=2, vectorization_mode="async")
    own = gymnasium.make_vec("causal_rl/elsewhere-v0", num_envs=2)
    try:
        np.testing.assert_array_equal(envs.reset(seed=0)[0], own.reset(seed=0)[0])
    finally:
        envs.close()


def test_make_vec_understands_max_episode_steps() -> None:
    envs = gymnasium.make_vec("causal_rl/chain-scm-v0", num_envs=2, max_episode_steps=3)
    envs.reset(seed=0)
    ends = [envs.step(np.zeros((2, 2), dtype=int))[3].all() for _ in range(6)]
    assert ends == [False, False, True, False, False, True]


def test_specs_of_built_in_worlds_are_json() -> None:
    text = gymnasium.spec("causal_rl/er-scm-v0").to_json()
    again = gymnasium.envs.registration.EnvSpec.from_json(text)
    assert gymnasium.make(again).unwrapped.scm_spec.name == "er-scm"
