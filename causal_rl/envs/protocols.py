"""Protocols of distribution shift: on which worlds to train, and on which to test.

A protocol is read off a world: which of its mechanisms can change, what can be stuck, which other
graphs its family has. ``causal-rl evaluate-agent RUN --shift NAME`` runs the test splits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from causal_rl.envs.regimes import TRAIN, RegimeSchedule
from causal_rl.envs.scalar import check_same_interface
from causal_rl.envs.shifts import (
    causal_edges,
    change_mechanism,
    default_stuck,
    drop_edge,
    hard_intervention,
    reward_causes,
    scale_noise,
)
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.unseen_graphs import UnseenGraph

#: Seeds of episodes, counted from a million times the seed of the run: to train on, and to test on.
TRAIN_EPISODES = range(0, 500_000)
TEST_EPISODES = range(700_000, 1_000_000)

#: A protocol over single variables or edges takes this many at most, the nearest to the reward.
MOST_SPLITS = 16
UNSEEN_GRAPHS = 10
NOISE_LEVELS = (0.5, 2.0, 4.0)


@dataclass(frozen=True)
class Split:
    """One world of a protocol.

    Attributes:
        label: what it is called in tables; unique in its protocol.
        shift: from the world to that of the split, or None for the world as it is.
        schedule: regimes that the world goes through in each episode, or None.
        episodes: seeds of its episodes, see ``TRAIN_EPISODES``.
    """

    label: str
    shift: Shift | None = None
    schedule: RegimeSchedule | None = None
    episodes: range = TEST_EPISODES

    def world(self, spec: SCMEnvSpec) -> SCMEnvSpec:
        """The world of the split; where there is a schedule, that of its regime "train".

        Args:
            spec: the world that the protocol was made for.

        Raises:
            ValueError: the shift cannot be made, or changes variables or actions.
        """
        if self.shift is None:
            return spec
        world = self.shift(spec)
        check_same_interface(spec, world)
        return world.replace(name=f"{spec.name}[{self.label}]")


@dataclass(frozen=True)
class Protocol:
    """Splits to train and to test on, for one world.

    Attributes:
        name: what ``--shift`` takes.
        description: one sentence.
        train: splits to train on; none where the protocol does not apply.
        test: splits to test on, disjoint from those of ``train`` in their worlds and episodes.
        why_not: why it does not apply to this world; empty where it does.
    """

    name: str
    description: str
    train: tuple[Split, ...] = ()
    test: tuple[Split, ...] = ()
    why_not: str = ""

    @property
    def applies(self) -> bool:
        """Whether it has splits for this world."""
        return not self.why_not


def list_protocols(spec: SCMEnvSpec) -> dict[str, Protocol]:
    """Every protocol by name, for a world; some say why they do not apply to it.

    Args:
        spec: the world as it is trained on.
    """
    return {name: protocol(spec, name) for name in PROTOCOLS}


def protocol(spec: SCMEnvSpec, name: str) -> Protocol:
    """One protocol, for a world.

    Where the world has a shift of its own by that name, the name means the shift, and the protocol
    does not apply.

    Args:
        spec: the world as it is trained on.
        name: of the protocol.

    Raises:
        ValueError: no such protocol; those there are are named.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol {name!r} is unknown; known: {', '.join(PROTOCOLS)}")
    make = PROTOCOLS[name]
    description = (make.__doc__ or "").strip().splitlines()[0]
    try:
        if name in spec.shifts:
            raise ValueError(f"world {spec.name!r} has a shift of that name")
        test = make(spec)
    except ValueError as error:
        return Protocol(name, description, why_not=str(error))
    as_trained = Split("as trained on", episodes=TRAIN_EPISODES)
    return Protocol(name, description, (as_trained,), tuple(test))


def _cue_flip(spec: SCMEnvSpec) -> list[Split]:
    """The cues turn their sign, or go their own way."""
    found = [name for name in ("flip", "randomise") if name in spec.shifts]
    if not found:
        raise ValueError(f"world {spec.name!r} has no shift flip or randomise")
    return [Split(name, spec.shifts[name]) for name in found]


def _mechanisms(spec: SCMEnvSpec) -> list[Split]:
    """One mechanism changes, each cause of the reward in its turn."""
    splits = [
        Split(f"mechanism of {name}", partial(change_mechanism, name=name))
        for name in reward_causes(spec)
    ]
    return _possible(spec, splits, "no cause of the reward has a mechanism that can change")


def _noise_levels(spec: SCMEnvSpec) -> list[Split]:
    """The noise of all variables is half, double and four times as wide."""
    pairs = zip(spec.scm.variables, scale_noise(spec).scm.variables, strict=True)
    if all(a.noise == b.noise and a.mechanism is b.mechanism for a, b in pairs):
        raise ValueError(f"world {spec.name!r} has no noise whose scale is known")
    return [Split(f"noise x {f:g}", partial(scale_noise, factor=f)) for f in NOISE_LEVELS]


def _hard_interventions(spec: SCMEnvSpec) -> list[Split]:
    """One variable is stuck, each in its turn, causes of the reward and others."""
    causes = reward_causes(spec)
    reward = spec.scm.reward
    read = () if reward is None else (*reward.parents, *reward.lagged_parents)
    others = [
        v.name
        for v in spec.scm.variables
        if v.kind not in ("context", "reward") and v.name not in causes
    ]
    # Where what the reward reads is stuck there is nothing to be gained; unless there is no more.
    names = [name for name in causes if name not in read]
    splits = [
        Split(
            f"{name} stuck ({'cause' if name in causes else 'other'})",
            partial(hard_intervention, values=default_stuck(spec, name)),
        )
        for name in [*names, *others] or list(causes)
    ]
    return _possible(spec, splits, "no variable can be stuck")


def _edges(spec: SCMEnvSpec) -> list[Split]:
    """One edge on the way to the reward is gone, each in its turn."""
    splits = [
        Split(f"without {parent} -> {child}", partial(drop_edge, parent=parent, child=child))
        for parent, child in causal_edges(spec)
    ]
    return _possible(spec, splits, "no edge on the way to the reward can be dropped")


def _unseen_graphs(spec: SCMEnvSpec) -> list[Split]:
    """Other graphs of the family, with the same variables and actions."""
    shifts = [shift for shift in spec.shifts.values() if isinstance(shift, UnseenGraph)]
    if not shifts:
        raise ValueError(f"world {spec.name!r} has no shift to unseen graphs")
    seeds = shifts[0].unseen_seeds(spec, UNSEEN_GRAPHS)
    return [Split(f"graph {seed}", UnseenGraph(shifts[0].family, seed)) for seed in seeds]


def _regimes(spec: SCMEnvSpec) -> list[Split]:
    """The world changes a third into each episode and back after two thirds, for every shift."""
    first, second = spec.horizon // 3, 2 * spec.horizon // 3
    if first < 1 or second <= first:
        raise ValueError(f"world {spec.name!r} has episodes of {spec.horizon} steps, too short")
    splits = []
    for name in spec.shifts:
        if name != TRAIN:
            schedule = RegimeSchedule(((first, name), (second, TRAIN)))
            splits.append(Split(f"{name}, steps {first + 1}-{second}", schedule=schedule))
    return _possible(spec, splits, "the world has no shift")


def _every_shift(spec: SCMEnvSpec) -> list[Split]:
    """Every shift of the world by name."""
    splits = [Split(name, shift) for name, shift in spec.shifts.items()]
    return _possible(spec, splits, "the world has no shift")


#: From a world to the test splits of each protocol; a ValueError says why there are none.
PROTOCOLS: dict[str, Callable[[SCMEnvSpec], list[Split]]] = {
    "cue-flip": _cue_flip,
    "mechanisms": _mechanisms,
    "noise-levels": _noise_levels,
    "hard-interventions": _hard_interventions,
    "edges": _edges,
    "unseen-graphs": _unseen_graphs,
    "regimes": _regimes,
    "every-shift": _every_shift,
}


def _possible(spec: SCMEnvSpec, splits: list[Split], otherwise: str) -> list[Split]:
    """Those splits, ``MOST_SPLITS`` at most, whose worlds can be made."""
    made = []
    for split in splits:
        try:
            split.world(spec)
            if split.schedule is not None:
                split.schedule.worlds(spec)
        except ValueError:
            continue
        made.append(split)
        if len(made) == MOST_SPLITS:
            break
    if not made:
        raise ValueError(f"world {spec.name!r}: {otherwise}")
    return made
