"""The expression graph of a request: decoded, checked, and evaluated on demand.

Form: https://developers.google.com/earth-engine/reference/rest/v1/Expression. Nodes are inlined; shared nodes and
function bodies are named by keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from eelocal.errors import EarthEngineError
from eelocal.registry import find

MAX_DEPTH = 1200  # nodes inside one another; enough for a loop of a thousand operations
_KINDS = frozenset(
    {
        "constantValue",
        "integerValue",
        "valueReference",
        "argumentReference",
        "functionInvocationValue",
        "functionDefinitionValue",
        "arrayValue",
        "dictionaryValue",
        "bytesValue",
    }
)
_MISSING = object()


@dataclass
class Scope:
    """Arguments of the functions a node is inside of, innermost first."""

    arguments: dict[str, Any]
    parent: Scope | None = None
    memo: dict[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Any:
        """The argument's value."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.arguments:
                return scope.arguments[name]
            scope = scope.parent
        raise EarthEngineError(f"Argument reference '{name}' is not an argument of an enclosing function.")

    def binder(self, names: frozenset[str]) -> Scope:
        """The innermost scope that binds one of the names, or the outermost: where a value may be kept."""
        scope: Scope = self
        while scope.parent is not None and not (scope.arguments.keys() & names):
            scope = scope.parent
        return scope


@dataclass(frozen=True, eq=False)
class Closure:
    """A function of the graph, with the arguments around it."""

    graph: Graph
    definition: dict[str, Any]
    scope: Scope

    @property
    def names(self) -> list[str]:
        """Argument names."""
        return list(self.definition["argumentNames"])

    def __call__(self, *values: Any) -> Any:
        """The result for these arguments; more values than arguments are not used."""
        if len(values) < len(self.names):
            raise EarthEngineError(f"The function needs {len(self.names)} arguments; it was given {len(values)}.")
        inner = Scope(dict(zip(self.names, values, strict=False)), self.scope)
        return self.graph.reference(self.definition["body"], inner)

    def keeps_place(self) -> bool:
        """Whether the result has the time (or none) of the first argument and lies inside it."""
        return bool(self.names) and self.graph.keeps(self.definition["body"], self.names[0])


class Graph:
    """A decoded expression. One thread evaluates it once."""

    def __init__(self, expression: Any) -> None:
        """Checks the whole graph before anything is evaluated; raises a 400 for what cannot be."""
        self.values, self.result = _parts(expression)
        self.free: dict[str, frozenset[str]] = {}
        _Check(self).run()

    def evaluate(self) -> Any:
        """The value of the result."""
        return self.reference(self.result, Scope({}))

    def reference(self, key: str, scope: Scope) -> Any:
        """The value of a named node, computed once for the arguments it depends on."""
        memo = scope.binder(self.free[key]).memo
        value = memo.get(key, _MISSING)
        if value is _MISSING:
            value = memo[key] = self.node(self.values[key], scope)
        return value

    def node(self, node: dict[str, Any], scope: Scope) -> Any:
        """The value of a node."""
        kind = next(iter(node))
        return _EVALUATE[kind](self, node[kind], scope)

    def keeps(self, key: str, argument: str) -> bool:
        """Whether a named node's time and place are those of an argument; see `Algorithm.keeps`."""
        node: dict[str, Any] = self.values[key]
        return self._keeps(node, argument)

    def _keeps(self, node: dict[str, Any], argument: str) -> bool:
        kind = next(iter(node))
        if kind == "argumentReference":
            return bool(node[kind] == argument)
        if kind == "valueReference":
            return self.keeps(node[kind], argument)
        if kind != "functionInvocationValue" or "functionName" not in node[kind]:
            return False
        call = node[kind]
        called = find(call["functionName"])
        given = call.get("arguments", {})
        if called.sets and _names_time(given.get(called.sets, {})):
            return False
        return any(name in given and self._keeps(given[name], argument) for name in called.keeps)


def _names_time(node: dict[str, Any]) -> bool:
    name = node.get("constantValue")
    return not isinstance(name, str) or name in ("system:time_start", "system:time_end", "system:footprint")


def _call(graph: Graph, call: dict[str, Any], scope: Scope) -> Any:
    thunks = {name: (lambda node=node: graph.node(node, scope)) for name, node in call.get("arguments", {}).items()}
    if "functionName" in call:
        return find(call["functionName"]).call(thunks)
    function = graph.reference(call["functionReference"], scope)
    names = getattr(function, "names", None)
    if names is None or not callable(function):
        raise EarthEngineError(f"The value '{call['functionReference']}' is not a function.")
    missing = next((name for name in names if name not in thunks), None)
    if missing is not None:
        raise EarthEngineError(f"The function needs the argument '{missing}'.")
    return function(*[thunks[name]() for name in names])


def _thunk(graph: Graph, node: dict[str, Any], scope: Scope) -> Callable[[], Any]:
    return lambda: graph.node(node, scope)


_EVALUATE: dict[str, Callable[[Graph, Any, Scope], Any]] = {
    "constantValue": lambda graph, value, scope: value,
    "integerValue": lambda graph, value, scope: int(value),
    "bytesValue": lambda graph, value, scope: value,
    "valueReference": lambda graph, key, scope: graph.reference(key, scope),
    "argumentReference": lambda graph, name, scope: scope.find(name),
    "functionInvocationValue": _call,
    "functionDefinitionValue": Closure,
    "arrayValue": lambda graph, body, scope: [graph.node(node, scope) for node in body.get("values", [])],
    "dictionaryValue": lambda graph, body, scope: {
        key: graph.node(node, scope) for key, node in body.get("values", {}).items()
    },
}


def _parts(expression: Any) -> tuple[dict[str, Any], str]:
    if not isinstance(expression, dict):
        raise EarthEngineError("The expression must be an object with 'result' and 'values'.")
    values, result = expression.get("values"), expression.get("result")
    if not isinstance(values, dict) or not isinstance(result, str):
        raise EarthEngineError("The expression must have 'values', an object, and 'result', a key of it.")
    return values, result


class _Check:
    """Walks the graph without recursion: forms, missing keys, cycles, depth, free arguments."""

    def __init__(self, graph: Graph) -> None:
        self.values = graph.values
        self.free = graph.free
        self.result = graph.result
        self.depth: dict[str, int] = {}

    def run(self) -> None:
        """Checks every key the result needs, those it depends on first."""
        stack: list[tuple[str, Iterator[str]]] = []
        open_keys: set[str] = set()
        self._enter(self.result, stack, open_keys)
        while stack:
            key, pending = stack[-1]
            needed = next((k for k in pending if k not in self.free), None)
            if needed is None:
                self._finish(key)
                open_keys.discard(key)
                stack.pop()
            elif needed in open_keys:
                raise EarthEngineError(f"The expression has a cycle: value '{needed}' depends on itself.")
            else:
                self._enter(needed, stack, open_keys)

    def _enter(self, key: str, stack: list[tuple[str, Iterator[str]]], open_keys: set[str]) -> None:
        if key not in self.values:
            raise EarthEngineError(f"The expression refers to the value '{key[:100]}', which is not among its values.")
        open_keys.add(key)
        stack.append((key, iter(list(_references(self.values[key])))))

    def _finish(self, key: str) -> None:
        free: set[str] = set()
        deepest = 0
        for node, level in _inline(self.values[key]):
            kind, body = next(iter(node.items()))
            deepest = max(deepest, level)
            if kind == "argumentReference":
                free.add(body)
            target, bound = _target(kind, body)
            if target is not None:
                free |= self.free[target] - bound
                deepest = max(deepest, level + self.depth[target])
        if deepest > MAX_DEPTH:
            raise EarthEngineError(f"The expression is nested too deeply: more than {MAX_DEPTH} levels.")
        self.free[key] = frozenset(free)
        self.depth[key] = deepest + 1


def _references(node: Any) -> Iterator[str]:
    for inner, _ in _inline(node):
        kind, body = next(iter(inner.items()))
        target, _ = _target(kind, body)
        if target is not None:
            yield target


def _target(kind: str, body: Any) -> tuple[str | None, frozenset[str]]:
    """The key a node refers to, and the arguments bound on the way."""
    if kind == "valueReference":
        return body, frozenset()
    if kind == "functionDefinitionValue":
        return body["body"], frozenset(body["argumentNames"])
    if kind == "functionInvocationValue" and "functionReference" in body:
        return body["functionReference"], frozenset()
    return None, frozenset()


def _inline(root: Any) -> Iterator[tuple[dict[str, Any], int]]:
    """A node and all nodes written inside it, each with its level."""
    stack = [(root, 1)]
    while stack:
        node, level = stack.pop()
        if level > MAX_DEPTH:
            raise EarthEngineError(f"The expression is nested too deeply: more than {MAX_DEPTH} levels.")
        _check_node(node)
        yield node, level
        stack.extend((child, level + 1) for child in _children(node))


def _children(node: dict[str, Any]) -> list[Any]:
    kind, body = next(iter(node.items()))
    field_name = {"functionInvocationValue": "arguments", "arrayValue": "values", "dictionaryValue": "values"}
    inside = body.get(field_name[kind]) if kind in field_name else None
    return list(inside.values()) if isinstance(inside, dict) else list(inside or ())


def _check_node(node: Any) -> None:
    if not isinstance(node, dict) or len(node) != 1:
        raise EarthEngineError(f"A value must be an object with exactly one member. Got: {_short(node)}.")
    kind, body = next(iter(node.items()))
    if kind not in _KINDS:
        raise EarthEngineError(f"Unknown kind of value '{_short(kind)}'; known are {', '.join(sorted(_KINDS))}.")
    check = _FORMS.get(kind)
    if check is not None and not check(body):
        raise EarthEngineError(f"Malformed {kind}: {_short(body)}.")


def _is_call(body: Any) -> bool:
    named = [key for key in ("functionName", "functionReference") if isinstance(body, dict) and key in body]
    return len(named) == 1 and isinstance(body[named[0]], str) and isinstance(body.get("arguments", {}), dict)


def _is_definition(body: Any) -> bool:
    if not isinstance(body, dict) or not isinstance(body.get("body"), str):
        return False
    names = body.setdefault("argumentNames", [])
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _is_int64(body: Any) -> bool:
    text = str(body)
    return not isinstance(body, bool) and text.lstrip("-").isdecimal() and len(text) <= 20 and abs(int(text)) < 2**63


_FORMS: dict[str, Callable[[Any], bool]] = {
    "valueReference": lambda body: isinstance(body, str),
    "argumentReference": lambda body: isinstance(body, str),
    "integerValue": _is_int64,
    "functionInvocationValue": _is_call,
    "functionDefinitionValue": _is_definition,
    "arrayValue": lambda body: isinstance(body, dict) and isinstance(body.get("values", []), list),
    "dictionaryValue": lambda body: isinstance(body, dict) and isinstance(body.get("values", {}), dict),
}


def _short(value: Any) -> str:
    return str(value)[:120]
