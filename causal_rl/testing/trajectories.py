"""Checks of how a world runs: seeds, batches, truncation, resets, resuming."""

from __future__ import annotations

import numpy as np
from gymnasium.vector import AutoresetMode

from causal_rl.envs import SCMEnvSpec
from causal_rl.testing.episodes import Episodes, compare, run_scalar, run_vector
from causal_rl.testing.world import WorldUnderTest, check, check_equal, fail

_RESULT = ("observation", "reward", "terminated", "truncated")
_MODES = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
_EPISODES = 3
_SEEDS = 8
#: Far from any power of two, and more than one block of the kernels that work on many numbers.
_LARGE = 67


class TrajectoryChecks(WorldUnderTest):
    """The part of `WorldConformance` about trajectories: they must be the same bit for bit."""

    @check
    def test_mechanisms_pass_a_dry_run(self, spec: SCMEnvSpec) -> None:
        """No mechanism fails, has a memory, changes its arguments or mixes the rows of a batch."""
        spec.scm.check()

    @check
    def test_a_seed_fixes_the_trajectory(self, spec: SCMEnvSpec) -> None:
        """The same seed gives the same episodes, in one environment and in another."""
        short = self.short(spec)
        plan = self.plan(spec, _EPISODES * short.horizon)
        env = self.make_env(short)
        first = run_scalar(env, plan, self.seed)
        compare(run_scalar(env, plan, self.seed), first, "a second run", "the first of that seed")
        other = run_scalar(self.make_env(short), plan, self.seed)
        compare(other, first, "another environment", "the first of that seed")

    @check
    def test_other_seeds_give_other_trajectories(self, spec: SCMEnvSpec) -> None:
        """Seeds differ, and so do the episodes of one seed, unless nothing is random."""
        if all(v.noise.std == 0.0 for v in spec.scm.variables):
            return
        short = self.short(spec)
        plan = np.zeros((short.horizon, 1, 2), dtype=np.int64)
        env = self.make_env(short)
        runs = [run_scalar(env, plan, self.seed + k) for k in range(_SEEDS)]
        if all(_same(run, runs[0]) for run in runs):
            fail(f"seeds {self.seed}..{self.seed + _SEEDS - 1} all give the same episode")
        env.reset(seed=self.seed)
        again = [runs[0], *(run_scalar(env, plan, None) for _ in range(_SEEDS))]
        if all((run.observation == runs[0].observation).all() for run in again[2:]):
            fail(f"all episodes of seed {self.seed} are the same")

    @check
    def test_scalar_equals_vector(self, spec: SCMEnvSpec) -> None:
        """Row i of a vector environment is the scalar one of its seed, over several episodes."""
        short = self.short(spec)
        plan = self.plan(spec, _EPISODES * short.horizon, self.num_envs)
        alone = [
            run_scalar(self.make_env(short), plan[:, b : b + 1], self.seed + b)
            for b in range(self.num_envs)
        ]
        for mode in _MODES:
            rows = run_vector(self.make_vector_env(short, self.num_envs, mode), plan, self.seed)
            for b, reference in enumerate(alone):
                what = f"row {b} of the vector environment ({mode.value})"
                compare(rows.row(b), reference, what, "the scalar environment")

    @check
    def test_rows_do_not_depend_on_the_batch(self, spec: SCMEnvSpec) -> None:
        """A row stays what it is, whatever is beside it and however much."""
        short = self.short(spec)
        plan = self.plan(spec, short.horizon + 1, _LARGE)
        large = run_vector(self.make_vector_env(short, _LARGE), plan, self.seed)
        for size in (1, 2, 7):
            small = run_vector(self.make_vector_env(short, size), plan[:, :size], self.seed)
            compare(small, large.row(0, size), f"a batch of {size}", f"a batch of {_LARGE}")
        other = plan.copy()
        other[:, 1:] = plan[::-1, 1:]
        beside = run_vector(self.make_vector_env(short, _LARGE), other, self.seed)
        compare(beside.row(0), large.row(0), "row 0", "the batch in which others do other things")

    @check
    def test_episodes_end_at_the_horizon(self, spec: SCMEnvSpec) -> None:
        """A scalar episode is truncated in step ``horizon`` and in no other; none terminates."""
        plan = self.plan(spec, 2 * spec.horizon)
        _check_ends(run_scalar(self.make_env(spec), plan, self.seed), spec.horizon)

    @check
    def test_same_step_autoreset(self, spec: SCMEnvSpec) -> None:
        """In SAME_STEP mode ``final_obs`` and ``final_info`` hold the end of the episode."""
        self._check_autoreset(spec, AutoresetMode.SAME_STEP)

    @check
    def test_next_step_autoreset(self, spec: SCMEnvSpec) -> None:
        """In NEXT_STEP mode the step after the end resets, ignores its action and pays nothing."""
        self._check_autoreset(spec, AutoresetMode.NEXT_STEP)

    @check
    def test_a_state_resumes_exactly(self, spec: SCMEnvSpec) -> None:
        """``set_state`` in a fresh environment goes on as the one ``get_state`` was called on."""
        short = self.short(spec)
        plan = self.plan(spec, 2 * short.horizon + 1, self.num_envs)
        for stop in sorted({max(1, short.horizon // 2), short.horizon}):
            before, after = plan[:stop], plan[stop:]
            env, fresh = self.make_env(short), self.make_env(short)
            run_scalar(env, before[:, :1], self.seed)
            fresh.set_state(env.get_state())
            compare(
                run_scalar(fresh, after[:, :1], None),
                run_scalar(env, after[:, :1], None),
                f"a scalar environment resumed after step {stop}",
                "the one that went on",
            )
            for mode in _MODES:
                envs = self.make_vector_env(short, self.num_envs, mode)
                fresh_envs = self.make_vector_env(short, self.num_envs, mode)
                envs.reset(seed=self.seed)
                for actions in before:  # not by run_vector: a reset may be due
                    envs.step(actions)
                fresh_envs.set_state(envs.get_state())
                what = f"a vector environment ({mode.value}) resumed after step {stop}"
                for t, actions in enumerate(after):
                    own, other = fresh_envs.step(actions), envs.step(actions)
                    for k, field in enumerate(_RESULT):
                        name = f"{what}: {field} of step {stop + t}"
                        check_equal(name, own[k], other[k], "the one that went on")  # type: ignore[arg-type]

    def _check_autoreset(self, spec: SCMEnvSpec, mode: AutoresetMode) -> None:
        plan = self.plan(spec, 2 * spec.horizon, 2)
        envs = self.make_vector_env(spec, 2, mode)
        declared = envs.metadata.get("autoreset_mode")
        if declared is not mode:
            fail(f"metadata['autoreset_mode'] is {declared}, not {mode}")
        rows = run_vector(envs, plan, self.seed)
        _check_ends(rows, spec.horizon)
        for b in range(2):
            alone = run_scalar(self.make_env(spec), plan[:, b : b + 1], self.seed + b)
            what = f"row {b} of the vector environment ({mode.value})"
            compare(rows.row(b), alone, what, "the scalar environment")


def _check_ends(record: Episodes, horizon: int) -> None:
    if record.terminated.any():
        fail(f"step {int(np.argwhere(record.terminated)[0, 0])} terminated; worlds only truncate")
    for t, truncated in enumerate(record.truncated):
        if not ((t + 1) % horizon == 0) == truncated.all() == truncated.any():
            said = "truncated" if truncated.any() else "not truncated"
            fail(f"step {t % horizon + 1} of an episode is {said}; the horizon is {horizon}")


def _same(one: Episodes, two: Episodes) -> bool:
    return bool(
        (one.start[0] == two.start[0]).all()
        and (one.observation == two.observation).all()
        and (one.reward == two.reward).all()
    )
