"""Checks of what a world shows to an agent: spaces, observations, infos, shifts, pictures."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env

from causal_rl.envs import SCMEnv, SCMEnvSpec
from causal_rl.testing.episodes import compare, run_scalar, run_vector
from causal_rl.testing.world import WorldUnderTest, check, check_equal, fail, one_line

_FINAL_KEYS = ("final_obs", "final_info")


class InterfaceChecks(WorldUnderTest):
    """The part of `WorldConformance` that an agent could check by itself."""

    @check
    def test_gymnasium_accepts_it(self, spec: SCMEnvSpec) -> None:
        """Gymnasium's own checker finds nothing but the missing bounds of observations."""
        # It takes the truncation of one-step episodes, which bandits have, for a mistake.
        env = self.make_env(spec.replace(horizon=max(2, spec.horizon)))
        self._run_checker("Gymnasium", check_env, env, skip_render_check=True)

    @check
    def test_stable_baselines3_accepts_it(self, spec: SCMEnvSpec) -> None:
        """So does that of Stable-Baselines3; where that is not installed, nothing is checked."""
        try:
            from stable_baselines3.common import env_checker
        except ImportError:
            return
        self._run_checker("Stable-Baselines3", env_checker.check_env, self.make_env(spec))

    @check
    def test_observations_are_the_observed_variables(self, spec: SCMEnvSpec) -> None:
        """Names, kinds, spaces and graph agree, and an observation is the observed columns."""
        env, n = self.make_env(spec), len(spec.observed_names)
        hidden = {v.name for v in spec.scm.variables if v.kind == "hidden"}
        shown = [name for name in spec.observed_names if name in hidden]
        if shown:
            fail(f"the hidden variable {shown[0]!r} is among the observed ones")
        if len(spec.observed_kinds) != n:
            fail(f"{n} observed names have {len(spec.observed_kinds)} kinds")
        if env.observation_space.shape != (n,):
            fail(f"{n} variables are observed in a space of shape {env.observation_space.shape}")
        if env.action_space != spec.interventions.space():
            fail(f"the action space {env.action_space} is not that of the interventions")
        reward = "" if spec.scm.reward is None else spec.scm.reward.name
        if env.causal_graph.names != (*spec.observed_names, reward):
            fail(f"the graph is over {', '.join(env.causal_graph.names)}")
        first, _ = env.reset(seed=self.seed)
        seen = [first]
        for action in self.plan(spec, self.short(spec).horizon)[:, 0]:
            seen.append(env.step(action)[0])
        for observation in seen:
            if np.asarray(observation).dtype != env.observation_space.dtype:
                fail(f"an observation is {observation.dtype}, not {env.observation_space.dtype}")
            if not env.observation_space.contains(observation):
                fail("an observation is not in the observation space")
        columns = env.trajectory().values[:, 0, spec.observed]
        check_equal("the observation", seen, columns, "the model's columns")

    @check
    def test_hidden_variables_stay_hidden(self, spec: SCMEnvSpec) -> None:
        """An info holds the log of what was done and no value of a hidden variable."""
        env = self.make_env(spec)
        envs = self.make_vector_env(self.short(spec), self.num_envs)
        allowed = set(self.info_keys)
        vector_keys = {*allowed, *_FINAL_KEYS}
        vector_keys |= {f"_{key}" for key in vector_keys}
        _, info = env.reset(seed=self.seed)
        infos = [info]
        _check_keys(envs.reset(seed=self.seed)[1], vector_keys)
        for actions in self.plan(spec, self.short(spec).horizon, self.num_envs):
            infos.append(env.step(actions[0])[-1])
            _check_keys(envs.step(actions)[-1], vector_keys)
        values = env.trajectory().values[:, 0]
        hidden = [i for i, kind in enumerate(spec.scm.kinds) if kind == "hidden"]
        for step, given in enumerate(infos):
            _check_keys(given, allowed)
            for key, number in _numbers(given):
                for i in hidden:
                    # 0, 1, ... are what a counter may hold by chance.
                    if number == values[step, i] and not number.is_integer():
                        fail(f"info[{key!r}] gives away the hidden variable {spec.scm.names[i]!r}")

    @check
    def test_info_tells_what_was_done(self, spec: SCMEnvSpec) -> None:
        """What the info says was set is what the action set, and the observation shows it."""
        short = self.short(spec)
        steps = 2 * short.horizon
        env, plan = self.make_env(short), self.plan(spec, steps)
        info = env.reset(seed=self.seed)[1]
        if np.asarray(info["do_target"]).any() or np.asarray(info["do_value"]).any():
            fail("after a reset the info says that something was set")
        seen = run_scalar(env, plan, self.seed)
        mask, value, _ = spec.interventions.decode(plan[:, 0], spec.scm.names)
        if seen.do_target.dtype != np.bool_:
            fail(f"info['do_target'] must be boolean, got {seen.do_target.dtype}")
        done, set_to = seen.do_target[:, 0], seen.do_value[:, 0]
        check_equal("info['do_target']", done, mask[:, spec.observed], "the actions")
        check_equal("info['do_value']", set_to, value[:, spec.observed], "the actions")
        shown = np.where(done, seen.observation[:, 0], 0.0)
        check_equal("a variable that was set", shown, set_to, "info['do_value']")

    @check
    def test_shifts_keep_the_interface(self, spec: SCMEnvSpec) -> None:
        """Under every shift names, kinds and spaces stay, and the world runs, whatever is done."""
        for name in spec.shifts:
            try:
                world = spec.shifted(name)
                self.make_env(spec).set_world(world)
            except Exception as error:
                raise AssertionError(f"shift {name!r}: {one_line(error)}") from error
            for what in ("observed_names", "observed_kinds"):
                if getattr(world, what) != getattr(spec, what):
                    fail(f"shift {name!r} changes {what} to {', '.join(getattr(world, what))}")
            if world.action_space() != spec.action_space():
                fail(f"shift {name!r} changes the action space to {world.action_space()}")
            try:
                world.scm.check()
                short, every = self.short(world), world.interventions.all_actions()
                plan = np.stack([np.roll(every, t, axis=0) for t in range(short.horizon)])
                run_vector(self.make_vector_env(short, len(every)), plan, self.seed)
            except Exception as error:
                raise AssertionError(f"shift {name!r}: {one_line(error)}") from error

    @check
    def test_pickle_and_deepcopy(self, spec: SCMEnvSpec) -> None:
        """Copies of an environment go on as the original does."""
        short = self.short(spec)
        plan = self.plan(spec, 2 * short.horizon, self.num_envs)
        before, after = plan[: short.horizon // 2], plan[short.horizon // 2 :]
        env, envs = self.make_env(short), self.make_vector_env(short, self.num_envs)
        run_scalar(env, before[:, :1], self.seed) if len(before) else env.reset(seed=self.seed)
        run_vector(envs, before, self.seed) if len(before) else envs.reset(seed=self.seed)
        try:
            pickled = pickle.loads(pickle.dumps((env, envs)))
        except Exception as error:
            raise AssertionError(
                f"cannot be pickled: {one_line(error)}; mechanisms and shifts must be functions at "
                "a module's top level"
            ) from error
        copies = {"a pickled copy": pickled, "a deepcopy": copy.deepcopy((env, envs))}
        scalar = run_scalar(env, after[:, :1], None)
        vector = run_vector(envs, after, None)
        for what, (own, batch) in copies.items():
            own_record = run_scalar(own, after[:, :1], None)
            compare(own_record, scalar, f"{what} of the scalar environment", "the original")
            batch_record = run_vector(batch, after, None)
            compare(batch_record, vector, f"{what} of the vector environment", "the original")

    @check
    def test_render(self, spec: SCMEnvSpec) -> None:
        """Where "rgb_array" is a render mode, a frame is uint8 (height, width, 3)."""
        if "rgb_array" not in self.make_env(spec).metadata.get("render_modes", ()):
            return
        env = self.make_env(spec, "rgb_array")
        env.reset(seed=self.seed)
        frames: list[Any] = [env.render()]
        env.step(self.plan(spec, 1)[0, 0])
        frames.append(env.render())
        for frame in frames:
            if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8:
                fail(f"render must give a uint8 array, got {type(frame).__name__}")
            if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
                fail(f"render must give an array (height, width, 3), got shape {frame.shape}")
            if (frame == frame[0, 0]).all():
                fail("render gives an empty picture: all its pixels are the same")
        if frames[0].shape != frames[1].shape:
            fail(f"render changes its size from {frames[0].shape} to {frames[1].shape}")

    def _run_checker(self, name: str, checker: Any, env: SCMEnv, **options: Any) -> None:
        with warnings.catch_warnings():
            # Noise has no bounds to state.
            warnings.filterwarnings("ignore", message=".*observation space m.*infinity")
            try:
                checker(env, **options)
            except Exception as error:
                raise AssertionError(f"{name}'s checker says: {one_line(error)}") from error


def _check_keys(info: dict[str, Any], allowed: set[str]) -> None:
    more = sorted(set(info) - allowed)
    if more:
        fail(f"info has the key {more[0]!r}; allowed are {', '.join(sorted(allowed))}")


def _numbers(info: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Every number in an info, with its key, apart from the log, which has its own check."""
    for key, value in info.items():
        array = np.asarray(value)
        if key not in ("do_target", "do_value") and array.dtype.kind in "if":
            yield from ((key, float(number)) for number in array.ravel())
