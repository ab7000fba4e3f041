"""What a campaign may say: many jobs in one file, and how they become single ones."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import shapely
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eeflow.aoi import read_features
from eeflow.config import Job, safe_name
from eeflow.errors import AOIError, ConfigError
from eeflow.jobfile import aoi_beside, explain, parse_job, read_yaml, set_key
from eeflow.options import AreaOfInterest
from eeflow.presets import with_preset

# A feature's outline travels in its run's parameters, of which Prefect takes half a MiB.
_MAX_OUTLINE_BYTES = 400_000
# Keys that stand for each other: where a later part of a campaign gives one, the earlier parts' others go.
_INSTEAD = ({"collection", "image"}, {"file", "bbox", "geojson"}, {"last", "start"}, {"last", "end"})


class Features(BaseModel):
    """A vector file, each feature of which is the area of one job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(description="Any vector file GDAL reads, relative to the campaign file.")
    name_field: str = Field(description="Its values name the jobs.")
    layer: str | None = Field(None, description="Layer of the file; needed when it has several.")
    where: str | None = Field(None, description="SQL condition that chooses features, such as `crop = 'wheat'`.")
    crs: str | None = Field(None, description="CRS of a file that does not say its own.")


class Campaign(BaseModel):
    """Many jobs: those listed, or one for each feature of a file, each for every collection and period."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("campaign", description="Names the campaign's run.")
    defaults: dict[str, Any] = Field(default_factory=dict, description="What a job says, for all of them.")
    jobs: list[dict[str, Any]] = Field(default_factory=list, description="What single jobs say; each needs a name.")
    aois: Features | None = Field(None, description="One job for each feature of a vector file.")
    collections: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="By a short name, what jobs say for one collection: {s2: {collection: ..., bands: [...]}}. Each "
        "area is downloaded for each of them, as `<name>_s2`.",
    )
    periods: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="By a short name, the dates of a period: {'2023': {start: 2023-04-01, end: 2023-10-01}}. Each "
        "area is downloaded for each of them, as `<name>_2023`.",
    )
    overrides: dict[str, Any] = Field(default_factory=dict, description="What wins over all the others.")
    mode: Literal["download", "sync"] = Field(
        "download", description="download: what a job asks for; sync: what is new or changed since the last time."
    )
    at_once: int = Field(4, ge=1, le=16, description="Jobs under way together; they share the limit of requests.")

    @field_validator("collections", "periods", mode="before")
    @classmethod
    def _named(cls, parts: Any) -> Any:
        """Years are numbers in YAML, and names here."""
        return {str(name): part for name, part in parts.items()} if isinstance(parts, dict) else parts

    def make_jobs(self) -> list[Job]:
        """Every job, all areas of one collection and period before those of the next.

        Raises:
            AOIError: the file of areas cannot be read, or its features not be named.
            ConfigError: a job says something that cannot be, or two have the same name.
        """
        areas = [*self.jobs, *(_jobs_of_features(self.aois) if self.aois else ())]
        contents = []
        for collection, of_collection in (self.collections or {"": {}}).items():
            for period, dates in (self.periods or {"": {}}).items():
                for area in areas:
                    parts = (of_collection, {"dates": dates} if dates else {}, area, self.overrides)
                    name = "_".join(filter(None, (str(area.get("name") or ""), collection, period)))
                    contents.append(_merged(self.defaults, *parts) | {"name": name})
        if not contents:
            raise ConfigError(f"{self.name}: there are no jobs; give jobs: [...] or aois: {{file:, name_field:}}.")
        return _parsed(contents, self.name)


def load_campaign(path: Path | str, overrides: Iterable[str] = (), out: Path | str | None = None) -> Campaign:
    """The campaign of a YAML file, every job of which is known to be one.

    Args:
        path: the file; vector files in it are relative to the file, `output.root` to the working directory.
        overrides: `dotted.key=value` texts that every job takes, the value read as YAML.
        out: replaces `output.root` of every job.

    Raises:
        ConfigError: the file cannot be read, or says something that cannot be.
        AOIError: the file of areas cannot be read, or its features not be named.
    """
    path = Path(path)
    content = {"name": path.stem, **read_yaml(path)}
    for override in overrides:
        set_key(content.setdefault("overrides", {}), override)
    if out is not None:
        content["overrides"] = _merged(content.get("overrides") or {}, {"output": {"root": str(out)}})
    try:
        campaign = Campaign.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {explain(error, Campaign)}") from None
    for part in (campaign.defaults, *campaign.jobs, *campaign.collections.values(), campaign.overrides):
        aoi_beside(path, part)
    if campaign.aois:
        file = str(path.parent / Path(campaign.aois.file).expanduser())
        campaign = campaign.model_copy(update={"aois": campaign.aois.model_copy(update={"file": file})})
    campaign.make_jobs()
    return campaign


def chosen(jobs: list[Job], only: Iterable[str]) -> list[Job]:
    """The jobs of those names; all of them when no name is given.

    Raises:
        ConfigError: there is no job of a name.
    """
    names = [job.name for job in jobs]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
            raise ConfigError(f"There is no job {name!r} among the {len(names)} of the campaign; some are "
                              f"{', '.join(near)}.")  # fmt: skip
    wanted = set(only) or set(names)
    return [job for job in jobs if job.name in wanted]


def _parsed(contents: list[dict[str, Any]], source: str) -> list[Job]:
    jobs, wrong = [], []
    for content in contents:
        try:
            job = parse_job(content, source=f"{source}: job {content['name'] or 'without a name'}")
            with_preset(job)  # raises for a job that lacks dates
            jobs.append(job)
        except ConfigError as error:
            wrong.append(str(error))
    if wrong:
        others = f" (and {len(wrong) - 1} more jobs are wrong)" if len(wrong) > 1 else ""
        raise ConfigError(f"{wrong[0]}{others}")
    # Some file systems take upper and lower case for the same.
    counts = Counter((job.output.root, job.name.casefold()) for job in jobs)
    if twice := sorted({job.name for job in jobs if counts[job.output.root, job.name.casefold()] > 1}):
        raise ConfigError(f"{source}: {_some(twice)} would share a folder; give each job a name of its own.")
    return jobs


def _jobs_of_features(features: Features) -> list[dict[str, Any]]:
    options = AreaOfInterest.model_validate(features.model_dump(exclude={"name_field"}))
    frame, source = read_features(options)
    if frame.crs is None:
        raise AOIError(
            f"{source} has no CRS, so its coordinates cannot be placed. Set one in the file, or as aois.crs."
        )
    if features.name_field not in frame.columns or features.name_field == frame.geometry.name:
        fields = ", ".join(str(column) for column in frame.columns if column != frame.geometry.name)
        raise ConfigError(f"{source} has no field {features.name_field!r} for aois.name_field; it has {fields}.")
    values = frame[features.name_field]
    if nameless := [number for number, absent in enumerate(values.isna() | (values == ""), start=1) if absent]:
        raise ConfigError(
            f"{source}: {len(nameless)} of {len(values)} features have no {features.name_field} (the first is feature "
            f"{nameless[0]}); fill the field, or leave them out with aois.where."
        )
    texts = [str(int(value)) if isinstance(value, float) and value.is_integer() else str(value) for value in values]
    _check_distinct(texts, source, features.name_field)
    crs = ":".join(frame.crs.to_authority() or ()) or frame.crs.to_wkt()
    return [
        {"name": safe_name(text), "aoi": {"geojson": _outline(geometry, f"{source}: {text}"), "crs": crs}}
        for text, geometry in zip(texts, frame.geometry, strict=True)
    ]


def _check_distinct(texts: list[str], source: str, name_field: str) -> None:
    by_name: dict[str, list[str]] = {}
    for text in texts:
        by_name.setdefault(safe_name(text).casefold(), []).append(text)
    clashes = [f"{_some([repr(t) for t in found])} ({safe_name(found[0])})" for found in by_name.values() if found[1:]]
    if clashes:
        raise ConfigError(
            f"{source}: features whose {name_field} makes the same folder: {_some(clashes)}. Choose a name_field "
            "whose values differ, or merge the features of one name."
        )


def _outline(geometry: Any, source: str) -> dict[str, Any]:
    if geometry is None or geometry.is_empty:
        raise AOIError(f"{source} has no geometry; leave it out with aois.where.")
    outline: dict[str, Any] = shapely.geometry.mapping(shapely.force_2d(geometry))
    if len(text := json.dumps(outline)) > _MAX_OUTLINE_BYTES:
        raise AOIError(
            f"{source} has {shapely.get_num_coordinates(geometry):,} vertices, more than a run's parameters hold; "
            "simplify it, or give it as a job with aoi: {file:, where:}."
        )
    return dict(json.loads(text))


def _merged(first: Mapping[str, Any], *later: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings key by key, those below them too: the later one wins, with what stands for the same."""
    merged = dict(first)
    for part in later:
        gone = {key for group in _INSTEAD for key in group if group & part.keys() and key not in part}
        for key in gone:
            merged.pop(key, None)
        for key, value in part.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping) and key != "geojson"
            merged[key] = _merged(merged[key], value) if both else value
    return merged


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
