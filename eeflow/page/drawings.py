"""The page's drawings: what arrived when, each band through time, and where it all is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import shapely
from markupsafe import Markup
from shapely.geometry.base import BaseGeometry

from eeflow.page.facts import Band, Facts, Point, Shown
from eeflow.page.svg import Scale, date_ticks, drawing, element, line, round_ticks, text

_WIDTH = 1000.0
_DAY = 86400.0
_LEFT, _RIGHT = 58.0, 8.0
_METRES_PER_DEGREE = 111_320.0
_MOST_EXPLAINED = 1000  # dots with words of their own; more would make the page too large to open


def timeline(facts: Facts) -> Markup | None:
    """A strip a year, with a mark a product and hatched gaps; None where products have no times."""
    if facts.period is None:
        return None
    years = range(*(datetime.fromtimestamp(at, UTC).year + n for n, at in enumerate(facts.period)))
    top, row, height = 20.0, 40.0, 28.0
    parts: list[Markup] = []
    for month in range(12):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * month / 12
        parts.append(text(f"{datetime(2000, month + 1, 1):%b}", x + 3, 12, class_="faint"))
    for number, year in enumerate(years):
        y = top + number * row
        parts.extend(_year(facts, year, y, height))
    return drawing(_WIDTH, top + len(years) * row - (row - height) + 2, parts, "Products by day, a strip a year")


def _year(facts: Facts, year: int, y: float, height: float) -> Iterator[Markup]:
    start, end = (datetime(n, 1, 1, tzinfo=UTC).timestamp() for n in (year, year + 1))
    scale = Scale(start, end, _LEFT, _WIDTH - _RIGHT)
    assert facts.period is not None  # the caller's
    first, last = max(start, facts.period[0]), min(end, facts.period[1] + _DAY)
    yield text(year, _LEFT - 8, y + height / 2 + 4, "end", "year")
    yield element("rect", x=_LEFT, y=y, width=scale.end - _LEFT, height=height, class_="outside")
    yield element(
        "rect", x=scale(first), y=y, width=max(1.0, scale(last) - scale(first)), height=height, class_="inside"
    )
    for month in range(2, 13):
        x = scale(datetime(year, month, 1, tzinfo=UTC).timestamp())
        yield line(x, y, x, y + height, "month")
    for before, after in facts.gaps:
        left, right = scale(max(before + _DAY, start)), scale(min(after, end))
        if right - left > 1:
            title = f"{(after - before) / _DAY:.0f} days without a product, from {_date(before)} to {_date(after)}"
            yield element("rect", element("title", title), x=left, y=y, width=right - left, height=height, class_="gap")
            if right - left > 26:
                yield text(f"{(after - before) / _DAY:.0f} d", (left + right) / 2, y + 12, "middle", "gaptext")
    shown = [
        s for s in facts.products if s.start is not None and s.end is not None and s.start < end and s.end >= start
    ]
    for product in sorted(shown, key=lambda product: not product.row.on_disk):
        yield _mark(product, scale, start, end, y, height)


def _mark(product: Shown, scale: Scale, start: float, end: float, y: float, height: float) -> Markup:
    """A product: a day wide, or its period; paler where less of it is valid."""
    assert product.start is not None and product.end is not None  # the caller's
    left, right = scale(max(product.start, start)), scale(min(product.end, end))
    opacity = 0.25 + 0.75 * product.valid if product.row.on_disk and product.valid is not None else None
    inset = 0.0 if product.row.on_disk else height / 2
    return element(
        "rect",
        element("title", product.story),
        x=left,
        y=y + inset,
        width=max(3.2, right - left - 1),
        height=height - inset,
        class_=product.row.status,
        opacity=opacity,
    )


def series(facts: Facts, band: Band) -> Markup | None:
    """A band's mean over the area through time; None where nothing was counted."""
    if not band.points or facts.period is None:
        return None
    height, top, bottom, below = 200.0, 10.0, 24.0, 22.0  # below: room for the words at the lowest dot
    means = [numbers["mean"] for _, _, numbers in band.points]
    low, high = min(means), max(means)
    margin = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    day = max(_DAY, (facts.period[1] - facts.period[0]) * 0.01)
    x = Scale(facts.period[0] - day, facts.period[1] + day, _LEFT, _WIDTH - _RIGHT)
    y = Scale(low - margin, high + margin, height - bottom - below, top)
    parts = [*_axes(x, y, height - bottom), *_absent(facts, x, height - bottom)]
    places = [(x(at), y(numbers["mean"])) for at, _, numbers in band.points]
    parts.append(element("polyline", points=" ".join(f"{px:.1f},{py:.1f}" for px, py in places), class_="through"))
    for point, place in zip(band.points, places, strict=True):
        parts.extend(_dot(point, place, y, explained=len(band.points) <= _MOST_EXPLAINED))
    parts.extend(_extremes(band, places))
    return drawing(_WIDTH, height, parts, f"Mean of {band.name} over the area through time")


def _dot(point: Point, place: tuple[float, float], y: Scale, *, explained: bool) -> Iterator[Markup]:
    """A mean, and where it is explained a standard deviation up and down, and what it is in words."""
    (at, shown, numbers), (px, py) = point, place
    valid, title = shown.valid or 0.0, Markup()
    if explained:
        spread = [max(y.end, min(y.start, y(numbers["mean"] + sign * numbers["std"]))) for sign in (-1, 1)]
        yield line(px, spread[0], px, spread[1], "spread")
        title = element(
            "title",
            f"{_date(at)}: mean {_number(numbers['mean'])}, median {_number(numbers['median'])}, standard deviation "
            f"{_number(numbers['std'])}, {numbers['count']:,.0f} pixels; {valid:.0%} valid",
        )
    yield element("circle", title, cx=px, cy=py, r=1.5 + 2.5 * valid, opacity=0.3 + 0.7 * valid)


def _axes(x: Scale, y: Scale, bottom: float) -> Iterator[Markup]:
    for tick in round_ticks(y.low, y.high, 5):
        yield line(x.start, y(tick), x.end, y(tick), "rule")
        yield text(f"{tick:,.6g}", x.start - 6, y(tick) + 4, "end", "faint")
    for day, name in date_ticks(x.low, x.high, 14):
        at = x(day.timestamp())
        yield line(at, y.end, at, bottom + 4, "rule")
        yield text(name, at + 3, bottom + 16, class_="faint")


def _absent(facts: Facts, x: Scale, bottom: float) -> Iterator[Markup]:
    """Ticks on the axis for products that are not there."""
    for shown in facts.absent:
        if shown.start is not None:
            at = x(shown.start)
            yield element(
                "rect",
                element("title", shown.story),
                x=at - 1.5,
                y=bottom - 7,
                width=3,
                height=7,
                class_=shown.row.status,
            )


def _extremes(band: Band, places: Sequence[tuple[float, float]]) -> Iterator[Markup]:
    """The highest and the lowest, in words."""
    numbered = [(numbers["mean"], index) for index, (_, _, numbers) in enumerate(band.points)]
    for (mean, index), offset in ((max(numbered), -7.0), (min(numbered), 15.0)):
        px, py = places[index]
        near_end = px > _WIDTH - 160
        words = f"{_number(mean)} on {_date(band.points[index][0])}"
        yield text(
            words, px - 9 if near_end else px + 9, max(12, py + offset), "end" if near_end else "start", "extreme"
        )


def area_map(facts: Facts) -> Markup | None:
    """Footprints, the area and the grid with a graticule and a scale bar; None where nothing says where it is."""
    shapes = [geometry for geometry, _ in facts.footprints] + ([facts.area] if facts.area else [])
    if not shapes:
        return None
    over = any(east - west > 180 for west, _, east, _ in (shape.bounds for shape in shapes))
    footprints = [(_unwrapped(geometry, over=over), count) for geometry, count in facts.footprints]
    area = _unwrapped(facts.area, over=over) if facts.area else None
    bounds = shapely.total_bounds([geometry for geometry, _ in footprints] + ([area] if area else []))
    width, height, margin = 560.0, 420.0, 34.0
    west, south, east, north = (float(value) for value in bounds)
    shrink = max(0.01, math.cos(math.radians((south + north) / 2)))
    # Degrees of latitude a pixel, so that all is inside.
    unit = max((east - west) * shrink / (width - 2 * margin), (north - south) / (height - 2 * margin), 1e-9)
    middle = ((west + east) / 2, (south + north) / 2)
    x = Scale(middle[0] - width / 2 * unit / shrink, middle[0] + width / 2 * unit / shrink, 0, width)
    y = Scale(middle[1] - height / 2 * unit, middle[1] + height / 2 * unit, height, 0)
    parts = [element("rect", x=0, y=0, width=width, height=height, class_="sea"), *_graticule(x, y)]
    for geometry, count in footprints:
        title = element("title", f"footprint of {count} product{'s' if count > 1 else ''}")
        opacity = 0.06 + 0.16 * count / max(1, len(facts.written))
        parts.append(element("path", title, d=_path(geometry, x, y), class_="footprint", fill_opacity=opacity))
    if area is not None:
        title = element("title", "the area")
        parts.append(element("path", title, d=_path(area, x, y), class_="area", fill_rule="evenodd"))
    parts += [*_coordinates(x, y), *_scale_bar(unit, width, height)]
    return drawing(width, height, parts, "Footprints of the products and the area")


def _graticule(x: Scale, y: Scale) -> Iterator[Markup]:
    yield from (line(x(at), y.end, x(at), y.start, "graticule") for at in round_ticks(x.low, x.high, 6))
    yield from (line(x.start, y(at), x.end, y(at), "graticule") for at in round_ticks(y.low, y.high, 5))


def _coordinates(x: Scale, y: Scale) -> Iterator[Markup]:
    """What the lines of the graticule are, where there is room."""
    for longitude in round_ticks(x.low, x.high, 6):
        if x(longitude) < x.end - 60:
            yield text(_degrees((longitude + 180) % 360 - 180, "EW"), x(longitude) + 3, y.end + 12, class_="degrees")
    for latitude in round_ticks(y.low, y.high, 5):
        if y(latitude) > y.end + 30:
            yield text(_degrees(latitude, "NS"), x.start + 4, y(latitude) - 3, class_="degrees")


def _scale_bar(unit: float, width: float, height: float) -> Iterator[Markup]:
    metres = unit * _METRES_PER_DEGREE
    length = round_ticks(0, metres * width / 3, 3)[-1] or metres * width / 3
    right, bottom, pixels = width - 16, height - 16, length / metres
    yield element("path", d=f"M{right - pixels:.1f} {bottom - 5}V{bottom}H{right}V{bottom - 5}", class_="bar")
    words = f"{length / 1000:,.6g} km" if length >= 1000 else f"{length:,.6g} m"
    yield text(words, right - pixels / 2, bottom - 8, "middle")


def _path(geometry: BaseGeometry, x: Scale, y: Scale) -> str:
    """Rings of polygons, with no more vertices than can be seen."""
    fine = geometry.simplify(abs(y.high - y.low) / abs(y.start - y.end) / 4)
    polygons = [part for part in getattr(fine, "geoms", [fine]) if part.geom_type == "Polygon"]
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.interiors)]
    return "".join(f"M{'L'.join(f'{x(px):.1f} {y(py):.1f}' for px, py in ring.coords)}Z" for ring in rings)


def _unwrapped(geometry: BaseGeometry, *, over: bool) -> BaseGeometry:
    """Over the antimeridian, the western hemisphere goes on beyond 180 degrees."""
    if not over:
        return geometry
    return shapely.transform(geometry, lambda xy: xy + [[360.0, 0.0]] * (xy[:, :1] < 0))


def _degrees(value: float, letters: str) -> str:
    letter = "" if abs(value) < 1e-9 else letters[0] if value > 0 else letters[1]
    return f"{abs(value):.6g}° {letter}".strip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _date(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%-d %b %Y}"
