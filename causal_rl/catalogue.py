"""Classes by name, each imported when it is asked for, and built from keyword options."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar


class Checked(Protocol):
    """An object that checks its own options."""

    def check_options(self) -> None:
        """Raise where an option is of a wrong type or out of range."""


T = TypeVar("T", bound=Checked)


class Catalogue(Generic[T]):
    """Names and the classes behind them.

    Args:
        kind: what they are, for messages: ``"graph learner"``.
        entries: module and attribute by name, the default first.
    """

    def __init__(self, kind: str, entries: Mapping[str, tuple[str, str]]) -> None:
        self._kind = kind
        self._entries: dict[str, tuple[str, str] | type[T]] = dict(entries)

    def names(self) -> list[str]:
        """All names, the default first."""
        return list(self._entries)

    def find(self, name: str) -> type[T]:
        """The class behind a name.

        Raises:
            ValueError: unknown name; the nearest known ones are offered.
            TypeError: ``name`` is no string.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {type(name).__name__}")
        if name not in self._entries:
            raise ValueError(f"unknown {self._kind} {name!r}; {_offer(name, self.names())}")
        entry = self._entries[name]
        if isinstance(entry, type):
            return entry
        module, attribute = entry
        found: type[T] = getattr(importlib.import_module(module), attribute)
        return found

    def add(self, cls: type[T], base: type) -> None:
        """Add a class under its attribute ``name``; one added before under it is replaced.

        Args:
            cls: the class.
            base: what it must be a subclass of.

        Raises:
            TypeError: ``cls`` is no such class, or is abstract.
            ValueError: it has no name, or that of a built-in.
        """
        if not (isinstance(cls, type) and issubclass(cls, base)) or inspect.isabstract(cls):
            raise TypeError(
                f"{self._kind}: {cls!r}; allowed: a complete subclass of {base.__name__}"
            )
        name = getattr(cls, "name", None)
        if not isinstance(name, str) or not name:
            raise ValueError(f"{self._kind} {cls.__name__} needs an attribute name, a string")
        if isinstance(self._entries.get(name), tuple):
            raise ValueError(f"{self._kind} {name!r} is a built-in; give yours another name")
        self._entries[name] = cls

    def options(self, name: str) -> dict[str, Any]:
        """The keyword options of a class and their defaults.

        Raises:
            ValueError: unknown name.
            TypeError: ``name`` is no string.
        """
        return signature_options(self.find(name))

    def make(self, name: str, options: Mapping[str, Any]) -> T:
        """Build an object and let it check its options.

        Raises:
            ValueError: unknown name or option (the nearest are offered), or a value out of range.
            TypeError: an option of the wrong type.
        """
        cls = self.find(name)
        known = list(signature_options(cls))
        for option in options:
            if option not in known:
                raise ValueError(
                    f"{self._kind} {name!r} has no option {option!r}; {_offer(option, known)}"
                )
        made = cls(**options)
        made.check_options()
        return made


def signature_options(cls: type) -> dict[str, Any]:
    """The keyword options of a class's constructor and their defaults.

    A constructor that takes ``**options`` hands them to that of its base, whose options follow.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        _, *parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def _offer(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(name) for name in near)}?"
    return f"known: {', '.join(known)}"
