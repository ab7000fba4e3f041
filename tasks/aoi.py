"""The area of interest, as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.aoi import load_aoi

load_aoi_task = task(name="load AOI", cache_policy=NO_CACHE)(load_aoi)
