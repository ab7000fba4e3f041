"""The algorithms this server can evaluate: one function each, under Earth Engine's name.

A function's parameters are named as Earth Engine's arguments (with a `_` after a Python keyword: `from_`). Types,
defaults and which arguments may be left out come from the signature; the function gets values of the declared types.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from eelocal.errors import IMPOSSIBLE, EarthEngineError
from eelocal.evaluation import current
from eelocal.limits import check_size
from eelocal.promote import promote
from eelocal.signatures import Argument, Signature, signatures

F = TypeVar("F", bound=Callable[..., Any])
Thunk = Callable[[], Any]


@dataclass(frozen=True)
class Algorithm:
    """An implemented algorithm.

    Attributes:
        signature: Earth Engine's own.
        function: what computes it.
        lazy: the function gets functions without arguments instead of values (for `If`).
        keeps: arguments one of which the result takes its time and place from: the result's time is that of the
            argument or missing, and it lies inside the argument. Lets searches pass through `map`.
        sets: the argument that names a property which the result gets anew, if there is one.
    """

    signature: Signature
    function: Callable[..., Any]
    lazy: bool = False
    keeps: tuple[str, ...] = ()
    sets: str | None = None

    def call(self, thunks: Mapping[str, Thunk]) -> Any:
        """The result for arguments not yet evaluated.

        Raises:
            EarthEngineError: with the algorithm's name, for a wrong argument or a failed evaluation.
            Aborted: it took too long or needs too much memory.
        """
        current().check_time()
        name = self.signature.name
        unknown = [key for key in thunks if key not in self.signature.names]
        if unknown:
            allowed = ", ".join(self.signature.names)
            raise EarthEngineError(f"Unrecognized argument '{unknown[0]}'. Arguments are: [{allowed}].").at(name)
        arguments = {parameter(a.name): self._argument(a, thunks.get(a.name)) for a in self.signature.arguments}
        try:
            result = self.function(**arguments)
            check_size(result)
            return result
        except EarthEngineError as exc:
            raise exc.at(name) from exc
        except IMPOSSIBLE as exc:
            # Values of the right type can still be impossible: infinite coordinates, lists of lists as keys.
            raise EarthEngineError(f"Invalid value: {exc}.").at(name) from exc

    def _argument(self, argument: Argument, thunk: Thunk | None) -> Any:
        if self.lazy:
            return thunk or (lambda: argument.default)
        value = thunk() if thunk else None
        if value is None:
            value = argument.default
        if value is None:
            if not argument.optional:
                raise EarthEngineError(f"Parameter '{argument.name}' is required and may not be null.").at(
                    self.signature.name
                )
            return None
        return promote(value, argument.type, f"{self.signature.name}, argument '{argument.name}'")


_REGISTRY: dict[str, Algorithm] = {}


def algorithm(
    *names: str, lazy: bool = False, keeps: str | tuple[str, ...] = (), sets: str | None = None
) -> Callable[[F], F]:
    """Registers a function as one algorithm, or as several that are the same under other names."""

    def register(function: F) -> F:
        for name in names:
            add(name, function, lazy=lazy, keeps=(keeps,) if isinstance(keeps, str) else keeps, sets=sets)
        return function

    return register


def add(name: str, function: Callable[..., Any], **options: Any) -> None:
    """Registers one function; its parameters must be the signature's arguments."""
    signature = signatures().get(name)
    if signature is None:
        raise ValueError(f"{name} is not an algorithm of Earth Engine.")
    if name in _REGISTRY:
        raise ValueError(f"{name} is registered twice.")
    expected = {parameter(n) for n in signature.names}
    actual = set(inspect.signature(function).parameters)
    if expected != actual:
        raise ValueError(f"{name} must have the parameters {sorted(expected)}, not {sorted(actual)}.")
    _REGISTRY[name] = Algorithm(signature, function, **options)


def parameter(name: str) -> str:
    """The Python name of an argument."""
    return f"{name}_" if keyword.iskeyword(name) else name


@cache
def registry() -> Mapping[str, Algorithm]:
    """All implemented algorithms by name."""
    import eelocal.algorithms  # noqa: F401, PLC0415  - its modules register themselves and import this one

    return _REGISTRY


def find(name: str) -> Algorithm:
    """The algorithm of that name; 400 if Earth Engine has none, or has one that is not here."""
    found = registry().get(name)
    if found is not None:
        return found
    if name in signatures():
        raise EarthEngineError(f"Algorithm '{name}' exists in Earth Engine but is not implemented by eelocal.")
    raise EarthEngineError(f"Unknown algorithm '{name}': Earth Engine has none of that name.")
