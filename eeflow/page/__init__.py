"""One HTML page about a job's folder: what arrived, what is missing, and what the bands did. It needs no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import jinja2
from PIL import Image, features

from eeflow import __version__
from eeflow.output import readable_size, whole_file
from eeflow.page.drawings import area_map, series, timeline
from eeflow.page.facts import Facts, Shown, gather

PAGE_NAME = "report.html"
# Pictures of one page together, before base64 makes a third more of them.
_PICTURE_BYTES = 2_500_000
_SIDES = (168, 120, 84, 56)
_MOST_PICTURES = 1500
_MOST_ROWS = 2000
_MOST_REASONS = 12
_MOST_PLOTS = 4  # the others are folded away


def write_page(folder: Path, out: Path | None = None) -> Path:
    """Writes the page of a job's folder to `out`, or to `report.html` in the folder.

    Raises:
        LedgerError: the ledger cannot be read.
        GridError: the grid's file was changed or damaged.
        OSError: the page cannot be written.
    """
    path = out or folder / PAGE_NAME
    html = render(gather(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(html, encoding="utf-8")
    return path


def render(facts: Facts) -> str:
    """The page as HTML; everything from outside is escaped."""
    loader = jinja2.PackageLoader("eeflow.page", "")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"percent": _percent, "size": readable_size}
    strip = facts.products[-_MOST_PICTURES:]
    return environment.get_template("page.html").render(
        facts=facts,
        version=__version__,
        now=datetime.now(UTC),
        verdict=_verdict(facts),
        reasons=_reasons(facts),
        median_valid=median([shown.valid or 0 for shown in facts.written]) if facts.written else None,
        timeline=timeline(facts),
        map=area_map(facts),
        plots=[(band, plot) for band in facts.bands if (plot := series(facts, band))],
        most_plots=_MOST_PLOTS,
        aspect=_aspect(facts),
        strip=strip,
        rows=facts.products[-_MOST_ROWS:],
        pictures=_pictures(facts.folder, strip),
    )


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.0%}" if fraction in (0, 1) else f"{fraction:.1%}"


def _verdict(facts: Facts) -> str:
    """What arrived and what is missing, in a sentence or two."""
    if not facts.products:
        return "Nothing was asked for yet."
    counts = facts.counts
    absent = [f"{counts[status]} {status}" for status in ("rejected", "failed", "removed") if counts[status]]
    here = f"{len(facts.written)} of {len(facts.products)} products are here"
    gaps = facts.gaps
    longest = max(((after - before) / 86400 for before, after in gaps), default=0)
    pause = f"; {len(gaps)} gap{'s' * (len(gaps) > 1)}, the longest of {longest:.0f} days" if gaps else ""
    return f"{here}{': ' if absent else ', none is missing'}{', '.join(absent)}{pause}."


def _reasons(facts: Facts) -> list[tuple[str, str, int, str]]:
    """Status, what in words, how many and why, the most frequent first; numbers in reasons do not tell them apart."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for shown in facts.absent:
        text = shown.row.reason or shown.row.error_kind or "no reason is known"
        groups.setdefault((shown.row.status, shown.row.status, shown.row.error_kind or _wording(text)), []).append(text)
    for text in (text for shown in facts.written for text in shown.row.left_out.values()):
        groups.setdefault(("written", "left out of what is here", _wording(text)), []).append(text)
    counted = [(status, what, len(texts), texts[-1]) for (status, what, _), texts in groups.items()]
    return sorted(counted, key=lambda group: -group[2])[:_MOST_REASONS]


def _wording(text: str) -> str:
    return "".join(letter for letter in text if not letter.isdigit())


def _aspect(facts: Facts) -> float:
    """Width of a frame over its height: the grid's, but never a thin strip."""
    if facts.grid is None:
        return 1.0
    height, width = facts.grid.shape
    return float(round(min(2.0, max(0.6, width / height)), 3))


def _pictures(folder: Path, products: Sequence[Shown]) -> dict[str, str]:
    """Quicklooks as data URIs, by path of the product, as large as all of them together may be."""
    paths = {shown.row.path: (folder / shown.row.path).with_suffix(".png") for shown in products if shown.row.on_disk}
    found = {name: path for name, path in paths.items() if path.exists()}
    small: dict[str, bytes] = {}
    for side in _SIDES:
        small = {}
        for name, path in found.items():
            small[name] = _small(path, side)
            if sum(map(len, small.values())) > _PICTURE_BYTES:
                break
        else:
            break
    kind = "webp" if features.check("webp") else "png"
    return {name: f"data:image/{kind};base64,{base64.b64encode(data).decode()}" for name, data in small.items()}


def _small(path: Path, side: int) -> bytes:
    """A picture of at most `side` pixels a side, transparent where it was."""
    buffer = io.BytesIO()
    with Image.open(path) as picture:
        picture.thumbnail((side, side), Image.Resampling.BOX)
        if features.check("webp"):
            picture.convert("RGBA").save(buffer, "WEBP", quality=72, method=2)
        else:
            picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
