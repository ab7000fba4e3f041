"""The page of a run in the Prefect UI: its report with a picture, and where its files come from."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.assets import Asset, AssetProperties, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run

from eeflow.config import Job
from eeflow.quicklook import thumbnail
from flows.report import CampaignReport, ProductReport, RunReport, count_products

NEW_DATA = "eeflow.new-data"
"""The event of a run that wrote products, on which automations may act."""

_WIDTH = 400
# The page becomes slow with more; the ledger has them all.
_MOST_ROWS = 200


def show(report: RunReport, job: Job, kind: str = "download") -> None:
    """Puts a run's report on its page and in its log, and its files into the lineage of assets."""
    create_markdown_artifact(run_page(report), key=f"{kind}-report", description=report.summary)
    if any(product.status == "written" for product in report.products):
        _record_lineage(report, job)
        if flow_run.parent_flow_run_id is None:  # else its campaign tells of it
            _tell_of_new_data("job", report.job, report.folder, report.summary)
    get_run_logger().info(report.summary)


def show_campaign(report: CampaignReport) -> None:
    """Puts a campaign's report on its page and in its log."""
    create_markdown_artifact(campaign_page(report), key="campaign-report", description=report.summary)
    if written := [product for product in report.products if product.status == "written"]:
        _tell_of_new_data("campaign", report.campaign, str(Path(written[0].path).parents[1]), report.summary)
    get_run_logger().info(report.summary)


def run_page(report: RunReport) -> str:
    """A run as Markdown: what it did, the picture of the product with the most valid pixels, a row for each product."""
    rows = [
        f"| {_link(product)} | {(product.time_start or '')[:16].replace('T', ' ')} | {_size(product)} | "
        f"{_percent(product.valid_fraction)} | {product.status} | {_cell(product.remark)} |"
        for product in report.products[:_MOST_ROWS]
    ]
    more = len(report.products) - len(rows)
    table = ["| product | time (UTC) | size | valid | status | remark |", "|---|---|--:|--:|---|---|", *rows]
    return "\n".join(
        [
            f"# {report.job}",
            "",
            report.summary,
            "",
            *(f"**Warning:** {warning}\n" for warning in report.warnings),
            f"Folder: [{report.folder}]({_uri(Path(report.folder))})",
            "",
            *_picture(report),
            *(table if rows else ()),
            *(["", f"... and {more} more."] if more else ()),
            *_listed("No longer listed by Earth Engine, and kept", report.disappeared),
            *_listed("Removed by retention", report.removed),
        ]
    )


def _listed(title: str, paths: list[str]) -> list[str]:
    more = [f"... and {len(paths) - _MOST_ROWS} more."] if len(paths) > _MOST_ROWS else []
    return ["", f"{title}:", "", *(f"- `{path}`" for path in paths[:_MOST_ROWS]), *more] if paths else []


def campaign_page(report: CampaignReport) -> str:
    """A campaign as Markdown: a row for each job, what failed first."""
    rows = [
        f"| {outcome.job} | {outcome.status} | {count_products(outcome.report.products) if outcome.report else ''} | "
        f"{_cell(outcome.problem)} |"
        for outcome in sorted(report.outcomes, key=lambda outcome: outcome.problem is None)
    ]
    header = ["| job | status | products | error |", "|---|---|---|---|"]
    return "\n".join([f"# {report.campaign}", "", report.summary, "", *header, *rows])


def _tell_of_new_data(kind: str, name: str, folder: str, summary: str) -> None:
    resource = {"prefect.resource.id": f"eeflow.{kind}.{name}", "prefect.resource.name": name}
    emit_event(NEW_DATA, resource, payload={"summary": summary, "folder": str(Path(folder).absolute())})


def _record_lineage(report: RunReport, job: Job) -> None:
    """Tells Prefect that the job's folder was made of its collection: one asset a run, since each is an event."""
    folder = Asset(
        key=_key("file", str(Path(report.folder).absolute())),
        properties=AssetProperties(name=job.name, description=f"GeoTIFFs of {job.collection or job.image}"),
    )
    source = Asset(key=_key("earthengine", str(job.collection or job.image)))

    @materialize(folder, asset_deps=[source], name="record lineage", cache_policy=NO_CACHE)
    def record() -> None:
        written = [product for product in report.products if product.status == "written"]
        add_asset_metadata(folder, {"products": [Path(product.path).name for product in written[:_MOST_ROWS]]})

    record()


def _key(scheme: str, path: str) -> str:
    """An asset's key, of the characters and length that Prefect allows."""
    return f"{scheme}://{re.sub(r'[^A-Za-z0-9/._:~-]', '_', path)[-480:]}"


def _picture(report: RunReport) -> list[str]:
    shown = [
        (product.valid_fraction or 0, product.time_start or "", picture)
        for product in report.products
        if (picture := Path(product.path).with_suffix(".png")).exists()
    ]
    if not shown:
        return []
    picture = max(shown)[2]
    image = base64.b64encode(thumbnail(picture, _WIDTH)).decode()
    return [f"![{picture.stem}](data:image/png;base64,{image})", "", f"`{picture.stem}`", ""]


def _link(product: ProductReport) -> str:
    path = Path(product.path)
    return f"[{path.name}]({_uri(path)})" if path.exists() else f"`{path.name}`"


def _size(product: ProductReport) -> str:
    path = Path(product.path)
    return f"{path.stat().st_size / 1e6:,.2f} MB" if path.exists() else ""


def _uri(path: Path) -> str:
    return path.absolute().as_uri()


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _percent(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%}"
