"""What a run tells: one row a product, and what it took; as JSON for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from eeflow.ledger import without

Status = Literal["written", "present", "rejected", "failed"]
Change = Literal["new", "late", "changed"]


@dataclass(frozen=True)
class ProductReport:
    """One product: `written` by this run, `present` from an earlier one, `rejected` as the job asks, or `failed`.

    Attributes:
        path: the GeoTIFF; where it would be, when it failed.
        valid_fraction: share of its pixels that are valid in every band.
        error: why it is not there.
        change: why it was written: `new`; `late`: its scene is older than others that were there; or `changed`: it was
            there, and its scenes or the job are others now.
        left_out: by id, scenes of its day or period that were left out, and why.
    """

    path: str
    sha256: str | None
    scene_ids: list[str]
    time_start: str | None
    valid_fraction: float | None
    status: Status
    error: str | None = None
    change: Change | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def remark(self) -> str:
        """For people: why it is not there, or what it was made without."""
        return self.error or without(self.left_out, len(self.scene_ids))


@dataclass(frozen=True)
class RunReport:
    """A run of one job.

    Attributes:
        requests: requests sent to Earth Engine, listings and retried ones too.
        retries: requests that failed and were asked again.
        splits: requests that Earth Engine found too large.
        cached: blocks that did not have to be asked for.
        disappeared: products, by path, whose scenes Earth Engine does not list any more; they are kept.
        removed: products, by path, that `retention` does not keep.
        warnings: what people should know of.
        limit: which limit of the job was met on the way, so that not all was asked for.
    """

    job: str
    folder: str
    products: list[ProductReport]
    requests: int
    retries: int
    splits: int
    cached: int
    seconds: float
    disappeared: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    limit: str | None = None

    @property
    def failed(self) -> list[ProductReport]:
        """Products that could not be made."""
        return [product for product in self.products if product.status == "failed"]

    @property
    def some_done(self) -> bool:
        """Whether not everything failed."""
        return len(self.failed) < len(self.products)

    @property
    def error(self) -> str | None:
        """What went wrong first, if anything did."""
        return self.failed[0].error if self.failed else None

    @property
    def summary(self) -> str:
        """One line for people."""
        if not (self.products or self.disappeared or self.removed):
            return f"{self.job}: no scenes match the area, dates and filters, so there is nothing to download"
        counts = [count_products(self.products)]
        counts += [f"{len(self.disappeared)} not listed any more"] if self.disappeared else []
        counts += [f"{len(self.removed)} removed by retention"] if self.removed else []
        return f"{self.job}: {', '.join(counts)}; {self.requests} requests in {self.seconds:.1f} s"

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class JobOutcome:
    """What became of one job of a campaign: its report, or the error it ended with."""

    job: str
    report: RunReport | None = None
    error: str | None = None

    @property
    def problem(self) -> str | None:
        """What went wrong first, if anything did."""
        return self.error or (self.report and self.report.error)

    @property
    def some_done(self) -> bool:
        """Whether not everything failed."""
        return not self.problem or bool(self.report and self.report.some_done)

    @property
    def status(self) -> Literal["done", "partly", "failed"]:
        """In a word."""
        return "done" if not self.problem else "partly" if self.some_done else "failed"

    def as_json(self) -> dict[str, Any]:
        """The outcome as plain values; the products are the campaign's."""
        own = {"job": self.job, "status": self.status, "error": self.problem}
        if self.report is None:
            return own
        return own | {
            "folder": self.report.folder,
            "products": len(self.report.products),
            "requests": self.report.requests,
        }


@dataclass(frozen=True)
class CampaignReport:
    """A run of a campaign.

    Attributes:
        requests: requests sent to Earth Engine, listings and retried ones too.
        retries: requests that failed, most of which were asked again.
    """

    campaign: str
    outcomes: list[JobOutcome]
    requests: int
    retries: int
    seconds: float

    @property
    def failed(self) -> list[JobOutcome]:
        """Jobs of which something failed."""
        return [outcome for outcome in self.outcomes if outcome.problem]

    @property
    def some_done(self) -> bool:
        """Whether not everything failed."""
        return any(outcome.some_done for outcome in self.outcomes)

    @property
    def error(self) -> str | None:
        """What went wrong first, if anything did."""
        if not self.failed:
            return None
        first, others = self.failed[0], len(self.failed) - 1
        return f"{first.job}: {first.problem}" + (f" (and {others} more jobs failed)" if others else "")

    @property
    def products(self) -> list[ProductReport]:
        """Those of all jobs."""
        return [product for outcome in self.outcomes if outcome.report for product in outcome.report.products]

    @property
    def warnings(self) -> list[str]:
        """Those of all jobs, each once."""
        return sorted({warning for outcome in self.outcomes if outcome.report for warning in outcome.report.warnings})

    @property
    def summary(self) -> str:
        """One line for people."""
        done = len(self.outcomes) - len(self.failed)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return (
            f"{self.campaign}: {done} of {len(self.outcomes)} jobs done{failed}; {count_products(self.products)}; "
            f"{self.requests} requests in {self.seconds:.1f} s"
        )

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        reports = [outcome.report for outcome in self.outcomes if outcome.report]
        return {
            "campaign": self.campaign,
            "jobs": [outcome.as_json() for outcome in self.outcomes],
            "products": [asdict(product) for product in self.products],
            "requests": self.requests,
            "retries": self.retries,
            "splits": sum(report.splits for report in reports),
            "cached": sum(report.cached for report in reports),
            "seconds": self.seconds,
        }


def count_products(products: Sequence[ProductReport]) -> str:
    """How many products there are of each status, such as `3 written (1 late), 1 failed`."""
    counts = Counter(product.status for product in products)
    changes = Counter(product.change for product in products if product.change in ("late", "changed"))
    others = ", ".join(f"{count} {change}" for change, count in changes.items())
    detail = {"written": f" ({others})"} if others else {}
    return ", ".join(f"{count} {status}{detail.get(status, '')}" for status, count in counts.items()) or "no products"
