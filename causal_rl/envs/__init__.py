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
from causal_rl.envs.recording import Policy, VectorStep, record, vector_step, vector_transitions
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
    flip_mechanisms,
    randomise,
    scale_noise,
    standard_shifts,
)
from causal_rl.envs.sortability import sortability
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.vector import SCMVectorEnv
from causal_rl.envs.world_plot import plot_world
from causal_rl.envs.worlds import (
    BlockOptions,
    CueOptions,
    MixedOptions,
    ProxyOptions,
    RandomGraphOptions,
    WorldOptions,
)

register_built_in()

__all__ = [
    "GYM_DYNAMICS",
    "ActionTables",
    "BlockOptions",
    "CueOptions",
    "Do",
    "EdgeStrength",
    "GraphRenderer",
    "GymDynamicsEnv",
    "GymTrajectory",
    "Interventions",
    "KnownDynamics",
    "MixedOptions",
    "Policy",
    "ProxyOptions",
    "RandomGraphOptions",
    "SCMEnv",
    "SCMEnvSpec",
    "SCMVectorEnv",
    "SensitivityGraph",
    "Shift",
    "VectorStep",
    "WeakEdge",
    "WorldOptions",
    "change_mechanism",
    "counterfactual",
    "edge_strengths",
    "export_minari",
    "flip_mechanisms",
    "import_minari",
    "list_envs",
    "make_cartpole",
    "make_env",
    "make_mountain_car",
    "make_pendulum",
    "make_vector_env",
    "near_unfaithful",
    "perturbation_check",
    "plot_world",
    "random_transitions",
    "randomise",
    "record",
    "register_built_in",
    "register_env",
    "resolve_spec",
    "scale_noise",
    "sensitivity_graph",
    "sortability",
    "standard_shifts",
    "vector_step",
    "vector_transitions",
]
