"""Where a flow's tasks run: threads of its own process, or a Dask cluster when the environment names one."""

from __future__ import annotations

import os
from typing import Any

from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from eeflow.errors import ConfigError

# Enough that some fetch while others wait for their retry, which keeps a task's thread; the other threads write.
BATCHES_AT_ONCE = 6
TASK_THREADS = BATCHES_AT_ONCE + max(2, os.cpu_count() or 1)
VARIABLE = "EEFLOW_DASK"


def task_runner() -> TaskRunner[Any]:
    """Threads; with EEFLOW_DASK set, that many local processes, or the cluster at that address.

    Each process has its own session with Earth Engine; what they may have open together is counted by the Prefect
    server's limit, so a cluster needs a running server.

    Raises:
        ConfigError: the optional packages are not installed.
    """
    cluster = os.environ.get(VARIABLE)
    if not cluster:
        return ThreadPoolTaskRunner(max_workers=TASK_THREADS)
    try:
        from prefect_dask import DaskTaskRunner  # noqa: PLC0415  an optional extra
    except ImportError:
        raise ConfigError(
            f"{VARIABLE} is set to {cluster!r}, which needs the packages of: pip install '.[dask]'"
        ) from None
    if cluster.isdigit():
        size = {"n_workers": int(cluster), "threads_per_worker": TASK_THREADS, "processes": True}
        return DaskTaskRunner(cluster_kwargs={**size, "dashboard_address": None})
    return DaskTaskRunner(address=cluster)
