"""What a job may say. One model for YAML files, command-line overrides and the form in the Prefect UI."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from eeflow.errors import ConfigError


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AreaOfInterest(_Model):
    """Where: a vector file, a bounding box or a GeoJSON geometry; exactly one of them."""

    file: str | None = Field(None, description="Any vector file GDAL reads, relative to the job file.")
    layer: str | None = Field(None, description="Layer of the file; needed when it has several.")
    where: str | None = Field(None, description="SQL condition that chooses features, such as `crop = 'wheat'`.")
    bbox: tuple[float, float, float, float] | None = Field(
        None, description="west, south, east, north, in the units of `crs`."
    )
    geojson: dict[str, Any] | None = Field(None, description="A GeoJSON geometry, feature or collection.")
    crs: str | None = Field(
        None, description="CRS of `bbox` (EPSG:4326 unless given), or of a file that does not say its own."
    )
    repair: bool = Field(False, description="Repair polygons that cross themselves instead of refusing them.")
    buffer: float = Field(0, allow_inf_nan=False, description="Metres added around the area; negative shrinks it.")
    clip: bool = Field(False, description="Mask pixels whose centre lies outside the area.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("file", "bbox", "geojson") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"gives {' and '.join(given) or 'no area'}; give exactly one of file, bbox or geojson")
        if self.bbox and not (self.bbox[0] < self.bbox[2] and self.bbox[1] < self.bbox[3]):
            raise ValueError(
                f"has bbox {list(self.bbox)}; it must be [west, south, east, north] with west < east and south < north"
            )
        if self.file is None and (self.layer or self.where):
            raise ValueError("gives layer or where without a file; they choose features of a file")
        return self


class Dates(_Model):
    """When: a period with an exclusive end, or the last days before the run starts."""

    start: date | None = Field(None, description="First day, UTC.")
    end: date | None = Field(None, description="The day after the last one, UTC (exclusive).")
    last: str | None = Field(
        None, description="Instead: a look-back such as `30d` or `8w`, counted from the day the run starts."
    )

    @model_validator(mode="after")
    def _period(self) -> Self:
        if self.last is not None:
            if self.start or self.end:
                raise ValueError("gives both last and start/end; give one of the two")
            if not re.fullmatch(r"[1-9]\d{0,4}[dw]", self.last):
                raise ValueError(f"has last {self.last!r}; it must be days or weeks, such as 30d or 8w")
        elif not (self.start and self.end):
            raise ValueError("needs start and end, or last")
        elif self.start >= self.end:
            raise ValueError(f"has start {self.start} and end {self.end}; end is exclusive and must be after start")
        return self

    def resolve(self, now: datetime | None = None) -> tuple[datetime, datetime]:
        """Start (inclusive) and end (exclusive) as aware UTC datetimes; `last` ends with the day of `now`."""
        if self.last is not None:
            today = (now or datetime.now(UTC)).astimezone(UTC).date()
            end = today + timedelta(days=1)
            days = int(self.last[:-1]) * (7 if self.last.endswith("w") else 1)
            return _midnight(end - timedelta(days=days)), _midnight(end)
        assert self.start and self.end  # the validator above
        return _midnight(self.start), _midnight(self.end)


class Comparison(_Model):
    """What a property of a scene must be. Several conditions must all hold."""

    eq: str | float | None = Field(None, description="equal to")
    ne: str | float | None = Field(None, description="not equal to")
    lt: float | None = Field(None, description="less than")
    lte: float | None = Field(None, description="at most")
    gt: float | None = Field(None, description="greater than")
    gte: float | None = Field(None, description="at least")
    within: list[str | float] | None = Field(None, alias="in", description="one of these")
    contains: str | None = Field(None, description="a text that holds this")

    @model_validator(mode="after")
    def _some_condition(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("gives no condition; give one or more of eq, ne, lt, lte, gt, gte, in, contains")
        return self


class GridOptions(_Model):
    """The pixel grid all products of the job share."""

    crs: str = Field("native", description="native (the collection's own), utm, or any CRS such as EPSG:3035.")
    resolution: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="CRS units per pixel; empty: the finest chosen band's own."
    )


class Product(_Model):
    """What one output raster holds."""

    kind: Literal["scene"] = Field("scene", description="scene: one GeoTIFF per acquisition.")


class Limits(_Model):
    """A run that plans more than this stops before it spends anything."""

    max_requests: int = Field(5000, gt=0, description="Requests for pixels in one run.")
    max_gib: float = Field(50, gt=0, description="GiB of pixels in one run, uncompressed.")


class Output(_Model):
    """Where and how products are written."""

    root: str = Field("data", description="Folder that holds one folder per job name.")
    format: Literal["cog", "gtiff"] = Field("cog", description="Cloud-optimised or plain tiled GeoTIFF.")
    quicklook: bool = Field(True, description="Write a PNG beside each GeoTIFF.")


class Job(_Model):
    """One download: an area, a collection, bands and dates become GeoTIFFs on the local disk."""

    name: str = Field(description="Names the output folder and files: letters, digits, dot, dash, underscore.")
    aoi: AreaOfInterest = Field(description="The area of interest.")
    collection: str | None = Field(None, description="Asset id of an image collection.")
    image: str | None = Field(None, description="Instead of a collection: asset id of a single image.")
    bands: list[str] = Field(
        default_factory=list, description="Band names or regular expressions, in output order; empty: all."
    )
    dates: Dates | None = Field(None, description="The period; needed for a collection.")
    filters: dict[str, Comparison] = Field(default_factory=dict, description="Conditions on scene properties, by name.")
    grid: GridOptions = Field(default_factory=lambda: GridOptions.model_validate({}))
    product: Product = Field(default_factory=lambda: Product.model_validate({}))
    transport: Literal["auto", "get_region", "compute_pixels"] = Field(
        "auto",
        description="How pixels are asked for. get_region: many scenes of a small area at once; compute_pixels: large "
        "rasters; auto: whichever is quicker. The pixels are the same.",
    )
    region: Literal["rectangle", "points"] = Field(
        "rectangle",
        description="rectangle: the window's outline; points: a server-side grid of points, as in the original "
        "method (same pixels, slower).",
    )
    fan_out: Literal["auto", "bands", "none"] = Field(
        "auto", description="bands: one request per band; none: all bands together; auto: whichever is fewer."
    )
    limits: Limits = Field(default_factory=lambda: Limits.model_validate({}))
    output: Output = Field(default_factory=lambda: Output.model_validate({}))

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError(
                f"is {name!r}; it names a folder, so use letters, digits, dot, dash and underscore, "
                f"such as {safe_name(name)!r}"
            )
        return name

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.collection is None) == (self.image is None):
            raise ValueError("needs exactly one of collection and image")
        if self.collection is not None and self.dates is None:
            raise ValueError("needs dates for a collection, such as dates: {last: 30d}")
        return self

    @property
    def folder(self) -> Path:
        """Where this job's products go."""
        return Path(self.output.root).expanduser() / self.name

    def content_hash(self) -> str:
        """Hash of everything that decides what the products are, not of where they are put or how fetched."""
        content = self.model_dump(
            mode="json", by_alias=True, exclude={"name", "limits", "output", "transport", "region", "fan_out"}
        )
        return digest(content)[:16]


def digest(content: Any) -> str:
    """SHA-256, as hex, of a JSON-like value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def safe_name(text: str) -> str:
    """`text` as the name of a file or folder: no separators, no leading dot, never empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-")[:100] or "unnamed"


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
        _set(content, override)
    if out is not None and isinstance(content.get("output") or {}, dict):
        content["output"] = {**(content.get("output") or {}), "root": str(out)}
    aoi = content.get("aoi")
    if isinstance(aoi, dict) and isinstance(aoi.get("file"), str):
        aoi["file"] = str(path.parent / Path(aoi["file"]).expanduser())
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


def _set(content: dict[str, Any], override: str) -> None:
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


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
