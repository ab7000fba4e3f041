"""What tells of all products of a folder, as a task."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from eeflow.beside import finish_folder

finish_folder_task = task(name="catalog and table", cache_policy=NO_CACHE)(finish_folder)
