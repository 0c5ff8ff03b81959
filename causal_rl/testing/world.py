"""What the checks of a world share: the world, its environments, and how a check fails."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Any, ClassVar, NoReturn, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import ArrayLike, NDArray

from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv, resolve_spec


class WorldUnderTest:
    """The hooks and settings that a subclass may change; see `WorldConformance`."""

    world: ClassVar[str | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    seed: ClassVar[int] = 0
    max_steps: ClassVar[int] = 8
    num_envs: ClassVar[int] = 3
    n_points: ClassVar[int] = 64
    allowed_missing: ClassVar[Collection[tuple[str, str, str]]] = ()
    info_keys: ClassVar[Collection[str]] = ("do_target", "do_value")
    max_varsortability_excess: ClassVar[float | None] = None

    def spec(self) -> SCMEnvSpec:
        """The world to check; override it, or set ``world``.

        Raises:
            NotImplementedError: neither was done.
        """
        if self.world is None:
            raise NotImplementedError(
                f"{type(self).__name__} must say which world: override spec(), or set world"
            )
        return resolve_spec(self.world, **self.options)

    def make_env(self, spec: SCMEnvSpec, render_mode: str | None = None) -> SCMEnv:
        """A scalar environment; override it to check a subclass of `SCMEnv`."""
        return SCMEnv(spec, render_mode=render_mode)

    def make_vector_env(
        self,
        spec: SCMEnvSpec,
        num_envs: int,
        autoreset_mode: AutoresetMode = AutoresetMode.SAME_STEP,
    ) -> SCMVectorEnv:
        """A vector environment; override it to check a subclass of `SCMVectorEnv`."""
        return SCMVectorEnv(spec, num_envs, autoreset_mode=autoreset_mode)

    def short(self, spec: SCMEnvSpec) -> SCMEnvSpec:
        """The world with episodes of at most ``max_steps`` steps."""
        return spec.replace(horizon=min(spec.horizon, self.max_steps))

    def plan(self, spec: SCMEnvSpec, steps: int, rows: int = 1) -> NDArray[np.int64]:
        """Random actions, int64 (steps, rows, 2), nothing being done in a quarter of them."""
        rng = np.random.default_rng([self.seed, 1])
        actions = rng.integers(0, spec.action_space().nvec, size=(steps, rows, 2))
        actions[rng.random((steps, rows)) < 0.25] = 0
        return actions.astype(np.int64)


Self = TypeVar("Self", bound=WorldUnderTest)


def check(method: Callable[[Self, SCMEnvSpec], None]) -> Callable[[Self], None]:
    """Make a method that takes the world into a test without arguments.

    Whatever is raised inside becomes an `AssertionError` of one line that begins with the world's
    name, so that a world that breaks down fails a check like one that misbehaves.
    """

    @wraps(method)
    def test(self: Self) -> None:
        try:
            spec = self.spec()
        except Exception as error:
            line = f"{type(error).__name__}: {one_line(error)}"
            raise AssertionError(f"{type(self).__name__}.spec failed with {line}") from error
        if not isinstance(spec, SCMEnvSpec):
            raise AssertionError(
                f"{type(self).__name__}.spec must return an SCMEnvSpec, got {type(spec).__name__}"
            )
        try:
            method(self, spec)
        except AssertionError as error:
            raise AssertionError(f"world {spec.name!r}: {one_line(error)}") from error
        except Exception as error:
            line = f"{type(error).__name__}: {one_line(error)}"
            raise AssertionError(f"world {spec.name!r}: {line}") from error

    # A test runner would take the signature of what is wrapped for this one's.
    del test.__wrapped__
    return test


def fail(message: str) -> NoReturn:
    """Fail a check; not by an assert statement, which Python may be told to leave out."""
    raise AssertionError(message)


def one_line(error: BaseException) -> str:
    """The message of an error without its line breaks."""
    return " ".join(str(error).split())


def check_equal(what: str, got: ArrayLike, wanted: ArrayLike, reference: str) -> None:
    """Fail unless two arrays are equal, bit for bit but for the sign of zero.

    Args:
        what: what is compared, to begin the message with.
        got: any array.
        wanted: what it must equal.
        reference: where ``wanted`` comes from.

    Raises:
        AssertionError: it says where the first difference is.
    """
    own, other = np.asarray(got), np.asarray(wanted)
    if own.shape != other.shape:
        fail(f"{what} has shape {own.shape}, but {other.shape} in {reference}")
    different = np.argwhere(own != other)
    if len(different):
        at = tuple(int(i) for i in different[0])
        place = f" at {list(at)}" if at else ""
        fail(f"{what}{place} is {own[at]!s}, but {other[at]!s} in {reference}")
