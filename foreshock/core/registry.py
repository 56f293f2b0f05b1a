"""Finds the kinds of a stage by reading its folder: a file is a kind, its name is the kind's name."""

import importlib
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


def kinds(package: ModuleType, declaration: str, type_: type[T]) -> Mapping[str, T]:
    """Every kind in ``package``, sorted by name.

    Each module must hold ``declaration`` (for example ``COLLECTOR``) of ``type_`` with its ``kind`` equal to the file's
    name; anything else is our own mistake and fails at once.
    """
    found: dict[str, T] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        value = getattr(loaded, declaration, None)
        assert isinstance(value, type_), f"{loaded.__name__} declares no {declaration} of type {type_.__name__}"
        assert getattr(value, "kind", None) == module.name, (
            f"{loaded.__name__}.{declaration}.kind must be {module.name!r}"
        )
        found[module.name] = value
    return found
