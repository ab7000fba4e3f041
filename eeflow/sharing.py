"""What jobs fetch together: those of overlapping areas ask for a scene once, and each takes its own pixels of it.

Which jobs may is told by what they say and where they lie; what they share is decided by content: the same images, made
in the same way of the same versions of scenes, in the same bands, on grids that are whole pixels apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import shapely
from odc.geo.geobox import GeoBox

from eeflow.aoi import load_aoi
from eeflow.blocks import Block, BlockStore
from eeflow.config import Job, digest
from eeflow.grid import SNAP_TOLERANCE, Window
from eeflow.images import Image
from eeflow.plan import Plan, make_plan
from eeflow.prospect import Outlook
from eeflow.series import Series
from eeflow.transport import Pace

# What jobs have in common that may share: all that decides their requests but for area, dates and filters.
_IN_COMMON = {
    "collection", "image", "bands", "grid", "product", "clouds", "transport", "region", "packing", "fan_out", "limits",
    "workload_tag",
}  # fmt: skip
# The window around several jobs' has at most as many pixels as theirs together, so that sharing saves some; up to this
# size, where requests cost more than their pixels, half as many again.
_SMALL = 512**2
_MOST_AROUND = 1.5


def overlapping(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs in groups that may share, in the order of their first ones; most are alone.

    Jobs of a group have the same output root, say the same of what is fetched, and have areas whose bounds touch those
    of the next. One whose area cannot be read is alone.
    """
    kinds = defaultdict(list)
    for job in jobs:
        kinds[digest([job.output.root, job.model_dump(mode="json", include=_IN_COMMON)])].append(job)
    places: dict[Path, tuple[str, int]] = {}
    for kind, alike in kinds.items():
        boxes = {job.folder: box for job in alike if len(alike) > 1 and (box := _box(job))}
        if not boxes:
            continue
        parts = shapely.get_parts(shapely.union_all(list(boxes.values())))
        found, part = shapely.STRtree(parts).query([box.centroid for box in boxes.values()], "intersects")
        folders = list(boxes)
        places |= {folders[number]: (kind, int(place)) for number, place in zip(found, part, strict=True)}
    groups: dict[Any, list[Job]] = {}
    for job in jobs:
        groups.setdefault(places.get(job.folder, job.folder), []).append(job)
    return list(groups.values())


def _box(job: Job) -> shapely.Polygon | None:
    if job.grid.transform:  # the pixels are there, wherever the area is
        return shapely.box(0, 0, 1, 1)
    try:
        return shapely.box(*load_aoi(job.aoi).lonlat.bounds)
    except Exception:  # noqa: BLE001  which the job's own run meets, and tells
        return None


class Share:
    """Images that several jobs want, all of them in the window around these jobs.

    A plain class, so that Prefect does not search its fields.

    Attributes:
        plan: fetches the images in that window.
        members: the jobs, with their own plans for their parts of it.
    """

    def __init__(self, plan: Plan, members: Sequence[Outlook]):
        self.plan, self.members = plan, members

    def hand_over(self, image_id: str, store: BlockStore) -> None:
        """Gives each job its own blocks of an image, as far as they were fetched; then those of the window are let go.

        Args:
            image_id: the image.
            store: where the window's blocks are.
        """
        load = lru_cache(maxsize=4)(store.load)
        for member in self.members:
            for window, bands, key in member.plan.blocks(image_id):
                if not member.store.has(key) and (block := self._cut(member.plan, image_id, window, bands, load)):
                    member.store.save(key, block)
        for _, _, key in self.plan.blocks(image_id):
            store.discard(key)

    def _cut(
        self, own: Plan, image_id: str, window: Window, bands: Sequence[str], load: Callable[[str], Block | None]
    ) -> Block | None:
        """A block of a job's own plan; None where something of it is not there."""
        origin = _place(own.series.grid, self.plan.series.grid)
        assert origin  # by which it became a member
        wanted = replace(window, row=window.row + origin.row, col=window.col + origin.col)
        cut = Block.empty((window.height, window.width), {name: own.series.band(name).dtype for name in bands})
        for whole, names, key in self.plan.blocks(image_id):
            shared, part = [name for name in names if name in bands], wanted.overlap(whole)
            if not (shared and part):
                continue
            block = load(key)
            if block is None:
                return None
            piece = block.part(replace(part, row=part.row - whole.row, col=part.col - whole.col), shared)
            cut.paste(piece, part.row - wanted.row, part.col - wanted.col)
        return cut


def shares(outlooks: Iterable[Outlook], pace: Pace) -> list[Share]:
    """What jobs of a group can fetch together; what is in none of these, each fetches for itself."""
    by_name = {outlook.job.name: outlook for outlook in outlooks}
    found = []
    for base, places in _lattices(by_name.values()):
        for names, images in _wanted_by([by_name[name] for name in places]).items():
            for window, together in _around({name: places[name] for name in names}):
                series = replace(base, images=tuple(images), grid=window.of(base.grid))
                found.append(_share(series, tuple(by_name[name] for name in together), pace))
    return [share for share in found if share.plan.requests]


def _lattices(outlooks: Iterable[Outlook]) -> list[tuple[Series, dict[str, Window]]]:
    """Jobs whose pixels are made alike and are the same: a series of one of them, and by name where the grids lie."""
    found: list[tuple[Series, dict[str, Window]]] = []
    for outlook in outlooks:
        series = outlook.plan.series
        for base, places in found:
            if _made(series) == _made(base) and (place := _place(series.grid, base.grid)):
                places[outlook.job.name] = place
                break
        else:
            found.append((series, {outlook.job.name: Window(0, 0, *series.grid.shape)}))
    return found


def _made(series: Series) -> list[Any]:
    return [series.source, series.recipe.content, series.bands, series.region, series.packing]


def _place(grid: GeoBox, base: GeoBox) -> Window | None:
    """Where a grid lies on the pixels of another, also beyond its extent; None where it has others."""
    one, other = grid.transform, base.transform
    if grid.crs != base.crs or (one.a, one.b, one.d, one.e) != (other.a, other.b, other.d, other.e):
        return None
    col, row = ~other @ (one.c, one.f)
    if max(abs(col - round(col)), abs(row - round(row))) > SNAP_TOLERANCE:
        return None
    return Window(round(row), round(col), *grid.shape)


def _wanted_by(outlooks: Iterable[Outlook]) -> dict[tuple[str, ...], list[Image]]:
    """By the names of the jobs that want them, the images that several do: made of the same scenes."""
    images, names = {}, defaultdict(list)
    for outlook in outlooks:
        for product in outlook.wanted:
            content = digest(product.image.content)
            images[content] = product.image
            names[content].append(outlook.job.name)
    wanted = defaultdict(list)
    for content, image in images.items():
        if len(names[content]) > 1:
            wanted[tuple(names[content])].append(image)
    return wanted


def _around(places: Mapping[str, Window]) -> list[tuple[Window, list[str]]]:
    """Windows that several jobs share, and their names.

    Two that overlap become one as long as it has not many more pixels than theirs added up: of fields that touch at
    their corners, most of it would be wanted by none.
    """
    found: list[tuple[Window, int, list[str]]] = []
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        window, pixels, names = place, place.size, [name]
        while True:
            near = [
                other
                for other in found
                if window.overlap(other[0]) and _is_worth_it(window.around(other[0]), pixels + other[1])
            ]
            if not near:
                break
            best = min(near, key=lambda other: window.around(other[0]).size - other[1])
            found.remove(best)
            window, pixels, names = window.around(best[0]), pixels + best[1], [*best[2], *names]
        found.append((window, pixels, names))
    return [(window, names) for window, _, names in found if len(names) > 1]


def _is_worth_it(around: Window, pixels: int) -> bool:
    return around.size <= pixels * (_MOST_AROUND if around.size <= _SMALL else 1)


def _share(series: Series, members: tuple[Outlook, ...], pace: Pace) -> Share:
    """The plan for a window, without images of which every job has its blocks."""
    there = {image.image_id for image in series.images if all(_has(member, image.image_id) for member in members)}
    plan = make_plan(members[0].job, series, is_done=lambda product: product.image.image_id in there, pace=pace)
    return Share(plan, members)


def _has(member: Outlook, image_id: str) -> bool:
    return all(member.store.has(key) for _, _, key in member.plan.blocks(image_id))
