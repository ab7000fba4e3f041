"""Expressions as text: parsed into a tree by precedence climbing. For images, numbers and filters.

Grammar: https://developers.google.com/earth-engine/guides/image_math#expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eelocal.errors import EarthEngineError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<text>\"[^\"]*\"|'[^']*')|(?P<mark>\*\*|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:().,\[\]])|(?P<end>$))"
)
_MAX_DEPTH = 200
# Operator: (precedence, algorithm without the class).
_BINARY = {
    "||": (1, "or"),
    "&&": (2, "and"),
    "|": (3, "bitwiseOr"),
    "^": (4, "bitwiseXor"),
    "&": (5, "bitwiseAnd"),
    "==": (6, "eq"),
    "!=": (6, "neq"),
    "<": (7, "lt"),
    "<=": (7, "lte"),
    ">": (7, "gt"),
    ">=": (7, "gte"),
    "<<": (8, "leftShift"),
    ">>": (8, "rightShift"),
    "+": (9, "add"),
    "-": (9, "subtract"),
    "*": (10, "multiply"),
    "/": (10, "divide"),
    "%": (10, "mod"),
    "**": (12, "pow"),
}
_UNARY = {"-": "negate", "+": "plus", "!": "not", "~": "bitwiseNot"}
_UNARY_LEVEL = 11


@dataclass(frozen=True)
class Node:
    """A part of an expression: an operator, function, name, number or text, and what it is applied to."""

    kind: str  # call | name | number | text | member | choose
    value: Any
    children: tuple[Node, ...] = ()


def parse(text: str) -> Node:
    """The tree of an expression; 400 with the place of a mistake."""
    if len(text) > 100_000:
        raise EarthEngineError("The expression is too long.")
    parser = _Parser(text)
    tree = parser.ternary(0)
    parser.expect("end", "")
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.kind, self.value = "", ""
        self.advance()

    def advance(self) -> None:
        """Moves to the next token."""
        found = _TOKEN.match(self.text, self.position)
        if found is None or found.lastgroup is None:
            raise self.error()
        self.kind, self.value = found.lastgroup, found.group(found.lastgroup)
        self.position = found.end()

    def error(self) -> EarthEngineError:
        """The mistake at this place."""
        return EarthEngineError(f"Unable to parse the expression at position {self.position}: '{self.text[:200]}'.")

    def at(self, mark: str) -> bool:
        """Whether the token is that mark."""
        return self.kind == "mark" and self.value == mark

    def expect(self, kind: str, value: str) -> None:
        """Moves past a token that must be there."""
        if self.kind != kind or self.value != value:
            raise self.error()
        if kind != "end":
            self.advance()

    def ternary(self, depth: int) -> Node:
        """`condition ? a : b`, or what binds more tightly."""
        if depth > _MAX_DEPTH:
            raise EarthEngineError("The expression is nested too deeply.")
        condition = self.binary(0, depth)
        if not self.at("?"):
            return condition
        self.advance()
        yes = self.ternary(depth + 1)
        self.expect("mark", ":")
        return Node("choose", "?", (condition, yes, self.ternary(depth + 1)))

    def binary(self, level: int, depth: int) -> Node:
        """Operators that bind at least as tightly as a level; `**` from the right."""
        left = self.unary(depth + 1)
        while self.kind == "mark" and self.value in _BINARY and _BINARY[self.value][0] >= level:
            power, name = _BINARY[self.value]
            self.advance()
            right = self.binary(power if name == "pow" else power + 1, depth + 1)
            left = Node("call", name, (left, right))
        return left

    def unary(self, depth: int) -> Node:
        """Signs, then a value and its members."""
        if depth > _MAX_DEPTH:
            raise EarthEngineError("The expression is nested too deeply.")
        if self.kind == "mark" and self.value in _UNARY:
            name = _UNARY[self.value]
            self.advance()
            return Node("call", name, (self.binary(_UNARY_LEVEL, depth + 1),))
        return self.members(self.primary(depth), depth)

    def members(self, node: Node, depth: int) -> Node:
        """`.name` and `[index]` after a value."""
        while self.at(".") or self.at("["):
            bracket = self.value == "["
            self.advance()
            if bracket:
                key = self.ternary(depth + 1)
                self.expect("mark", "]")
            else:
                key = Node("text", self.name())
            node = Node("member", ".", (node, key))
            if self.at("("):
                node = Node("call", str(key.value), (node.children[0], *self.arguments(depth)))
        return node

    def name(self) -> str:
        """A name that must be there."""
        value = self.value
        if self.kind != "name":
            raise self.error()
        self.advance()
        return value

    def primary(self, depth: int) -> Node:
        """A number, text, name, function or a part in brackets."""
        kind, value = self.kind, self.value
        if self.at("("):
            self.advance()
            inner = self.ternary(depth + 1)
            self.expect("mark", ")")
            return inner
        if kind not in ("number", "name", "text"):
            raise self.error()
        self.advance()
        if kind == "number":
            return Node("number", _number(value))
        if kind == "text":
            return Node("text", value[1:-1])
        return Node("call", value, self.arguments(depth)) if self.at("(") else Node("name", value)

    def arguments(self, depth: int) -> tuple[Node, ...]:
        """What is between the brackets of a function."""
        self.expect("mark", "(")
        found: list[Node] = []
        while not self.at(")"):
            found.append(self.ternary(depth + 1))
            if not self.at(")"):
                self.expect("mark", ",")
        self.advance()
        return tuple(found)


def _number(text: str) -> float:
    if text[:2].lower() == "0x":
        return int(text, 16)
    return int(text) if text.isdecimal() else float(text)


def evaluate(node: Node, handlers: Mapping[str, Callable[..., Any]]) -> Any:
    """The value of a tree.

    Args:
        node: the tree.
        handlers: by kind; `call` gets a name and values, `choose` three values, `name`, `number` and `text` the
            literal, `member` a value and a key.
    """
    if not node.children and node.kind != "call":
        return handlers[node.kind](node.value)
    values = [evaluate(child, handlers) for child in node.children]
    if node.kind == "call":
        return handlers["call"](node.value, *values)
    return handlers[node.kind](*values)
