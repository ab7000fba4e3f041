"""Signatures of Earth Engine's algorithms, from the list inside the installed client.

The client's wheel carries a dump of the real service's answer: `ee/tests/algorithms.json`. Nothing of it is copied
here.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_PREFIX = "algorithms/"


@dataclass(frozen=True)
class Argument:
    """One argument of an algorithm."""

    name: str
    type: str
    optional: bool
    default: Any


@dataclass(frozen=True)
class Signature:
    """Name, arguments and result of an algorithm."""

    name: str
    arguments: tuple[Argument, ...]
    returns: str

    @property
    def names(self) -> tuple[str, ...]:
        """Argument names in order."""
        return tuple(argument.name for argument in self.arguments)


def client_file(name: str) -> Path:
    """A file among the client's tests, without importing the client."""
    spec = importlib.util.find_spec("ee")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("eelocal needs the earthengine-api package: it carries the list of algorithms.")
    return Path(spec.submodule_search_locations[0]) / "tests" / name


@cache
def algorithms_document() -> bytes:
    """The answer to `projects.algorithms.list`."""
    return client_file("algorithms.json").read_bytes()


@cache
def signatures() -> dict[str, Signature]:
    """Every algorithm of Earth Engine by name."""
    listed = json.loads(algorithms_document())["algorithms"]
    made = (_signature(entry) for entry in listed)
    return {signature.name: signature for signature in made}


def _signature(entry: dict[str, Any]) -> Signature:
    arguments = tuple(
        Argument(
            argument["argumentName"],
            argument["type"].replace("Image<unknown bands>", "Image"),
            bool(argument.get("optional", False)),
            argument.get("defaultValue"),
        )
        for argument in entry.get("arguments", [])
    )
    returns = entry["returnType"].replace("Image<unknown bands>", "Image")
    return Signature(entry["name"].removeprefix(_PREFIX), arguments, returns)
