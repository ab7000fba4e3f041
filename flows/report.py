"""What a run tells: one row a product, and what it took; as JSON for programs, as Markdown for the Prefect UI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["written", "present", "failed"]


@dataclass(frozen=True)
class ProductReport:
    """One product: `written` by this run, `present` from an earlier one, or `failed`.

    Attributes:
        path: the GeoTIFF; where it would be, when it failed.
        valid_fraction: share of its pixels that are valid in every band.
    """

    path: str
    sha256: str | None
    scene_ids: list[str]
    time_start: str | None
    valid_fraction: float | None
    status: Status
    error: str | None = None


@dataclass(frozen=True)
class RunReport:
    """A run of one job.

    Attributes:
        requests: requests sent to Earth Engine, listings and retried ones too.
        retries: requests that failed and were asked again.
        splits: requests that Earth Engine found too large.
        cached: blocks that did not have to be asked for.
    """

    job: str
    folder: str
    products: list[ProductReport]
    requests: int
    retries: int
    splits: int
    cached: int
    seconds: float

    @property
    def failed(self) -> list[ProductReport]:
        """Products that could not be made."""
        return [product for product in self.products if product.status == "failed"]

    @property
    def summary(self) -> str:
        """One line for people."""
        if not self.products:
            return f"{self.job}: no scenes match the area, dates and filters, so there is nothing to download"
        counts = {status: sum(p.status == status for p in self.products) for status in ("written", "present", "failed")}
        parts = [f"{count} {status}" for status, count in counts.items() if count]
        return f"{self.job}: {', '.join(parts)}; {self.requests} requests in {self.seconds:.1f} s"

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)

    def markdown(self) -> str:
        """The report as a page."""
        return "\n".join(
            [f"# {self.job}", "", self.summary, "", f"Folder: `{self.folder}`", "", *_table(self.products)]
        )


def _table(products: Sequence[ProductReport]) -> list[str]:
    if not products:
        return []
    rows = [
        f"| `{product.path.rpartition('/')[2]}` | {product.time_start or ''} | {_percent(product.valid_fraction)} | "
        f"{product.status} | {product.error or ''} |"
        for product in products
    ]
    return ["| product | time | valid | status | error |", "|---|---|---|---|---|", *rows]


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"
