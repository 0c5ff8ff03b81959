"""A second device for tests on machines that have one: the CPU under another name.

Inside `other_device()` what is put on ``OTHER`` computes as on the CPU, and refuses, as an
accelerator does, to meet a tensor of the CPU (numbers and indices aside) or to become an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

#: "meta" is a name that torch lets go through all doors; no tensor is without data here.
OTHER = torch.device("meta")

_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
_INDEXED = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
    torch.ops.aten._index_put_impl_.default,
}


class _Elsewhere(torch.Tensor):
    """A tensor on ``OTHER``; its data lie in ``inner``, on the CPU."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _Elsewhere:
        made: _Elsewhere = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=OTHER,
            requires_grad=False,
        )
        made.inner = inner
        return made

    def tolist(self) -> Any:
        """As an accelerator does, which `numpy` is not: it copies."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        target = kwargs.get("device")
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        if func not in _COPIES:
            met = tree_flatten((args[:1], {}) if func in _INDEXED else (args, kwargs))[0]
            for each in met:
                if isinstance(each, torch.Tensor) and not isinstance(each, cls) and each.dim():
                    raise RuntimeError(f"{func} meets tensors of {OTHER} and of {each.device}")
        # A list as an index becomes a tensor behind the back of this class, and has no data.
        for each in tree_flatten((args, kwargs))[0]:
            if isinstance(each, torch.Tensor) and not isinstance(each, cls) and each.is_meta:
                raise RuntimeError(f"{func} meets a tensor without data")
        out = func(*tree_map(_inner, args), **tree_map(_inner, kwargs))
        if target is not None and torch.device(target) != OTHER:
            return out
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_outer, out))


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _Elsewhere) else value


def _outer(value: Any) -> Any:
    plain = isinstance(value, torch.Tensor) and not isinstance(value, _Elsewhere)
    return _Elsewhere(value) if plain else value


class _Mode(TorchDispatchMode):
    """Tensors that are made on ``OTHER``, or moved there from the CPU, are wrapped."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if any(issubclass(kind, _Elsewhere) for kind in types):
            return func(*args, **kwargs)
        if kwargs.get("device") == OTHER:
            kwargs["device"] = torch.device("cpu")
            return tree_map(_outer, func(*args, **kwargs))
        return func(*args, **kwargs)


@contextmanager
def other_device() -> Iterator[torch.device]:
    """The device; it is there inside alone."""
    with _Mode():
        yield OTHER


def on_both(work: Callable[[torch.device], NDArray[np.floating]]) -> None:
    """``work`` gives the same numbers on both devices."""
    here = work(torch.device("cpu"))
    with other_device() as device:
        there = work(device)
    np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)
