"""String and Dictionary."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from eelocal.algorithms.lists import text_of
from eelocal.errors import EarthEngineError
from eelocal.patterns import Pattern, compiled
from eelocal.registry import algorithm
from eelocal.values.date import Date

_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}


@algorithm("String")
def string(input: Any) -> str:
    """A value as text."""
    if isinstance(input, Date):
        return input.utc.isoformat(timespec="milliseconds").replace("+00:00", "")
    if isinstance(input, (str, int, float)):
        return text_of(input)
    raise EarthEngineError(f"Cannot make a string of {str(input)[:100]}.")


@algorithm("String.cat")
def cat(string1: str, string2: str) -> str:
    """Two strings, one after the other."""
    return string1 + string2


@algorithm("String.length")
def length(string: str) -> int:
    """Number of characters."""
    return len(string)


@algorithm("String.slice")
def slice_string(string: str, start: int, end: int | None) -> str:
    """From start to end, the end not included; negative positions count from the end."""
    return string[start:end]


@algorithm("String.split")
def split(string: str, regex: str, flags: str) -> list[str]:
    """Parts between matches of a pattern."""
    return [part for part in _pattern(regex, flags).on(string).split(string) if part is not None]


@algorithm("String.replace")
def replace(input: str, regex: str, replacement: str, flags: str) -> str:
    """With the first match of a pattern replaced, or all with the flag `g`."""
    return _pattern(regex, flags).replaced(input, replacement, every="g" in flags)


@algorithm("String.match")
def match(input: str, regex: str, flags: str) -> list[Any]:
    """The first match and its groups, or all matches with the flag `g`."""
    pattern = _pattern(regex, flags).on(input)
    if "g" in flags:
        return [found.group(0) for found in pattern.finditer(input)]
    found = pattern.search(input)
    return [found.group(0), *found.groups()] if found else []


@algorithm("String.index")
def index(target: str, pattern: str) -> int:
    """Position of the first occurrence, or -1."""
    return target.find(pattern)


@algorithm("String.rindex")
def rindex(target: str, pattern: str) -> int:
    """Position of the last occurrence, or -1."""
    return target.rfind(pattern)


@algorithm("String.toLowerCase")
def lower(string: str) -> str:
    """In small letters."""
    return string.lower()


@algorithm("String.toUpperCase")
def upper(string: str) -> str:
    """In capitals."""
    return string.upper()


@algorithm("String.trim")
def trim(string: str) -> str:
    """Without white space at the ends."""
    return string.strip()


@algorithm("String.compareTo")
def compare_to(string1: str, string2: str) -> int:
    """-1, 0 or 1."""
    return (string1 > string2) - (string1 < string2)


@algorithm("String.equals")
def equals(reference: str, target: Any) -> bool:
    """Whether both are the same string."""
    return bool(reference == target)


@algorithm("String.encodeJSON")
def encode_json(object: Any) -> str:
    """A value as JSON."""
    from eelocal.encode import encode  # noqa: PLC0415 - encode is a consumer of all values

    return orjson.dumps(encode(object)).decode()


@algorithm("String.decodeJSON")
def decode_json(string: str) -> Any:
    """The value of JSON text."""
    try:
        return json.loads(string)
    except (ValueError, RecursionError) as exc:
        raise EarthEngineError(f"Invalid JSON: {str(exc)[:100]}.") from exc


def _pattern(regex: str, flags: str) -> Pattern:
    unknown = set(flags) - {*_FLAGS, "g"}
    if unknown:
        raise EarthEngineError(f"Unknown regular expression flag '{unknown.pop()}'; known are g, i, m, s.")
    combined = 0
    for flag in flags:
        combined |= _FLAGS.get(flag, 0)
    return compiled(regex, combined)
