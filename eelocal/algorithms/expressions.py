"""Expressions as text for images, numbers and filters."""
# ruff: noqa: N803 - parameters are named as Earth Engine's arguments

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eelocal.algorithms.image_mask import where
from eelocal.bands import select_bands
from eelocal.errors import EarthEngineError
from eelocal.expression import Node, evaluate, parse
from eelocal.promote import constant_image, promote
from eelocal.registry import algorithm, find
from eelocal.signatures import signatures
from eelocal.values.filter import Filter, Query
from eelocal.values.image import Image

_CONSTANTS = {"PI": math.pi, "E": math.e}


@dataclass(frozen=True, eq=False)
class ImageExpression:
    """A parsed expression as a function of images."""

    tree: Node
    names: tuple[str, ...]
    default: str

    def __call__(self, *values: Any) -> Image:
        """The image for images in the order of the names."""
        images = {n: promote(v, "Image", "Image.expression") for n, v in zip(self.names, values, strict=True)}

        def name(identifier: str) -> Any:
            if identifier in images:
                return images[identifier]
            if identifier == "Math":
                return identifier
            raise EarthEngineError(f"Image.parseExpression: Unknown variable '{identifier}'.", located=True)

        def call(function: str, *arguments: Any) -> Any:
            if function == "b":
                return _bands(images[self.default], arguments)
            return _apply("Image", function, [promote(a, "Image", f"Image.{function}") for a in arguments])

        handlers: dict[str, Callable[..., Any]] = {
            "name": name,
            "call": call,
            "member": _member,
            "choose": _choose,
            "number": float,
            "text": str,
        }
        result: Image = promote(evaluate(self.tree, handlers), "Image", "Image.expression")
        return result


@algorithm("Image.parseExpression")
def parse_expression(
    expression: str, argName: str, vars: list[Any], mapFreeVarsToDefaultImageBands: bool
) -> ImageExpression:
    """A function of images for an expression; `b("name")` is a band of the image called `argName`."""
    return ImageExpression(parse(expression), tuple(map(str, vars)), argName)


@algorithm("Number.expression")
def number_expression(expression: str, vars: dict[str, Any] | None) -> Any:
    """The value of an expression of numbers."""
    known = vars or {}

    def name(identifier: str) -> Any:
        if identifier in known:
            return known[identifier]
        if identifier == "Math":
            return _CONSTANTS
        raise EarthEngineError(f"Unknown variable '{identifier}'.")

    def member(value: Any, key: Any) -> Any:
        if isinstance(value, Mapping) and key in value:
            return value[key]
        if isinstance(value, list) and isinstance(key, (int, float)) and 0 <= key < len(value):
            return value[int(key)]
        raise EarthEngineError(f"There is no '{key}'.")

    def choose(condition: Any, yes: Any, no: Any) -> Any:
        return yes if condition else no

    def call(function: str, *arguments: Any) -> Any:
        return _apply("Number", function, list(arguments))

    handlers: dict[str, Callable[..., Any]] = {
        "name": name,
        "call": call,
        "member": member,
        "choose": choose,
        "number": _plain,
        "text": str,
    }
    return evaluate(parse(expression), handlers)


@algorithm("Filter.expression")
def filter_expression(expression: str) -> Filter:
    """A filter for comparisons of properties joined by `and`, `or`, `not`."""
    words = {"and": "&&", "or": "||", "not": "!"}
    text = re.sub(r"\b(and|or|not)\b", lambda found: words[found.group(1).lower()], expression, flags=re.IGNORECASE)
    tree = parse(re.sub(r"(?<![<>=!])=(?!=)", "==", text))
    condition = evaluate(tree, _FILTER_HANDLERS)
    if not isinstance(condition, Filter):
        raise EarthEngineError(f"The expression '{expression[:100]}' is not a condition.")
    return condition


@dataclass(frozen=True)
class _Field:
    name: str


_FLIPPED = {"lt": "gt", "gt": "lt", "lte": "gte", "gte": "lte", "eq": "eq", "neq": "neq"}


def _filter_call(function: str, *parts: Any) -> Any:
    if function in ("and", "or"):
        return find(f"Filter.{function}").call({"filters": lambda: list(parts)})
    if function == "not":
        return find("Filter.not").call({"filter": lambda: parts[0]})
    if function == "negate":
        return -parts[0]
    if function not in _FLIPPED or len(parts) != 2:
        raise EarthEngineError(f"'{function}' cannot be used in a filter expression.")
    left, right = parts
    if not isinstance(left, _Field):
        left, right, function = right, left, _FLIPPED[function]
    if not isinstance(left, _Field):
        return Filter(lambda element: bool(left == right), Query())
    fields = {"rightField": right.name} if isinstance(right, _Field) else {"rightValue": right}
    given = {"leftField": left.name, **fields}
    return find(f"Filter.{function}").call({key: _thunk(value) for key, value in given.items()})


def _filter_member(value: Any, key: Any) -> Any:
    return _Field(f"{value.name}.{key}") if isinstance(value, _Field) else value


def _plain(number: float) -> float:
    return number


_FILTER_HANDLERS: dict[str, Callable[..., Any]] = {
    "name": _Field,
    "number": _plain,
    "text": str,
    "call": _filter_call,
    "member": _filter_member,
}


def _thunk(value: Any) -> Callable[[], Any]:
    return lambda: value


def _bands(image: Image, selectors: tuple[Any, ...]) -> Image:
    plain = [int(s.bands[0].type.min or 0) if isinstance(s, Image) else _index(s) for s in selectors]
    return image.with_bands(select_bands(image, plain)) if selectors else image


def _index(selector: Any) -> Any:
    return int(selector) if isinstance(selector, float) else selector


def _member(value: Any, key: Any) -> Any:
    if value == "Math":
        if key not in _CONSTANTS:
            raise EarthEngineError(f"There is no Math.{key}.")
        return constant_image(_CONSTANTS[key])
    return value.with_bands(select_bands(value, [_index(key)]))


def _choose(condition: Any, yes: Any, no: Any) -> Image:
    test, value, other = (promote(part, "Image", "Image.expression") for part in (condition, yes, no))
    # Bands and place of both branches: where neither input is masked by the choice itself.
    return where(other, test, value)


def _apply(family: str, function: str, values: list[Any]) -> Any:
    if function == "negate":
        return _apply(family, "subtract", [promote(0, family, family), *values])
    if function == "plus":
        return values[0]
    name = f"{family}.{function}"
    if name not in signatures():
        raise EarthEngineError(f"Unknown function '{function}' in the expression.")
    found = find(name)
    return found.call({key: _thunk(value) for key, value in zip(found.signature.names, values, strict=False)})
