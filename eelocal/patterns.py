"""Regular expressions of strangers. Earth Engine's engine (RE2) takes linear time for all of them, Python's does not.

What could run away is refused: a repetition of something that repeats or chooses, and several repetitions on a text too
long for them, as each may multiply the steps by the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]  # the parser of the module itself
from typing import Any

from eelocal.errors import EarthEngineError, OutOfMemory
from eelocal.limits import MAX_TEXT

_MAX_PATTERN = 1000  # characters
_MAX_STEPS = 10**9
_MANY = 16  # times; a repetition of fewer is no danger
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT)


@dataclass(frozen=True)
class Pattern:
    """A regular expression that may be used on texts that are not too long for it."""

    compiled: re.Pattern[str]
    repeats: int

    def on(self, text: str) -> re.Pattern[str]:
        """Python's pattern, for a text."""
        if max(len(text), 1) ** (self.repeats + 1) > _MAX_STEPS and self.repeats:
            raise EarthEngineError(
                f"The regular expression '{self.compiled.pattern[:100]}' repeats too often for a text of {len(text)} "
                "characters."
            )
        return self.compiled

    def matches(self, text: str) -> bool:
        """Whether it matches the whole text."""
        return self.on(text).fullmatch(text) is not None

    def replaced(self, text: str, replacement: str, *, every: bool) -> str:
        """The text with the first match, or all, replaced; `$1` in the replacement is the first group."""
        pattern = self.on(text)
        count = sum(1 for _ in pattern.finditer(text)) if every else 1
        longest = len(replacement) + len(text) * replacement.count("$")
        if len(text) + count * longest > MAX_TEXT:
            raise OutOfMemory
        python = re.sub(r"\$(\d)", r"\\\1", replacement)
        try:
            return pattern.sub(python, text, count=0 if every else 1)
        except (re.error, IndexError) as exc:
            raise EarthEngineError(f"Invalid replacement '{replacement[:100]}' ({exc}).") from exc


@lru_cache(maxsize=1024)
def compiled(pattern: str, flags: int = 0) -> Pattern:
    """A regular expression; 400 if it is none, or could run away."""
    if len(pattern) > _MAX_PATTERN:
        raise EarthEngineError(f"Invalid regular expression: it has more than {_MAX_PATTERN} characters.")
    try:
        tree = _parser.parse(pattern, flags)
        return Pattern(re.compile(pattern, flags), _repeats(tree, inside=False))
    except (re.error, OverflowError, RecursionError) as exc:
        raise EarthEngineError(f"Invalid regular expression: '{pattern[:100]}' ({exc}).") from exc


def _repeats(tree: Any, *, inside: bool) -> int:
    """How many repetitions without an end there are; a 400 for one in another, or of alternatives."""
    found = 0
    for kind, body in tree:
        if kind in _REPEATS and body[1] > _MANY:
            if inside:
                raise re.error("a repetition inside another")
            found += 1 + _repeats(body[2], inside=True)
        elif kind is _constants.BRANCH:
            if inside:
                raise re.error("alternatives inside a repetition")
            found += sum(_repeats(part, inside=False) for part in body[1])
        elif kind in (_constants.GROUPREF, _constants.GROUPREF_EXISTS):
            raise re.error("references to groups are not known to RE2")
        else:
            found += sum(_repeats(part, inside=inside) for part in _parts(body))
    return found


def _parts(body: Any) -> list[Any]:
    """The expressions inside a group, an assertion or a short repetition."""
    items = body if isinstance(body, (tuple, list)) else [body]
    return [item for item in items if isinstance(item, _parser.SubPattern)]
