"""What products show: single scenes, or scenes grouped to be merged on Earth Engine's side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from eeflow.config import Job
from eeflow.errors import ConfigError
from eeflow.options import Dates, days
from eeflow.scenes import Scene
from eeflow.window import period_start, solar_day

# One granule's reprocessings say the same time of acquisition, give or take what their processors make of it.
_SAME_ACQUISITION = timedelta(seconds=30)


@dataclass(frozen=True)
class Image:
    """What one product shows.

    Attributes:
        image_id: the scene's id, or the day (and orbit) or period that its scenes are of.
        scenes: in the order they are merged: where several have a value, a mosaic shows the last one's.
        stem: of file names, after the job's; empty where the job's name says it all.
        left_out: ids of scenes that it would have, were they wanted, and why they are not.
    """

    image_id: str
    scenes: tuple[Scene, ...]
    stem: str
    left_out: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def time_start(self) -> datetime | None:
        """Of its first scene."""
        return min((scene.time_start for scene in self.scenes if scene.time_start), default=None)

    @property
    def time_end(self) -> datetime | None:
        """Of its last scene."""
        return max((scene.time_start for scene in self.scenes if scene.time_start), default=None)

    @property
    def content(self) -> list[Any]:
        """What decides its pixels: another version of a scene, or another order, makes another image."""
        return [self.image_id, [[scene.scene_id, scene.version] for scene in self.scenes]]


def make_images(
    job: Job,
    scenes: Sequence[Scene],
    longitude: float = 0.0,
    cloud: Mapping[str, float] = MappingProxyType({}),
    now: datetime | None = None,
) -> list[Image]:
    """The images of a job, by time.

    - `scene`: each scene is one.
    - `day`: the scenes of one solar day and one orbit. Reprocessings of a granule are one scene, the newest. Where
      granules overlap, the later one's value counts, and at the same time that of the greater id.
    - `composite`: the scenes of each period.

    Args:
        job: its `product` and `dates`.
        scenes: by time, then by id.
        longitude: of the area, in degrees; it decides which day it is there.
        cloud: by scene id, the share of cloud over the area; for `least_cloudy`.
        now: the moment `dates.last` counts from; the present by default.

    Raises:
        ConfigError: a period, day or least cloudy scene is asked for of scenes that lack what tells it.
    """
    kind = job.product.kind
    if kind == "scene" or job.image is not None:
        return [Image(scene.scene_id, (scene,), _scene_stem(scene, job)) for scene in scenes]
    if kind == "day":
        groups = _by_day(_newest(scenes), longitude)
    else:
        groups = _by_period(_newest(scenes), job.product.every, job.dates, now)
    order = _by_cloud(job, cloud) if job.product.method == "least_cloudy" else _by_time
    return [Image(image_id, tuple(sorted(members, key=order)), stem) for (image_id, stem), members in groups.items()]


def _scene_stem(scene: Scene, job: Job) -> str:
    if scene.time_start:
        return f"{scene.time_start:%Y%m%dT%H%M%S}"
    return "" if job.image is not None else scene.scene_id


_Groups = dict[tuple[str, str], list[Scene]]


def _by_day(scenes: Iterable[Scene], longitude: float) -> _Groups:
    groups: _Groups = defaultdict(list)
    for scene in scenes:
        day = f"{solar_day(_time(scene, 'kind: day'), longitude):%Y%m%d}"
        groups[f"{day}_{scene.orbit}" if scene.orbit else day, day].append(scene)
    return dict(groups)


def _by_period(scenes: Iterable[Scene], every: str, dates: Dates | None, now: datetime | None) -> _Groups:
    groups: _Groups = defaultdict(list)
    if every == "all":
        period = "_".join(f"{moment:%Y%m%d}" for moment in dates.resolve(now)) if dates else ""
        members = list(scenes)
        return {(period or "all", period): members} if members else {}
    for scene in scenes:
        # A look-back moves every day; its periods are counted from a day that does not.
        start = period_start(_time(scene, f"every: {every}").date(), every, dates.start if dates else None)
        period = f"{start:%Y%m}" if every == "month" else f"{start:%Y%m%d}_{start + days(every):%Y%m%d}"
        groups[period, period].append(scene)
    return dict(groups)


def _time(scene: Scene, why: str) -> datetime:
    if scene.time_start is None:
        raise ConfigError(f"product has {why}, but scene {scene.scene_id} has no time; say kind: scene.")
    return scene.time_start


def _by_time(scene: Scene) -> tuple[datetime, str]:
    return scene.time_start or datetime.min.replace(tzinfo=UTC), scene.scene_id


def _by_cloud(job: Job, cloud: Mapping[str, float]) -> Any:
    """Most cloud first, so that the least is on top; of equals the later one.

    Where the job measures cloud over the area, a scene of which none is known has no pixel there to judge by.
    """

    def order(scene: Scene) -> tuple[float, datetime, str]:
        share = cloud.get(scene.scene_id, scene.cloud_cover if job.clouds.method == "none" else 1.0)
        if share is None:
            raise ConfigError(
                f"product.method is least_cloudy, but scene {scene.scene_id} says nothing of its clouds; give "
                "clouds.method, by which they are measured over the area."
            )
        return -share, *_by_time(scene)

    return order


def _newest(scenes: Sequence[Scene]) -> list[Scene]:
    """Of the reprocessings of one granule, the newest: by the time it was produced, then by version and id."""
    kept: list[Scene] = []
    by_tile: dict[str, list[int]] = defaultdict(list)
    for scene in scenes:
        places = by_tile[scene.tile] if scene.tile else []
        twin = next((place for place in places if _same_acquisition(kept[place], scene)), None)
        if twin is None:
            places.append(len(kept))
            kept.append(scene)
        else:
            kept[twin] = max(kept[twin], scene, key=lambda one: (one.produced, one.version or 0, one.scene_id))
    return kept


def _same_acquisition(one: Scene, other: Scene) -> bool:
    """Whether both show the same pass over the same ground; parts of a granule that was cut in two do not."""
    if one.time_start is None or other.time_start is None or one.orbit != other.orbit:
        return False
    if abs(one.time_start - other.time_start) > _SAME_ACQUISITION:
        return False
    if one.footprint is None or other.footprint is None:
        return True
    shared = one.footprint.intersection(other.footprint).area
    return bool(shared > min(one.footprint.area, other.footprint.area) / 2)
