"""How much of a graph pretrained weights are given, step by step."""

from __future__ import annotations

from collections.abc import Mapping


class Annealing:
    """A share s of the graph that grows from 0 to 1, linearly.

    After t calls of :meth:`step`, s = min(1, max(0, (t - delay) / steps)) and attention is
    modulated by 1 - s + s M in place of M: all ones, the attention that the weights were trained
    with, at first, and the graph itself at the end. See ``share`` of
    :func:`~causal_rl.attention.prepare_mask` for what this means in each modulation.

    Args:
        steps: calls of :meth:`step` from all ones to the graph.
        delay: calls before that during which nothing changes.

    Raises:
        TypeError: ``steps`` or ``delay`` is no integer.
        ValueError: ``steps`` below 1 or ``delay`` below 0.
    """

    def __init__(self, steps: int, *, delay: int = 0) -> None:
        for name, value, least in (("steps", steps, 1), ("delay", delay, 0)):
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{name}: {value!r}; allowed: an integer >= {least}")
            if value < least:
                raise ValueError(f"{name}: {value}; allowed: an integer >= {least}")
        self.steps = steps
        self.delay = delay
        self.taken = 0

    @property
    def share(self) -> float:
        """The share of the graph that is applied now, in [0, 1]."""
        return min(1.0, max(0.0, (self.taken - self.delay) / self.steps))

    def step(self) -> float:
        """Count an update of the weights.

        Returns:
            The share from now on.
        """
        self.taken += 1
        return self.share

    def state_dict(self) -> dict[str, int]:
        """Return what :meth:`load_state_dict` needs to go on from here."""
        return {"steps": self.steps, "delay": self.delay, "taken": self.taken}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a saved state.

        Args:
            state: what :meth:`state_dict` returned.

        Raises:
            ValueError: a key is absent.
        """
        if missing := {"steps", "delay", "taken"} - set(state):
            raise ValueError(f"state: has no {sorted(missing)}; allowed: what state_dict returned")
        self.steps, self.delay = int(state["steps"]), int(state["delay"])
        self.taken = int(state["taken"])

    def __repr__(self) -> str:
        return f"Annealing(steps={self.steps}, delay={self.delay}, share={self.share:g})"
