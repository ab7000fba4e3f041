"""Cloud: which pixels it hides, by a scene's own flags or by Google's score.

- `scl`: classes of Sentinel-2's scene classification. It calls thick cloud snow at times (Flanders, 12 November 2018:
  an all-white image, 988 of 1,024 pixels class 11), so that class can be told by brightness.
- `qa60`: bits 10 (opaque) and 11 (cirrus). The band is masked out from 2022-01-25 to 2024-02-28, where masking by it
  would hide everything: https://developers.google.com/earth-engine/datasets/catalog/COPERNICUS_S2_SR_HARMONIZED
- `cloud-score-plus`: a score from 0 (hidden) to 1 (clear) in a collection of its own, with the same ids:
  https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_CLOUD_SCORE_PLUS_V1_S2_HARMONIZED
- `qa_pixel`: bits of Landsat Collection 2's quality band.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path

import ee

from eeflow.errors import ConfigError
from eeflow.options import Clouds
from eeflow.scenes import Scene
from eeflow.session import Session

SCORES = "GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED"
_QA60_MASKED = (datetime(2022, 1, 25, tzinfo=UTC), datetime(2024, 2, 28, tzinfo=UTC))
_SNOW = 11
_BAND = {"scl": "SCL", "qa60": "QA60", "qa_pixel": "QA_PIXEL"}


@dataclass(frozen=True)
class CloudFlag:
    """A band that is worked out from others: 1 where a pixel counts as cloud, 0 where it does not."""

    clouds: Clouds
    name: str = "cloud"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the scene's own bands it needs."""
        return bands_needed(self.clouds)


def bands_needed(clouds: Clouds) -> tuple[str, ...]:
    """The scene's own bands that tell cloud."""
    named = (_BAND[clouds.method],) if clouds.method in _BAND else ()
    return (*named, "B2") if clouds.method == "scl" and clouds.snow_is_cloud_above else named


def cloudy(source: ee.Image, scene_id: str, clouds: Clouds) -> ee.Image:
    """1 where a scene's pixel counts as cloud, else 0; masked where its flags are.

    Args:
        source: the scene with all its bands.
        scene_id: its index, under which its score is kept.
        clouds: how to tell; not `none`.
    """
    if clouds.method == "cloud-score-plus":
        return score(scene_id, clouds.score).lt(clouds.threshold)
    flags = source.select([_BAND[clouds.method]])
    if clouds.method == "qa60":
        return flags.bitwiseAnd(0b11 << 10).neq(0)
    if clouds.method == "qa_pixel":
        return flags.bitwiseAnd(sum(1 << bit for bit in set(clouds.bits))).neq(0)
    classes = [flags.eq(number) for number in clouds.classes]
    if clouds.snow_is_cloud_above:
        classes.append(flags.eq(_SNOW).And(source.select(["B2"]).gt(clouds.snow_is_cloud_above)))
    return reduce(lambda one, other: one.Or(other), classes)


def score(scene_id: str, band: str) -> ee.Image:
    """The Cloud Score+ of a scene: 0 hidden to 1 clear, one of its two bands."""
    return ee.Image(f"{SCORES}/{scene_id}").select([band])


def check_clouds(clouds: Clouds, scenes: Sequence[Scene]) -> None:
    """Raises ConfigError where the job's way of telling cloud cannot work for its scenes."""
    for band in bands_needed(clouds):
        lacking = [scene for scene in scenes if all(own.name != band for own in scene.bands)]
        if lacking:
            raise ConfigError(
                f"clouds.method {clouds.method} needs the band {band}, which scene {lacking[0].scene_id} does not "
                "have; Sentinel-2 has scl, qa60 and cloud-score-plus, Landsat qa_pixel."
            )
    if clouds.method == "scl" and not clouds.classes and not clouds.snow_is_cloud_above:
        raise ConfigError("clouds.classes is empty, so nothing would count as cloud; give some, or method: none.")
    if clouds.method == "qa60":
        start, end = _QA60_MASKED
        inside = [scene for scene in scenes if scene.time_start and start <= scene.time_start < end]
        if inside:
            raise ConfigError(
                f"clouds.method is qa60, which is masked out from {start:%Y-%m-%d} to {end:%Y-%m-%d} and would mask "
                f"everything of {len(inside)} scenes, the first {inside[0].scene_id}; take cloud-score-plus or scl."
            )


def find_scored(session: Session, area: ee.Geometry, scenes: Sequence[Scene], known: Path) -> set[str]:
    """Ids of the scenes that have a Cloud Score+. New ones get theirs days after themselves, and some never.

    Args:
        session: the connection.
        area: where the scenes were searched.
        scenes: to look for.
        known: a file of the ids, one a line, that were found to have one; they are not asked for again. All others
            are, in one request.
    """
    ids = {scene.scene_id for scene in scenes}
    scored = ids & set(known.read_text().split()) if known.exists() else set()
    asked = [scene for scene in scenes if scene.scene_id not in scored]
    if not asked:
        return scored
    found = _ask_for_scores(session, area, asked) & ids
    known.parent.mkdir(parents=True, exist_ok=True)
    with known.open("a") as file:  # by one write, so that jobs that run at once do not mix their lines
        file.write("".join(f"{scene_id}\n" for scene_id in sorted(found)))
    return scored | found


def _ask_for_scores(session: Session, area: ee.Geometry, scenes: Sequence[Scene]) -> set[str]:
    times = [scene.time_start for scene in scenes if scene.time_start]
    scores = ee.ImageCollection(SCORES).filterBounds(area)
    if times:
        end = max(times) + timedelta(days=1)
        scores = scores.filterDate(f"{min(times) - timedelta(days=1):%Y-%m-%d}", f"{end + timedelta(days=1):%Y-%m-%d}")
    ids = [scene.scene_id for scene in scenes]
    return set(session.value(scores.filter(ee.Filter.inList("system:index", ids)).aggregate_array("system:index")))
