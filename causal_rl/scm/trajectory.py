"""What a dynamic model has done: values, noise, interventions and rewards over time."""

from __future__ import annotations

from dataclasses import dataclass

from causal_rl.scm.arguments import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A batch of episodes of one length, with the noise that made them.

    Attributes:
        values: float64 of shape (T + 1, batch, n); values[0] is the initial state.
        noise: float64 of shape (T + 1, batch, n). A context has noise at the start alone, zeros
            after it.
        do_mask: bool of shape (T, batch, n); do_mask[t] acts on the step to values[t + 1].
        do_value: float64 of shape (T, batch, n).
        reward: float64 of shape (T, batch), or None if the model has no reward.
    """

    values: FloatArray
    noise: FloatArray
    do_mask: BoolArray
    do_value: FloatArray
    reward: FloatArray | None

    @property
    def do(self) -> tuple[BoolArray, FloatArray]:
        """What was done: `do_mask` and `do_value`."""
        return self.do_mask, self.do_value
