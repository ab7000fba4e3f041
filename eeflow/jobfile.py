"""Reading a job: its YAML file, overrides from the command line, and what is wrong with it in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from eeflow.config import Job
from eeflow.errors import ConfigError


def load_job(path: Path | str, overrides: Iterable[str] = (), out: Path | str | None = None) -> Job:
    """The job of a YAML file.

    Args:
        path: the file; `aoi.file` in it is relative to the file, `output.root` to the working directory.
        overrides: `dotted.key=value` texts, the value read as YAML.
        out: replaces `output.root`.

    Raises:
        ConfigError: the file cannot be read, or says something that cannot be.
    """
    path = Path(path)
    content = read_yaml(path)
    for override in overrides:
        set_key(content, override)
    if out is not None and isinstance(content.get("output") or {}, dict):
        content["output"] = {**(content.get("output") or {}), "root": str(out)}
    aoi_beside(path, content)
    return parse_job(content, source=str(path))


def parse_job(content: Mapping[str, Any], source: str = "job") -> Job:
    """The job that a mapping describes; `source` names it in errors."""
    try:
        return Job.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, Job)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: no such file, not YAML, or not a mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)  # a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ConfigError(f"{path} cannot be read: {reason}. Give the path of a YAML file.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"{path} is not valid YAML{line}: {problem}.") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no mapping of keys to values; a job starts with `name: ...`.")
    return content


def aoi_beside(path: Path, content: Mapping[str, Any]) -> None:
    """Makes the `aoi.file` of a job's content relative to the folder of the file that says it."""
    aoi = content.get("aoi")
    if isinstance(aoi, dict) and isinstance(aoi.get("file"), str):
        aoi["file"] = str(path.parent / Path(aoi["file"]).expanduser())


class _UniqueKeys(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(problem=f"the key {key} is given twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """All problems of a validation in one line: key, value, what was allowed."""
    return "; ".join(_explain_one(dict(problem), model) for problem in error.errors())


def _explain_one(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, location[:-1])
        near = difflib.get_close_matches(location[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}."
        return f"{key} is not a key; {hint}"
    if problem["type"] == "missing":
        return f"{key} is missing; it is required"
    if problem["type"] == "value_error":
        return f"{key or 'the job'} {problem['ctx']['error']}"
    given = problem["input"]
    value = str(given) if isinstance(given, date) else repr(given)
    if problem["type"] == "model_type":
        return f"{key} is {value}; it must be a mapping of keys to values"
    if not problem["msg"].startswith("Input should be "):
        return f"{key} is {value}: {problem['msg']}"
    return f"{key} is {value}; it must be {problem['msg'].removeprefix('Input should be ')}"


def _fields_at(model: type[BaseModel], location: Iterable[str]) -> list[str]:
    current: type[BaseModel] | None = model
    for name in location:
        field = current.model_fields.get(name) if current else None
        annotation = field.annotation if field else None
        choices = getattr(annotation, "__args__", ()) or (annotation,)
        current = next((c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)), current)
    if current is None:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def set_key(content: dict[str, Any], override: str) -> None:
    """Sets what `dotted.key=value` says, the value read as YAML.

    Raises:
        ConfigError: it has no value, or a key on the way holds none.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r} has no value; write --set dotted.key=value.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:  # not there, or a key with nothing behind it
            content[parent] = {}
        inner = content[parent]
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override!r}: {parent} is {inner!r}, which has no keys below it.")
        content = inner
    content[last] = value
