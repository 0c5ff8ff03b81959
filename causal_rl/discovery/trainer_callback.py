"""Algorithm 1 as a callback of the Hugging Face Trainer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from causal_rl.devices import device_of
from causal_rl.errors import import_extra
from causal_rl.options import check_integer

if TYPE_CHECKING:
    import torch
    from torch import nn

    from causal_rl.discovery.representation_graph import GraphFromRepresentations

Read = Callable[["torch.Tensor"], "torch.Tensor"]


def trainer_callback(
    learner: GraphFromRepresentations,
    layer: nn.Module,
    *,
    argument: str = "ecam_graph",
    read: Read | None = None,
    batches: int | None = None,
) -> Any:
    """Make a ``transformers.TrainerCallback`` that learns a graph while a model is trained.

    While training runs, every forward call of the model gets the learner's graph as a keyword,
    unless the batch brings one. At the end of the epochs that are due, the training batches are
    gone through once more with the model standing still and without dropout (lines 15 to 25): what
    ``layer`` gives out is observed, the gradients in the graph are added, and the graph is changed.

    Args:
        learner: holds the graph; token i of the model is its variable i.
        layer: the module whose output is observed: the deepest attention layer, as printed; or,
            for tests that can separate anything, one before the first attention.
        argument: keyword by which the model takes a graph.
        read: makes (B, n, d) of the layer's output, for instance by dropping special tokens; the
            output itself, or the first part of it if it is a tuple, if None.
        batches: gone through at most; all if None.

    Returns:
        The callback, for ``Trainer(..., callbacks=[callback])``.

    Raises:
        MissingExtraError: transformers is not installed.
        TypeError: no learner, or a layer that is no module.
        ValueError: fewer than 1 batch.
    """
    from torch import nn

    base = import_extra("transformers", extra="transformers").TrainerCallback
    from causal_rl.discovery.representation_graph import GraphFromRepresentations

    if not isinstance(learner, GraphFromRepresentations):
        raise TypeError(f"learner must be GraphFromRepresentations, not {type(learner).__name__}")
    if not isinstance(layer, nn.Module):
        raise TypeError(f"layer must be a torch module, not {type(layer).__name__}")
    if batches is not None:
        check_integer("batches", batches, least=1)
    made = type("RepresentationGraphCallback", (_Events, base), {})
    return made(learner, layer, argument, read, batches)


class _Events:
    """What the Trainer's events do; mixed into its own base class where that is installed."""

    def __init__(
        self,
        learner: GraphFromRepresentations,
        layer: nn.Module,
        argument: str,
        read: Read | None,
        batches: int | None,
    ) -> None:
        self.learner = learner
        self._layer, self._argument, self._read, self._batches = layer, argument, read, batches
        self._learning = False
        self._hooks: list[Any] = []

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any
    ) -> None:
        """Put the graph into the model's calls."""
        if args.world_size > 1:
            raise ValueError(f"world_size is {args.world_size}; it must be 1 to learn a graph")
        if not any(module is self._layer for module in model.modules()):
            raise ValueError("layer is not a module of the model that is trained")
        self._remove()
        self._hooks = [
            # Before hooks that are there already, as those of `use_ecam`, which read the keyword.
            model.register_forward_pre_hook(self._give_graph, with_kwargs=True, prepend=True),
            self._layer.register_forward_hook(self._observe),
        ]

    def on_epoch_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: nn.Module,
        train_dataloader: Any,
        **_: Any,
    ) -> None:
        """Lines 14 to 36."""
        # The number of batches may not divide into an epoch exactly.
        if not self.learner.due(max(math.floor(state.epoch + 0.5), 1)):
            return
        import torch

        training = model.training
        model.eval()
        self._learning = True
        device = device_of(model)
        try:
            for batch in itertools.islice(train_dataloader, self._batches):
                given = {name: _on(value, device) for name, value in batch.items()}
                with torch.enable_grad():
                    loss = model(**given)["loss"]
                    (gradient,) = torch.autograd.grad(loss, self.learner.graph, allow_unused=True)
                if gradient is None:
                    raise ValueError(
                        "no gradient reached the graph; use modulation 'log' or 'scale', and "
                        f"batches that do not bring {self._argument!r}"
                    )
                self.learner.add_gradient(gradient)
        finally:
            self._learning = False
            model.train(training)
        self.learner.step()

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the graph out again; ``learner.graph`` is there to call the model with."""
        self._remove()

    def _give_graph(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        graph = self.learner.graph
        if not self._learning:
            graph = graph.detach()
        return args, {self._argument: graph, **kwargs}

    def _observe(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not self._learning:
            return
        tokens = output[0] if isinstance(output, tuple) else output
        self.learner.observe(tokens if self._read is None else self._read(tokens))

    def _remove(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _on(value: Any, device: torch.device) -> Any:
    return value.to(device) if hasattr(value, "to") else value
