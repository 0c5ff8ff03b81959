"""A dynamic SCM compiled to torch: the numbers of the NumPy simulator on any torch device.

The uniforms are those of `keyed_uniform`, bit for bit; what is made of them differs by rounding,
as sums and transcendental functions are not the same to the last bit in the two libraries. Tensors
are (n, batch), one contiguous row a variable. Nothing here waits for the device, but `check`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from causal_rl.scm.arguments import FloatArray
from causal_rl.scm.dynamic import DynamicSCM
from causal_rl.scm.mechanisms import Constant
from causal_rl.scm.noise import Noise
from causal_rl.scm.program import as_slice, noise_groups
from causal_rl.scm.torch_layers import TorchLayer, chunks, squashed_form
from causal_rl.scm.torch_mechanisms import TorchMechanism, to_torch
from causal_rl.scm.torch_noise import TorchQuantile, noise_to_torch, uniform_at_torch
from causal_rl.scm.variables import Variable

# Column, or n for the reward; its mechanism; rows to read, from n on the step before's; additive.
_Equation = tuple[int, TorchMechanism, tuple[int, ...], bool]

_CHECK_STEPS, _CHECK_ROWS = 3, 128


class _Alone:
    """A variable that is evaluated by itself; called as a `TorchLayer` is."""

    def __init__(
        self, i: int, respond: TorchMechanism, parents: tuple[int, ...], additive: bool
    ) -> None:
        self.columns = (i,)
        self._respond, self._parents, self._additive = respond, parents, additive

    def __call__(self, rows: Sequence[Tensor | None], noise: Tensor) -> Tensor:
        columns = [row for j in self._parents if (row := rows[j]) is not None]
        value = self._respond(columns, noise[0])
        return (value + noise[0] if self._additive else value)[None]


class TorchProgram:
    """The structural equations of a dynamic model on a torch device.

    Columns are those of the model, (n, batch) tensors. Gradients flow through `forward` and
    `reward` wherever the mechanisms have them.

    Attributes:
        scm: The model.
        n: Number of columns.
        device: Where the parameters are.
        dtype: Of values and noise; noise is drawn in float64 and then rounded to it.
    """

    def __init__(
        self,
        scm: DynamicSCM,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        """Translate every mechanism and noise.

        Args:
            scm: The model.
            device: A device that is there and has float64.
            dtype: torch.float64 or torch.float32.

        Raises:
            TypeError: If `scm` is no `DynamicSCM`, or `device` or `dtype` none.
            ValueError: If the device is not there, the dtype is another, or a mechanism or noise
                has no torch version; the variable is named.
        """
        if not isinstance(scm, DynamicSCM):
            raise TypeError(f"scm must be a DynamicSCM, got {type(scm).__name__}")
        self.scm = scm
        self.n = scm.n
        self.device = as_device(device)
        self.dtype = as_float_dtype(dtype)
        self._held = tuple(int(i) for i in scm.contexts)
        self._equations = tuple(self._equation(i) for i in scm.order if i not in self._held)
        self._schedule = self._levels()
        self._reward = None if scm.reward is None else self._equation(scm.n)
        self._start = {i: _constant(scm.variables[i]) for i in self._held}
        self._noises = self._noise_groups()

    def noise(self, key: Tensor, step: Tensor) -> Tensor:
        """The noise of one step of every row.

        Args:
            key: int64 of shape (batch,) from `episode_key_torch`.
            step: int64 of shape (batch,).

        Returns:
            Of shape (n, batch).
        """
        return self.noise_from_uniforms(uniform_at_torch(key, step, self.n))

    def noise_from_uniforms(self, uniforms: Tensor) -> Tensor:
        """`DynamicSCM.noise_from_uniforms` on tensors.

        Args:
            uniforms: float64 of shape (n, batch), in (0, 1).

        Returns:
            Of shape (n, batch), of the program's dtype.
        """
        if len(self._noises) == 1:
            quantile, _, scale = self._noises[0]
            return (quantile(uniforms) * scale).to(self.dtype)
        noise = torch.empty_like(uniforms, dtype=self.dtype)
        for quantile, rows, scale in self._noises:
            noise[rows] = (quantile(uniforms[rows]) * scale).to(self.dtype)
        return noise

    def initial(self, noise: Tensor) -> Tensor:
        """The first state of an episode; see `DynamicSCM.initial`.

        Args:
            noise: Of shape (n, batch).

        Returns:
            Of shape (n, batch).
        """
        held = noise.clone()
        for i, constant in self._start.items():
            held[i] += constant
        return self.forward(torch.zeros_like(noise), noise, held)

    def forward(
        self,
        previous: Tensor,
        noise: Tensor,
        held: Tensor | None = None,
        do_mask: Tensor | None = None,
        do_value: Tensor | None = None,
    ) -> Tensor:
        """Evaluate every column once, causes before effects; see `DynamicSCM.step`.

        Nothing is checked: a value that is not finite goes on as it is.

        Args:
            previous: Of shape (n, batch), the state before.
            noise: Of shape (n, batch); that of contexts is not read.
            held: Of shape (n, batch), whose context rows are taken; `previous` if None.
            do_mask: bool of shape (n, batch), where to take `do_value` in place of mechanism and
                noise; None sets nothing. Contexts are never set.
            do_value: Of shape (n, batch).

        Returns:
            Of shape (n, batch).
        """
        source = previous if held is None else held
        rows: list[Tensor | None] = [None] * self.n
        rows += previous.unbind()
        for i in self._held:
            rows[i] = source[i]
        for places, layer in self._schedule:
            value = layer(rows, noise[places])
            if do_mask is not None and do_value is not None:
                value = torch.where(do_mask[places], do_value[places], value)
            for i, row in zip(layer.columns, value.unbind(), strict=True):
                rows[i] = row
        return torch.stack([row for row in rows[: self.n] if row is not None])

    def reward(self, previous: Tensor, current: Tensor) -> Tensor:
        """The reward of a step; see `DynamicSCM.reward_value`.

        Args:
            previous: Of shape (n, batch), the state before, for lagged parents.
            current: Of shape (n, batch), the state after.

        Returns:
            Of shape (batch,).

        Raises:
            ValueError: If the model has no reward.
        """
        if self._reward is None:
            raise ValueError("this model has no reward; give one Variable of kind 'reward'")
        _, respond, parents, _ = self._reward
        columns = [current[j] if j < self.n else previous[j - self.n] for j in parents]
        return respond(columns, current[0])

    def check(self) -> None:
        """Compare every mechanism with its NumPy original on a few simulated steps.

        This is for torch versions that were registered; it waits for the device.

        Raises:
            ValueError: If a torch version fails, returns no tensor (batch,) of the dtype on the
                device, or other values in more than one row of a hundred (a few may: a step at
                which a discontinuous function jumps need not be the same to the last bit); the
                variable is named.
        """
        trajectory = self.scm.simulate(_CHECK_STEPS, rng=0, batch=_CHECK_ROWS)
        state = trajectory.values.transpose(0, 2, 1)
        drawn = trajectory.noise.transpose(0, 2, 1)
        equations = self._equations if self._reward is None else (*self._equations, self._reward)
        for t in range(1, len(state)):
            for equation in equations:
                self._compare(equation, [*state[t], *state[t - 1]], drawn[t])
            with torch.no_grad():
                got = self.forward(self._tensor(state[t - 1]), self._tensor(drawn[t]))
            for i in self.scm.order:
                self._agree(self.scm.names[i], got[i], state[t][i])

    def _compare(self, equation: _Equation, rows: list[FloatArray], drawn: FloatArray) -> None:
        i, respond, parents, _ = equation
        name = self.scm.variables[i].name
        columns = [np.ascontiguousarray(rows[j]) for j in parents]
        noise = np.ascontiguousarray(drawn[i]) if i < self.n else np.zeros(_CHECK_ROWS)
        mechanism = self.scm.variables[i].function
        if mechanism.additive:
            wanted = mechanism.evaluate(columns, len(noise))
        else:
            wanted = mechanism.respond(columns, noise, len(noise))
        try:
            got = respond([self._tensor(column) for column in columns], self._tensor(noise))
        except Exception as error:
            raise ValueError(f"variable {name!r}: its torch version failed: {error}") from error
        if (
            not isinstance(got, Tensor)
            or (got.shape, got.dtype) != (noise.shape, self.dtype)
            or got.device.type != self.device.type
        ):
            shown = f"{got.dtype} {tuple(got.shape)}" if isinstance(got, Tensor) else repr(got)
            raise ValueError(
                f"variable {name!r}: its torch version must return a {self.dtype} tensor "
                f"{noise.shape} on {self.device}, got {shown}"
            )
        self._agree(name, got, wanted)

    def _agree(self, name: str, got: Tensor, wanted: FloatArray) -> None:
        tolerance = 1e-6 if self.dtype is torch.float64 else 1e-3
        values = got.detach().cpu().numpy()
        off = ~np.isclose(values, wanted, rtol=tolerance, atol=tolerance)
        if off.mean() > 0.01:
            raise ValueError(
                f"variable {name!r}: its torch version returns {values[off.argmax()]} where the "
                f"NumPy one returns {wanted[off.argmax()]}"
            )

    def _like(self) -> Tensor:
        return torch.empty(0, dtype=self.dtype, device=self.device)

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def _equation(self, i: int) -> _Equation:
        variable = self.scm.variables[i]
        names = self.scm.names
        here = [names.index(p) for p in variable.parents]
        before = [self.n + names.index(p) for p in variable.lagged_parents]
        try:
            respond = to_torch(variable.function, self._like())
        except ValueError as error:
            raise ValueError(f"variable {variable.name!r}: {error}") from None
        return i, respond, (*here, *before), variable.function.additive

    def _levels(self) -> tuple[tuple[slice | Tensor, TorchLayer | _Alone], ...]:
        """What to evaluate, in order; columns of one level do not cause each other."""
        parents = {i: read for i, _, read, _ in self._equations}
        level = dict.fromkeys(self._held, 0)
        for i, read in parents.items():
            level[i] = 1 + max((level[j] for j in read if j < self.n), default=0)
        forms = {i: squashed_form(self.scm.variables[i].function) for i in parents}
        schedule: list[TorchLayer | _Alone] = []
        for depth in sorted(set(level.values())):
            here = [equation for equation in self._equations if level[equation[0]] == depth]
            schedule += [_Alone(*equation) for equation in here if forms[equation[0]] is None]
            # Sorted, so that the rows of a layer are more often a slice.
            together = sorted(equation[0] for equation in here if forms[equation[0]] is not None)
            for chunk in chunks(together, parents):
                members = {i: form for i in chunk if (form := forms[i]) is not None}
                schedule.append(TorchLayer(members, parents, self._like()))
        return tuple((self._places(list(part.columns)), part) for part in schedule)

    def _noise_groups(self) -> list[tuple[TorchQuantile, slice | Tensor, Tensor]]:
        """Columns whose noises differ in scale alone: one call of the quantile serves them all."""
        return [
            (
                self._quantile(noise, rows[0]),
                self._places(rows),
                torch.tensor(factors, dtype=torch.float64, device=self.device)[:, None],
            )
            for noise, rows, factors in noise_groups(
                [variable.noise for variable in self.scm.variables[: self.n]]
            )
        ]

    def _places(self, rows: list[int]) -> slice | Tensor:
        """Ascending rows as a slice where they have no gap: it costs no copy."""
        places = as_slice(rows)
        return places if isinstance(places, slice) else torch.tensor(places, device=self.device)

    def _quantile(self, noise: Noise, i: int) -> TorchQuantile:
        try:
            return noise_to_torch(noise)
        except ValueError as error:
            raise ValueError(f"variable {self.scm.names[i]!r}: {error}") from None


def as_device(device: object) -> torch.device:
    """A device that is there, holds numbers and has float64, in which noise is drawn.

    Raises:
        TypeError: If it is neither a string nor a `torch.device`.
        ValueError: If torch does not know it, or a number cannot be put on it and read back.
    """
    if not isinstance(device, str | torch.device):
        raise TypeError(f"device must be a string or a torch.device, got {device!r}")
    try:
        found = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=found).item()
    except Exception as error:  # each backend has its own
        reason = str(error).strip().split("\n")[0]
        raise ValueError(
            f"device must be one that is there and has float64, got {str(device)!r}: {reason}"
        ) from None
    return found


def as_float_dtype(dtype: object) -> torch.dtype:
    """torch.float64 or torch.float32.

    Raises:
        TypeError: If it is no `torch.dtype`.
        ValueError: If it is another one.
    """
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype, got {dtype!r}")
    if dtype not in (torch.float64, torch.float32):
        raise ValueError(f"dtype must be torch.float64 or torch.float32, got {dtype}")
    return dtype


def _constant(variable: Variable) -> float:
    """The mechanism of a context, which is a constant."""
    return variable.function.value if isinstance(variable.function, Constant) else 0.0
