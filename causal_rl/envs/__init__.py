"""SCM worlds as Gymnasium environments, scalar and vector, over one specification."""

from causal_rl.envs.counterfactual import Do, counterfactual
from causal_rl.envs.gym_dynamics import (
    GymDynamicsEnv,
    GymTrajectory,
    make_cartpole,
    make_mountain_car,
    make_pendulum,
    random_transitions,
)
from causal_rl.envs.interventions import ActionTables, Interventions
from causal_rl.envs.known_dynamics import GYM_DYNAMICS, KnownDynamics, WeakEdge
from causal_rl.envs.minari_data import export_minari, import_minari
from causal_rl.envs.natural_action import NaturalActionObservation, NaturalActionVectorObservation
from causal_rl.envs.protocols import Protocol, Split, list_protocols, protocol
from causal_rl.envs.recording import Policy, VectorStep, record, vector_step, vector_transitions
from causal_rl.envs.regimes import RegimeSchedule, RegimeSwitch, RegimeSwitchVector
from causal_rl.envs.registry import (
    list_envs,
    make_env,
    make_vector_env,
    register_built_in,
    register_env,
    resolve_spec,
)
from causal_rl.envs.rendering import GraphRenderer
from causal_rl.envs.scalar import SCMEnv
from causal_rl.envs.sensitivity import (
    EdgeStrength,
    SensitivityGraph,
    edge_strengths,
    near_unfaithful,
    perturbation_check,
    sensitivity_graph,
)
from causal_rl.envs.shifts import (
    change_mechanism,
    drop_edge,
    flip_mechanisms,
    hard_intervention,
    randomise,
    scale_noise,
    standard_shifts,
)
from causal_rl.envs.sortability import sortability
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.unseen_graphs import UnseenGraph, family, graph_shifts
from causal_rl.envs.vector import SCMVectorEnv
from causal_rl.envs.world_plot import plot_world
from causal_rl.envs.worlds import (
    BanditOptions,
    BlockOptions,
    ChemicalOptions,
    ChemicalSwitchOptions,
    ConfoundedMDPOptions,
    CueOptions,
    FrontDoorOptions,
    InstrumentOptions,
    MixedOptions,
    ProxyOptions,
    RandomGraphOptions,
    RegimeOptions,
    WhereOptions,
    WorldOptions,
)
from causal_rl.envs.worlds.chemical import object_names
from causal_rl.envs.worlds.chemical_labels import (
    enumerated_one_step_graph,
    local_graph,
    published_label,
)
from causal_rl.envs.worlds.deconfounding import instrument_values
from causal_rl.envs.worlds.enumeration import distribution
from causal_rl.envs.worlds.identification import (
    ExactValues,
    confounded_pairs,
    exact_values,
    possibly_optimal_sets,
    set_values,
)

register_built_in()

__all__ = [
    "GYM_DYNAMICS",
    "ActionTables",
    "BanditOptions",
    "BlockOptions",
    "ChemicalOptions",
    "ChemicalSwitchOptions",
    "ConfoundedMDPOptions",
    "CueOptions",
    "Do",
    "EdgeStrength",
    "ExactValues",
    "FrontDoorOptions",
    "GraphRenderer",
    "GymDynamicsEnv",
    "GymTrajectory",
    "InstrumentOptions",
    "Interventions",
    "KnownDynamics",
    "MixedOptions",
    "NaturalActionObservation",
    "NaturalActionVectorObservation",
    "Policy",
    "Protocol",
    "ProxyOptions",
    "RandomGraphOptions",
    "RegimeOptions",
    "RegimeSchedule",
    "RegimeSwitch",
    "RegimeSwitchVector",
    "SCMEnv",
    "SCMEnvSpec",
    "SCMVectorEnv",
    "SensitivityGraph",
    "Shift",
    "Split",
    "UnseenGraph",
    "VectorStep",
    "WeakEdge",
    "WhereOptions",
    "WorldOptions",
    "change_mechanism",
    "confounded_pairs",
    "counterfactual",
    "distribution",
    "drop_edge",
    "edge_strengths",
    "enumerated_one_step_graph",
    "exact_values",
    "export_minari",
    "family",
    "flip_mechanisms",
    "graph_shifts",
    "hard_intervention",
    "import_minari",
    "instrument_values",
    "list_envs",
    "list_protocols",
    "local_graph",
    "make_cartpole",
    "make_env",
    "make_mountain_car",
    "make_pendulum",
    "make_vector_env",
    "near_unfaithful",
    "object_names",
    "perturbation_check",
    "plot_world",
    "possibly_optimal_sets",
    "protocol",
    "published_label",
    "random_transitions",
    "randomise",
    "record",
    "register_built_in",
    "register_env",
    "resolve_spec",
    "scale_noise",
    "sensitivity_graph",
    "set_values",
    "sortability",
    "standard_shifts",
    "vector_step",
    "vector_transitions",
]
