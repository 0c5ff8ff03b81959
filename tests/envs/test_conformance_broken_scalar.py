"""The conformance class fails broken scalar environments, each by the check that must see it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from garden import Garden, assert_fails

from causal_rl.envs import SCMEnv, SCMEnvSpec
from causal_rl.scm import Trajectory


# Environments that are broken: subclasses as a user may write them.
class Leaks(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        values = self.get_state()["values"][0]
        return *rest, {**info, "u": values[self.scm_spec.scm.names.index("u")]}


class ShowsHidden(SCMEnv):
    def _observation(self) -> Any:
        return np.array(self._engine.values[0][: len(self.scm_spec.observed)])


class Single(SCMEnv):
    def reset(self, **kwargs: Any) -> Any:
        observation, info = super().reset(**kwargs)
        return observation.astype(np.float32), info


class NoInfo(SCMEnv):
    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0]


class WrongLog(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return *rest, {**info, "do_value": info["do_value"] + 1.0}


class NoLog(SCMEnv):
    def step(self, action: Any) -> Any:
        *rest, info = super().step(action)
        return *rest, {**info, "do_target": np.zeros_like(info["do_target"])}


class Deaf(SCMEnv):
    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=None if seed is None else 3)


class Tireless(SCMEnv):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        return observation, reward, terminated, False, info


class Gives(SCMEnv):
    def step(self, action: Any) -> Any:
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, reward > -0.5, truncated, info


class Forgets(SCMEnv):
    def set_state(self, state: Any) -> None:
        super().set_state({**state, "step": state["step"] * 0})


class Shared(SCMEnv):
    def __deepcopy__(self, memo: Any) -> SCMEnv:
        return self


class FreshNoise(SCMEnv):
    def counterfactual(self, trajectory: Trajectory, do: Any) -> Trajectory:
        noise = np.random.default_rng(0).normal(size=trajectory.noise.shape)
        return super().counterfactual(replace(trajectory, noise=noise), do)


class Sequential(SCMEnv):
    """Draws one number less where a variable is set, which shifts all the others."""

    def trajectory(self) -> Trajectory:
        fact = super().trajectory()
        noise = fact.noise.copy()
        for t in np.flatnonzero(fact.do_mask.any(axis=(1, 2))):
            noise[t + 1] = np.roll(noise[t + 1], 1)
        return replace(fact, noise=noise)


class MovesAll(SCMEnv):
    def counterfactual(self, trajectory: Trajectory, do: Any) -> Trajectory:
        other = super().counterfactual(trajectory, do)
        moved = not np.array_equal(other.do_value, trajectory.do_value)
        column = self.scm_spec.scm.names.index("u")
        return replace(other, values=other.values + 0.5 * moved * (np.arange(4) == column))


class Paints(SCMEnv):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012
    picture: Any = np.zeros((4, 6, 3))

    def __init__(self, spec: SCMEnvSpec, *, render_mode: str | None = None) -> None:
        super().__init__(spec)
        self.render_mode = render_mode

    def render(self) -> Any:
        return self.picture


class PaintsBlack(Paints):
    picture = np.zeros((4, 6, 3), dtype=np.uint8)


class PaintsGrey(Paints):
    picture = np.arange(24, dtype=np.uint8).reshape(4, 6)


class PaintsWell(Paints):
    picture = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)


class Scalar(Garden):
    """The checks with another scalar environment."""

    def __init__(self, kind: type[SCMEnv], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.kind = kind

    def make_env(self, spec: SCMEnvSpec, render_mode: str | None = None) -> SCMEnv:
        return self.kind(spec, render_mode=render_mode)


@pytest.mark.parametrize(
    ("kind", "check", "message"),
    [
        (Leaks, "test_hidden_variables_stay_hidden", "info has the key 'u'; allowed are do_target"),
        (
            ShowsHidden,
            "test_observations_are_the_observed_variables",
            "the observation at .* in the model's columns",
        ),
        (
            Single,
            "test_observations_are_the_observed_variables",
            "an observation is float32, not float64",
        ),
        (NoInfo, "test_gymnasium_accepts_it", "Gymnasium's checker says: .*not a tuple"),
        pytest.param(
            NoInfo,
            "test_stable_baselines3_accepts_it",
            "Stable-Baselines3's checker says: .*reset",
            marks=pytest.mark.skipif(
                find_spec("stable_baselines3") is None, reason="needs the extra 'sb3'"
            ),
        ),
        (WrongLog, "test_info_tells_what_was_done", r"info\['do_value'\] at .* in the actions"),
        (
            NoLog,
            "test_info_tells_what_was_done",
            r"info\['do_target'\] at .* is False, but True in",
        ),
        (Deaf, "test_other_seeds_give_other_trajectories", "seeds 0..7 all give the same episode"),
        (
            Tireless,
            "test_episodes_end_at_the_horizon",
            "step 6 of an episode is not truncated; the horizon is 6",
        ),
        (Gives, "test_episodes_end_at_the_horizon", r"step \d+ terminated; worlds only truncate"),
        (
            Forgets,
            "test_a_state_resumes_exactly",
            "a scalar environment resumed after step 3 began 1 episodes",
        ),
        (Shared, "test_pickle_and_deepcopy", "a deepcopy of the scalar environment"),
        (FreshNoise, "test_the_factual_counterfactual", "the noise of the factual counterfactual"),
        (
            FreshNoise,
            "test_counterfactuals_move_descendants_only",
            r"the noise of the counterfactual of do\(x\) in step 3",
        ),
        (
            MovesAll,
            "test_counterfactuals_move_descendants_only",
            r"do\(x\) in step 3: u which it does not cause, at \[0\] is .*, but .* in the fact",
        ),
        (
            Sequential,
            "test_interventions_leave_the_noise_alone",
            "the noise of an episode with interventions at .* in the trajectory",
        ),
        (Paints, "test_render", "render must give a uint8 array, got ndarray"),
        (PaintsBlack, "test_render", "all its pixels are the same"),
        (PaintsGrey, "test_render", r"\(height, width, 3\), got shape \(4, 6\)"),
    ],
)
def test_a_broken_scalar_environment_fails(kind: type[SCMEnv], check: str, message: str) -> None:
    assert_fails(Scalar(kind), check, f"^world 'garden': .*{message}")


def test_more_keys_may_be_allowed_but_not_the_truth() -> None:
    leaking = Scalar(Leaks, info_keys=("do_target", "do_value", "u"))
    message = r"info\['u'\] gives away the hidden variable 'u'"
    assert_fails(leaking, "test_hidden_variables_stay_hidden", message)
    assert Scalar(PaintsWell).failures() == {}
