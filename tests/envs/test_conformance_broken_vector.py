"""The conformance class fails broken vector environments, each by the check that must see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from garden import Garden, assert_fails
from gymnasium.vector import AutoresetMode

from causal_rl.envs import SCMEnvSpec, SCMVectorEnv


class LosesTheEnd(SCMVectorEnv):
    """``final_obs`` holds what the reset has made of the row."""

    def step(self, actions: Any) -> Any:
        observation, *rest, info = super().step(actions)
        if "final_obs" in info:
            info["final_obs"] = np.array([*observation, None], dtype=object)[:-1]
        return observation, *rest, info


class LogsTheEnd(SCMVectorEnv):
    """``do_target`` of a row that was reset is that of the episode before."""

    def step(self, actions: Any) -> Any:
        *rest, info = super().step(actions)
        if "final_info" in info:
            info = {**info, "do_target": np.ones_like(info["do_target"])}
        return *rest, info


class PaysTheReset(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        pending = self.get_state()["pending"]
        observation, reward, *rest = super().step(actions)
        return observation, reward + pending, *rest


class LogsTheReset(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        pending = self.get_state()["pending"]
        *rest, info = super().step(actions)
        return *rest, {**info, "do_target": info["do_target"] | pending[:, None]}


class EndsApart(SCMVectorEnv):
    def step(self, actions: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, terminated, truncated & (np.arange(self.num_envs) > 0), info


class ForgetsThePending(SCMVectorEnv):
    def set_state(self, state: Any) -> None:
        super().set_state({**state, "pending": np.zeros_like(state["pending"])})


class SaysAnotherMode(SCMVectorEnv):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.metadata = {**self.metadata, "autoreset_mode": AutoresetMode.DISABLED}


class LeaksBatch(SCMVectorEnv):
    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation, {**info, "values": self.values}


class Vector(Garden):
    """The checks with another vector environment."""

    def __init__(self, kind: type[SCMVectorEnv]) -> None:
        super().__init__()
        self.kind = kind

    def make_vector_env(
        self,
        spec: SCMEnvSpec,
        num_envs: int,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> SCMVectorEnv:
        return self.kind(spec, num_envs, autoreset_mode=autoreset_mode)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (
            LosesTheEnd,
            "test_same_step_autoreset",
            r"row 0 of the vector environment \(SameStep\): observation of step 5",
        ),
        (LogsTheEnd, "test_same_step_autoreset", r"info\['do_target'\] is not False in a row that"),
        (PaysTheReset, "test_next_step_autoreset", "the reward of a reset row is 1.0, not 0"),
        (
            LogsTheReset,
            "test_next_step_autoreset",
            "the info of a reset row says that something was set",
        ),
        (EndsApart, "test_next_step_autoreset", r"ended after the others: \[False, True\]"),
        (
            ForgetsThePending,
            "test_a_state_resumes_exactly",
            r"a vector environment \(NextStep\) resumed after step 6: observation of step 6",
        ),
        (SaysAnotherMode, "test_same_step_autoreset", r"metadata\['autoreset_mode'\] is "),
        (LeaksBatch, "test_hidden_variables_stay_hidden", "info has the key 'values'"),
    ],
)
def test_a_broken_vector_environment_fails(
    kind: type[SCMVectorEnv], check: str, message: str
) -> None:
    assert_fails(Vector(kind), check, f"^world 'garden': .*{message}")
