"""ECAM in the models of ``transformers``: :func:`use_ecam`, then ``model(..., ecam_graph=G)``.

The library asks a registry for its attention (``AttentionInterface``) and for the masks that go
with it (``AttentionMaskInterface``); both get an entry "ecam". The graph travels as a keyword of
the forward call: a context variable would be lost when gradient checkpointing computes a layer
again, and the keyword lets gradients reach the graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention.annealing import Annealing
from causal_rl.attention.graph_call import EcamOptions, GraphCall, crop_graph
from causal_rl.attention.modulation import (
    LOG_FLOOR,
    Modulation,
    check_log_floor,
    check_modulation,
)
from causal_rl.errors import import_extra

NAME = "ecam"
"""Name of the attention implementation in the library's registries."""

Model = TypeVar("Model", bound=nn.Module)

_SITE, _STATE = "_ecam_site", "_ecam_state"
_GENERATION = "prepare_inputs_for_generation"
#: Additions to scores that only the library's own kernels know.
_UNKNOWN = ("softcap", "s_aux", "position_bias")


@dataclass(frozen=True, eq=False)
class _Site:
    """What an attention module of the host carries; ``layer`` is None for cross-attention."""

    layer: int | None
    options: EcamOptions


@dataclass(eq=False)
class _State:
    """What a model carries: how to undo :func:`use_ecam`."""

    previous: str
    hooks: list[Any]


def use_ecam(
    model: Model,
    modulation: Modulation = "hard",
    *,
    log_floor: float = LOG_FLOOR,
    anneal: Annealing | None = None,
) -> Model:
    """Let a model of ``transformers`` take a causal graph over its tokens.

    In place. Afterwards ``model(..., ecam_graph=G)`` modulates every self-attention layer by M(G)
    as :func:`~causal_rl.attention.prepare_mask` defines (Eq. 2), on top of the model's own masks:
    what padding or the order in time hides stays hidden. Without ``ecam_graph`` the model is as
    it was. Cross-attention is left as it is. ``G`` is bool, integer or float with ``G[i, j]`` =
    token i causes token j:

    * (n, n): for the whole batch; (B, n, n): one for each row;
    * (B, H, n, n) or (1, H, n, n): one for each head;
    * a list or tuple of these, one for each layer; None in it leaves that layer as it is.

    With a cache n counts the tokens in it, too; ``generate(..., ecam_graph=G)`` takes a graph over
    all tokens that there will be. Saved models hold nothing of this: load as usual and call
    ``use_ecam`` again. A second call on the same model replaces the first one's options.

    Args:
        model: BERT, ViT, GPT-2, Llama or any other encoder or decoder whose attention goes through
            the library's ``AttentionInterface``, with any head.
        modulation: "hard", "log" or "scale".
        log_floor: eps of ``log``, in (0, 1).
        anneal: a schedule of how much of the graph is applied, for pretrained weights; its
            ``step()`` is the caller's to call after each update.

    Returns:
        The same model.

    Raises:
        MissingExtraError: ``transformers`` is not installed.
        TypeError: ``model`` is no model of it, or ``anneal`` no :class:`Annealing`.
        ValueError: its attention does not go through the interface, or it is an encoder-decoder;
            an unknown modulation; ``log_floor`` outside (0, 1).
    """
    modulation = check_modulation(modulation)
    check_log_floor(log_floor)
    if anneal is not None and not isinstance(anneal, Annealing):
        raise TypeError(f"anneal: {type(anneal).__name__}; allowed: an Annealing or None")
    library = import_extra("transformers", extra="transformers")
    if not isinstance(model, library.PreTrainedModel):
        raise TypeError(
            f"model: {type(model).__name__}; allowed: a PreTrainedModel of transformers"
        )
    attentions = _check_model(model)
    remove_ecam(model)

    masks = import_extra("transformers.masking_utils", extra="transformers")
    library.AttentionInterface.register(NAME, ecam_attention)
    library.AttentionMaskInterface.register(NAME, partial(_host_mask, masks.sdpa_mask))
    state = _State(str(model.config._attn_implementation), [])
    model.set_attn_implementation(NAME)

    options = EcamOptions(modulation, log_floor, anneal, sum(not c for _, c in attentions))
    layer = 0
    for module, is_cross in attentions:
        setattr(module, _SITE, _Site(None if is_cross else layer, options))
        layer += not is_cross
    for part in model.modules():
        if isinstance(part, library.PreTrainedModel) and _takes_keywords(part):
            state.hooks.append(part.register_forward_pre_hook(_enter, with_kwargs=True))
            state.hooks.append(part.register_forward_hook(_leave, with_kwargs=True))
            object.__setattr__(part, _SITE, _Site(None, options))
    if hasattr(type(model), _GENERATION):
        prepare = partial(_prepare_generation, model)
        prepare.__signature__ = _with_graph(getattr(type(model), _GENERATION))  # type: ignore[attr-defined]
        object.__setattr__(model, _GENERATION, prepare)
    object.__setattr__(model, _STATE, state)
    return model


def remove_ecam(model: Model) -> Model:
    """Undo :func:`use_ecam`: the model has the attention that it had before, and no hooks.

    Args:
        model: any module; one that never had a graph is left as it is.

    Returns:
        The same model.
    """
    state = model.__dict__.pop(_STATE, None)
    if not isinstance(state, _State):
        return model
    for hook in state.hooks:
        hook.remove()
    for module in model.modules():
        module.__dict__.pop(_SITE, None)
    model.__dict__.pop(_GENERATION, None)
    cast(Any, model).set_attn_implementation(state.previous)
    return model


def ecam_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    ecam_graph: Any = None,
    output_attentions: bool = False,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of one layer of the host, as the library's registry calls it (Eq. 2).

    ``hard`` and ``log`` run on the library's call of PyTorch's fused kernel; ``scale``, and any
    call that wants the weights, compute them.

    Args:
        module: the host's attention module.
        query: (B, H, q, D).
        key: (B, H or fewer, k, D).
        value: as ``key``.
        attention_mask: the host's, (B, 1, q, k), bool or added float; or None.
        dropout: of the weights.
        scaling: of the scores; None for D ** -0.5.
        is_causal: whether no mask means causal; None for what the module says.
        ecam_graph: what the forward call was given.
        output_attentions: whether the weights are wanted.
        **kwargs: other keywords of the library.

    Returns:
        Output (B, q, H, D), and the weights (B, H, q, k) before dropout if wanted, else None.

    Raises:
        ValueError: the graph does not fit, or the host adds to its scores what is not known here.
    """
    site = getattr(module, _SITE, None)
    call = _as_call(ecam_graph, site, query)
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    if attention_mask is None and is_causal and query.shape[2] > 1:
        attention_mask = _causal(query.shape[2], key.shape[2], query.device)
    modulated = None
    if call is not None and site is not None and site.layer is not None:
        modulated = call.modulation(site.layer, attention_mask, query, key)
    multiply, add = (None, attention_mask) if modulated is None else modulated
    if multiply is None and not (output_attentions or (call is not None and call.need_weights)):
        fused = import_extra("transformers.integrations.sdpa_attention", extra="transformers")
        out: Tensor = fused.sdpa_attention_forward(
            module, query, key, value, add,
            dropout=dropout, scaling=scaling, is_causal=False, **kwargs,
        )[0]  # fmt: skip
        return out, None
    for name in _UNKNOWN:
        if kwargs.get(name) is not None:
            raise ValueError(f"model: its attention uses {name}, whose weights are not known here")
    if add is not None and add.dtype == torch.bool:
        add = torch.zeros_like(add, dtype=query.dtype).masked_fill(
            ~add, torch.finfo(query.dtype).min
        )
    return _attend(query, key, value, multiply, add, dropout, scaling)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    multiply: Tensor | None,
    add: Tensor | None,
    dropout: float,
    scaling: float | None,
) -> tuple[Tensor, Tensor]:
    """Compute softmax(A * multiply + add) V and keep the weights."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(-1, -2)) * (
        query.shape[-1] ** -0.5 if scaling is None else scaling
    )
    if multiply is not None:
        scores = scores * multiply
    if add is not None:
        scores = scores + add
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    dropped = functional.dropout(weights, dropout) if dropout else weights
    return (dropped @ value).transpose(1, 2).contiguous(), weights


def _host_mask(make: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """Make the host's bool mask always: one left out for "causal" would let a graph see ahead."""
    kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    return make(*args, **kwargs)


def _causal(q: int, k: int, device: torch.device) -> Tensor:
    """Return (1, 1, q, k): the queries are the last q of k tokens and see none after themselves."""
    return torch.ones(q, k, dtype=torch.bool, device=device).tril(k - q)[None, None]


def _as_call(graph: Any, site: _Site | None, query: Tensor) -> GraphCall | None:
    """Return the prepared graph; prepare it here where no hook did (``forward`` called itself)."""
    if graph is None or isinstance(graph, GraphCall):
        return graph
    if site is None:
        raise ValueError("ecam_graph: given to a model without a graph; allowed: after use_ecam")
    return GraphCall(graph, site.options, dtype=query.dtype, device=query.device)


def _enter(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Check and prepare the graph once, before any layer of the model runs."""
    graph = kwargs.get("ecam_graph")
    if isinstance(graph, GraphCall):  # a model around this one was first
        return None
    wanted = kwargs.get("output_attentions")
    config = cast(Any, module).config
    wanted = bool(getattr(config, "output_attentions", False) if wanted is None else wanted)
    if graph is None and not wanted:
        return None
    cache = _argument(module, args, kwargs, "past_key_values")
    seen = None
    if graph is not None and cache is not None:
        if getattr(cache, "is_compileable", False):
            raise ValueError(
                f"past_key_values: {type(cache).__name__}, of fixed length; allowed with "
                "ecam_graph: a cache that grows (DynamicCache)"
            )
        seen = int(cache.get_seq_length())
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    site: _Site = getattr(module, _SITE)
    call = GraphCall(
        graph, site.options, dtype=like.dtype, device=like.device, seen=seen, need_weights=wanted
    )
    call.door = id(module) if graph is not None else None
    return args, {**kwargs, "ecam_graph": call}


def _leave(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    """Refuse a graph that no layer looked at."""
    call = kwargs.get("ecam_graph")
    if isinstance(call, GraphCall) and call.door == id(module) and not call.used:
        raise ValueError(
            f"ecam_graph: {type(module).__name__} hands it to none of its attention layers; "
            "allowed: models that pass keywords on, such as those of BERT, ViT, GPT-2 and Llama"
        )


def _prepare_generation(
    model: nn.Module, *args: Any, ecam_graph: Any = None, **kwargs: Any
) -> dict[str, Any]:
    """Give each step of ``generate`` the part of the graph between the tokens so far."""
    inputs: dict[str, Any] = getattr(type(model), _GENERATION)(model, *args, **kwargs)
    if ecam_graph is not None:
        cache = inputs.get("past_key_values")
        new = inputs.get("input_ids")
        new = inputs["inputs_embeds"] if new is None else new
        n = new.shape[1] + (0 if cache is None else int(cache.get_seq_length()))
        inputs["ecam_graph"] = crop_graph(ecam_graph, n)
    return inputs


def _check_model(model: nn.Module) -> list[tuple[nn.Module, bool]]:
    """Return the attention modules in order, and whether each is cross-attention."""
    name = type(model).__name__
    if getattr(cast(Any, model).config, "is_encoder_decoder", False):
        raise ValueError(f"model: {name} is an encoder-decoder; allowed: an encoder or a decoder")
    found = list(_attentions(model))
    if not any(not is_cross for _, is_cross in found) or not _takes_keywords(model):
        raise ValueError(
            f"model: {name} does not take its attention from the AttentionInterface of "
            "transformers; allowed: classes that do, such as those of BERT, ViT, GPT-2 and Llama"
        )
    return found


def _attentions(model: nn.Module) -> Iterator[tuple[nn.Module, bool]]:
    """Yield the modules whose forward asks the library's registry, in order of depth."""
    for module in model.modules():
        forward = inspect.unwrap(type(module).forward)
        code = getattr(forward, "__code__", None)
        if code is None or "ALL_ATTENTION_FUNCTIONS" not in code.co_names:
            continue
        crosses = "encoder_hidden_states" in inspect.signature(forward).parameters
        yield module, bool(getattr(module, "is_cross_attention", crosses))


def _takes_keywords(model: nn.Module) -> bool:
    parameters = inspect.signature(type(model).forward).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _with_graph(function: Callable[..., Any]) -> inspect.Signature:
    """Return a method's signature, without self and with ``ecam_graph``, which generate() reads."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())[1:]
    graph = inspect.Parameter("ecam_graph", inspect.Parameter.KEYWORD_ONLY, default=None)
    at = next((k for k, p in enumerate(parameters) if p.kind is p.VAR_KEYWORD), len(parameters))
    return signature.replace(parameters=[*parameters[:at], graph, *parameters[at:]])


def _argument(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    """Return an argument of the forward call, given by name or by place."""
    if name in kwargs or not args:
        return kwargs.get(name)
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    at = names.index(name) if name in names else len(args)
    return args[at] if at < len(args) else None
