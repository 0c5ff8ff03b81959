"""Errors that several packages raise."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType


class MissingExtraError(ImportError):
    """An optional package is needed and absent.

    Args:
        package: import name of the absent package.
        extra: the extra of ``causal_rl`` that installs it.
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is needed for this; install it with: pip install 'causal_rl[{extra}]'"
        )
        self.package = package
        self.extra = extra


def import_extra(module: str, *, extra: str) -> ModuleType:
    """Import an optional module where it is used.

    Args:
        module: dotted name of the module.
        extra: the extra of ``causal_rl`` that installs it.

    Returns:
        The imported module.

    Raises:
        MissingExtraError: the module's top-level package is not installed.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A package that is there but broken must not be reported as absent.
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise MissingExtraError(package, extra) from error


def require_extra(package: str, *, extra: str) -> None:
    """Refuse at once where an optional package is absent, without the cost of importing it.

    Args:
        package: top-level import name.
        extra: the extra of ``causal_rl`` that installs it.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        found = importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise MissingExtraError(package, extra)
