"""Structural causal models in time: the simulator of the environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.graphs import CausalGraph, Kind
from causal_rl.scm.arguments import (
    BoolArray,
    FloatArray,
    as_columns,
    as_count,
    as_generator,
)
from causal_rl.scm.dry_run import check_mechanisms
from causal_rl.scm.program import Program
from causal_rl.scm.trajectory import Trajectory
from causal_rl.scm.variables import (
    Change,
    Variable,
    hard_intervention,
    soft_intervention,
)


class DynamicSCM:
    """A structural causal model with mechanisms inside a step and from one step to the next.

    Columns are the variables in the order given, which need not be causal, without the reward.
    Arrays are (batch, n); those it returns are in Fortran order, so that handing them back costs
    no copy. Row b of every result depends on row b of the arguments alone, bit for bit.

    Attributes:
        variables: All variables; the columns, then the reward if there is one.
        names: Names of the columns.
        kinds: Kinds of the columns.
        n: Number of columns.
        reward: The reward's `Variable`, or None.
        observed: int64 array of the columns that are not hidden.
        contexts: int64 array of the columns that are held through an episode.
        graph: The true `CausalGraph`, derived from the variables; the reward is its last node.
        order: Column indices, causes before effects.
        program: The compiled equations, over arrays (n, batch); they check less than the methods
            here.
    """

    def __init__(self, variables: Sequence[Variable]) -> None:
        """Check and compile the variables.

        Args:
            variables: The variables, in any order; at most one of kind "reward".

        Raises:
            TypeError: If an element is no `Variable`.
            ValueError: On duplicate names, unknown parents, a cycle inside a step (printed as
                "cycle: a -> b -> a"), a reward with children or with noise, a second reward, or a
                context that is a lagged parent or whose mechanism is not constant.
        """
        self.program: Program = Program(variables, dynamic=True)
        self.variables: tuple[Variable, ...] = self.program.variables
        self.names: tuple[str, ...] = self.program.names
        self.n: int = self.program.n
        self.kinds: tuple[Kind, ...] = tuple(v.kind for v in self.variables[: self.n])
        self.reward: Variable | None = self.program.sink
        self.observed: NDArray[np.int64] = np.array(
            [i for i, kind in enumerate(self.kinds) if kind != "hidden"], dtype=np.int64
        )
        self.contexts: NDArray[np.int64] = np.array(sorted(self.program.held), dtype=np.int64)
        self.graph: CausalGraph = self.program.graph
        self.order: tuple[int, ...] = self.program.order

    def __repr__(self) -> str:
        """The class and the names."""
        return f"{type(self).__name__}({', '.join(v.name for v in self.variables)})"

    def initial(self, noise: ArrayLike) -> FloatArray:
        """The first state of an episode: contexts are drawn, the rest is a step from zeros.

        Args:
            noise: float64 of shape (batch, n).

        Returns:
            float64 of shape (batch, n).

        Raises:
            ValueError: If `noise` has another shape or a value is not finite.
        """
        columns = as_columns(noise, self.n, "noise")
        held = self.program.start(columns)
        return self.program.forward(columns, np.zeros_like(columns), held).T

    def step(
        self,
        previous: ArrayLike,
        noise: ArrayLike,
        context: ArrayLike | None = None,
        do_mask: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
    ) -> FloatArray:
        """One step: every variable once, causes before effects.

        Args:
            previous: float64 of shape (batch, n), the state before.
            noise: float64 of shape (batch, n); that of contexts is not read.
            context: float64 of shape (batch, n) whose context columns are taken; `previous` if
                None.
            do_mask: bool of shape (batch, n): where a variable is set, ignoring its parents and
                noise. None sets nothing.
            do_value: float64 of shape (batch, n), read where `do_mask` is true.

        Returns:
            float64 of shape (batch, n).

        Raises:
            ValueError: If a shape is wrong, a context is set, one of `do_mask` and `do_value` is
                missing, or a value is not finite (the variable is named).
        """
        before = as_columns(previous, self.n, "previous")
        columns = as_columns(noise, self.n, "noise")
        if columns.shape != before.shape:
            raise ValueError(f"noise must have {before.shape[1]} rows, got {columns.shape[1]}")
        held = before
        if context is not None:
            held = as_columns(context, self.n, "context")
            if held.shape != before.shape:
                raise ValueError(f"context must have {before.shape[1]} rows, got {held.shape[1]}")
        if do_mask is None and do_value is None:
            return self.program.forward(columns, before, held).T
        mask, value = self._setting(do_mask, do_value, before.shape)
        return self.program.forward(columns, before, held, mask, value).T

    def reward_value(self, previous: ArrayLike, current: ArrayLike) -> FloatArray:
        """The reward of a step.

        Args:
            previous: float64 of shape (batch, n), the state before, for lagged parents.
            current: float64 of shape (batch, n), the state after.

        Returns:
            float64 of shape (batch,).

        Raises:
            ValueError: If the model has no reward, a shape is wrong, or the reward is not finite.
        """
        if self.reward is None:
            raise ValueError("this model has no reward; give one Variable of kind 'reward'")
        before = as_columns(previous, self.n, "previous")
        now = as_columns(current, self.n, "current")
        if before.shape != now.shape:
            raise ValueError(f"current must have {before.shape[1]} rows, got {now.shape[1]}")
        return self.program.effect(self.n, now, before, now.shape[1])

    def noise_from_uniforms(self, uniforms: ArrayLike) -> FloatArray:
        """Turn uniforms, such as those of `keyed_uniform`, into the noise of the variables.

        Args:
            uniforms: float64 of shape (batch, n), in (0, 1).

        Returns:
            float64 of shape (batch, n).

        Raises:
            ValueError: If the shape is wrong.
        """
        return self.program.noise_from_uniforms(as_columns(uniforms, self.n, "uniforms")).T

    def keyed_noise(
        self, key: NDArray[np.uint64], step: ArrayLike, *, start: bool = True
    ) -> FloatArray:
        """The noise of the variables by address, through `uniform_at`.

        Args:
            key: uint64 of shape (batch,) from `episode_key`.
            step: Non-negative integers, shape (batch,).
            start: Whether contexts are drawn too, as when an episode starts; without it their noise
                is 0.

        Returns:
            float64 of shape (batch, n).
        """
        return self.program.keyed_noise(key, step, start=start).T

    def sample_noise(self, rng: np.random.Generator | int, batch: int = 1) -> FloatArray:
        """Draw the noise of one step.

        Args:
            rng: Generator or seed.
            batch: Number of rows, at least 1.

        Returns:
            float64 of shape (batch, n).

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If `batch` is below 1.
        """
        return self.program.sample_noise(as_generator(rng), as_count(batch, "batch")).T

    def check(self) -> None:
        """Try every mechanism, the reward's included, on a few simulated steps.

        Raises:
            ValueError: If a mechanism fails, returns another shape than (batch,), a value that is
                not finite or no number, changes its arguments, gives two answers to one
                question, or lets rows of a batch depend on each other; the variable is named.
        """
        check_mechanisms(self.program)

    def do(self, values: Mapping[str, float] | None = None, /, **by_name: float) -> DynamicSCM:
        """Return the model in which variables are constants at every step, cut from all parents.

        Contexts may be set here, which fixes them in every episode.

        Args:
            values: Value by name.
            **by_name: The same, for names that are identifiers.

        Returns:
            A new model.

        Raises:
            TypeError: If `values` is no mapping of numbers.
            ValueError: If a name is unknown or the reward, or a value is not finite.
        """
        merged = {**(values or {}), **by_name}
        if self.reward is not None and self.reward.name in merged:
            raise ValueError(
                f"do must not set the reward {self.reward.name!r}; replace it with soft_do"
            )
        return DynamicSCM(hard_intervention(self.variables, merged))

    def soft_do(self, changes: Mapping[str, Change]) -> DynamicSCM:
        """Return the model with some mechanisms, noises or whole variables replaced.

        Args:
            changes: For each name a `Variable` (its parents may differ), a mechanism or a noise.

        Returns:
            A new model.

        Raises:
            TypeError: If a change is none of these.
            ValueError: If a name is unknown or the result is no valid model (a cycle is printed).
        """
        return DynamicSCM(soft_intervention(self.variables, changes))

    def simulate(
        self,
        n_steps: int,
        rng: np.random.Generator | int,
        batch: int = 1,
        do: Mapping[str, float] | None = None,
    ) -> Trajectory:
        """Run a batch of episodes.

        The noise does not depend on `do`: under one seed, what an intervention does not reach
        stays as it was, bit for bit.

        Args:
            n_steps: Number of steps after the initial state, at least 1.
            rng: Generator or seed.
            batch: Number of episodes, at least 1.
            do: Variables that are set in every step after the initial state, value by name.

        Returns:
            The trajectory.

        Raises:
            TypeError: If an argument has the wrong type.
            ValueError: If a number is below 1, `do` is bad or sets a context, or a value is not
                finite (the variable is named).
        """
        n_steps, batch = as_count(n_steps, "n_steps"), as_count(batch, "batch")
        generator = as_generator(rng)
        mask = np.zeros((n_steps, self.n, batch), dtype=np.bool_)
        value = np.zeros((n_steps, self.n, batch))
        if do is not None:
            mask[:], value[:] = self.program.constant_do(do, batch)
            self._refuse_contexts(mask[0])
        noise = np.empty((n_steps + 1, self.n, batch))
        for t in range(n_steps + 1):
            noise[t] = self.program.sample_noise(generator, batch)
        noise[1:, self.contexts] = 0.0
        return self._run(noise, mask, value)

    def abduct(
        self,
        values: ArrayLike,
        do_mask: ArrayLike | None = None,
        rng: np.random.Generator | int | None = None,
    ) -> FloatArray:
        """Recover the noise of a batch of episodes; exact where noise is additive.

        A variable whose noise is not (`Categorical`) gets a noise that gives its value: the middle
        of those that do, or, if `rng` is given, a draw from the posterior. A variable that was set
        says nothing about its noise. There the noise is its median, or a draw from its
        distribution, which is then the posterior.

        Args:
            values: float64 of shape (T + 1, batch, n), from the initial state on.
            do_mask: bool of shape (T, batch, n), where variables were set; None for nowhere.
            rng: Generator or seed for noise that the values do not fix.

        Returns:
            float64 of shape (T + 1, batch, n).

        Raises:
            TypeError: If `rng` is neither.
            ValueError: If a shape is wrong, `values` is not finite, or no noise explains a value
                (the variable is named).
        """
        states = self._blocks(values, "values")
        if not np.isfinite(states).all():
            raise ValueError(
                f"values must be finite, step {int(np.argwhere(~np.isfinite(states))[0, 0])} is not"
            )
        generator = None if rng is None else as_generator(rng)
        mask = np.zeros((len(states) - 1, *states.shape[1:]), dtype=np.bool_)
        if do_mask is not None:
            mask = self._masks(do_mask, mask.shape)
        noise = np.empty_like(states)
        noise[0] = self.program.residuals(states[0], np.zeros_like(states[0]), generator)
        noise[0] += self.program.start_noise(states[0])
        for t in range(1, len(states)):
            set_here = mask[t - 1]
            noise[t] = self.program.residuals(states[t], states[t - 1], generator, set_here)
            if set_here.any():
                np.copyto(noise[t], self._prior(states.shape[2], generator), where=set_here)
        return noise.transpose(0, 2, 1)

    def counterfactual(
        self,
        trajectory: Trajectory,
        do_mask: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
    ) -> Trajectory:
        """The same episodes, noise and all, under other interventions.

        With the trajectory's own `do_mask` and `do_value` it gives its values bit for bit.

        Args:
            trajectory: From `simulate`, or put together with the noise of `abduct`; its `noise`
                alone is read.
            do_mask: bool of shape (T, batch, n); None sets nothing.
            do_value: float64 of shape (T, batch, n), read where `do_mask` is true.

        Returns:
            The counterfactual trajectory, with the same noise.

        Raises:
            TypeError: If `trajectory` is no `Trajectory`.
            ValueError: If a shape is wrong, a context is set, or one of `do_mask` and `do_value`
                is missing.
        """
        if not isinstance(trajectory, Trajectory):
            raise TypeError(f"trajectory must be a Trajectory, got {type(trajectory).__name__}")
        noise = self._blocks(trajectory.noise, "trajectory.noise")
        shape = (len(noise) - 1, *noise.shape[1:])
        if (do_mask is None) != (do_value is None):
            raise ValueError("do_mask and do_value must be given together")
        if do_mask is None or do_value is None:
            return self._run(noise, np.zeros(shape, dtype=np.bool_), np.zeros(shape))
        mask = self._masks(do_mask, shape)
        value = self._blocks(do_value, "do_value")
        if value.shape != shape:
            raise ValueError(f"do_value must have the shape of do_mask, got {np.shape(do_value)}")
        self._refuse_contexts(np.logical_or.reduce(mask, axis=0))
        return self._run(noise, mask, value)

    def _run(self, noise: FloatArray, mask: BoolArray, value: FloatArray) -> Trajectory:
        """Simulate from arrays of shape (time, n, batch)."""
        values = np.empty_like(noise)
        held = self.program.start(noise[0])
        values[0] = self.program.forward(noise[0], np.zeros_like(noise[0]), held)
        reward = None if self.reward is None else np.empty((len(mask), noise.shape[2]))
        for t in range(len(mask)):
            values[t + 1] = self.program.forward(noise[t + 1], values[t], held, mask[t], value[t])
            if reward is not None:
                reward[t] = self.program.effect(self.n, values[t + 1], values[t], noise.shape[2])
        return Trajectory(
            values=values.transpose(0, 2, 1),
            noise=noise.transpose(0, 2, 1),
            do_mask=mask.transpose(0, 2, 1),
            do_value=value.transpose(0, 2, 1),
            reward=reward,
        )

    def _prior(self, batch: int, generator: np.random.Generator | None) -> FloatArray:
        if generator is not None:
            return self.program.sample_noise(generator, batch)
        return self.program.noise_from_uniforms(np.full((self.n, batch), 0.5))

    def _setting(
        self, do_mask: ArrayLike | None, do_value: ArrayLike | None, shape: tuple[int, ...]
    ) -> tuple[BoolArray, FloatArray]:
        if do_mask is None or do_value is None:
            raise ValueError("do_mask and do_value must be given together")
        mask = np.asarray(do_mask)
        if mask.dtype != np.bool_:
            raise ValueError(f"do_mask must be boolean, got dtype {mask.dtype}")
        if mask.shape != shape[::-1]:
            raise ValueError(f"do_mask must have shape {shape[::-1]}, got {mask.shape}")
        value = as_columns(do_value, self.n, "do_value")
        if value.shape != shape:
            raise ValueError(f"do_value must have {shape[1]} rows, got {value.shape[1]}")
        columns = np.ascontiguousarray(mask.T)
        self._refuse_contexts(columns)
        return columns, value

    def _refuse_contexts(self, mask: BoolArray) -> None:
        """Refuse a mask (n, batch) that sets a context."""
        for i in self.program.held:
            if mask[i].any():
                raise ValueError(
                    f"the context {self.names[i]!r} must not be set inside an episode; "
                    "do() makes a model in which it is fixed"
                )

    def _blocks(self, values: ArrayLike, name: str) -> FloatArray:
        """Turn (time, batch, n) into contiguous (time, n, batch)."""
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 3 or array.shape[2] != self.n or 0 in array.shape:
            raise ValueError(f"{name} must have shape (time, batch, {self.n}), got {array.shape}")
        return np.ascontiguousarray(array.transpose(0, 2, 1))

    def _masks(self, do_mask: ArrayLike, shape: tuple[int, ...]) -> BoolArray:
        """Turn a (T, batch, n) mask into contiguous (T, n, batch), which must be `shape`."""
        mask = np.asarray(do_mask)
        steps, n, batch = shape
        if mask.dtype != np.bool_ or mask.shape != (steps, batch, n):
            raise ValueError(
                f"do_mask must be boolean of shape {(steps, batch, n)}, got dtype {mask.dtype} "
                f"of shape {mask.shape}"
            )
        return np.ascontiguousarray(mask.transpose(0, 2, 1))
