"""The `ee` client: with whose credentials, and how it starts. It builds expressions; `eeflow.session` sends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import ee
import google.auth.exceptions
import orjson
from google.auth.credentials import AnonymousCredentials
from google.oauth2 import service_account

from eeflow.errors import AccessDenied, BadAnswer, ConfigError, RequestError, TransientError, cause_of
from eeflow.settings import Settings

_SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]


def find_credentials(settings: Settings) -> Any:
    """What the settings name, else what the user signed in with.

    Raises:
        ConfigError: there are none, or the key cannot be read.
    """
    chosen = settings.credentials
    if chosen == "anonymous":
        return AnonymousCredentials()
    if chosen is None:
        try:
            return ee.data.get_persistent_credentials()
        except (ee.EEException, google.auth.exceptions.GoogleAuthError):
            raise ConfigError(
                "No Earth Engine credentials were found. Run `earthengine authenticate`, or set "
                "EEFLOW_EE_CREDENTIALS to a service-account key, or EEFLOW_EE_URL=local to try without an account."
            ) from None
    path = Path(chosen).expanduser()
    try:
        return service_account.Credentials.from_service_account_file(str(path), scopes=_SCOPES)
    except OSError as error:
        raise ConfigError(f"EEFLOW_EE_CREDENTIALS names {path}, which cannot be read: {error.strerror}.") from None
    except ValueError:
        raise ConfigError(
            f"EEFLOW_EE_CREDENTIALS names {path}, which is not a service-account key in JSON form."
        ) from None


def sign_in_error(error: Exception) -> RequestError:
    """The error for one of Google's library, which signs in as requests are sent."""
    if isinstance(error, google.auth.exceptions.TransportError):
        return TransientError(f"Google's sign-in service did not answer: {cause_of(error)}.")
    return AccessDenied(
        f"The credentials were not accepted: {cause_of(error)}. Run `earthengine authenticate` again, or check the "
        "key that EEFLOW_EE_CREDENTIALS names."
    )


def initialise_client(settings: Settings, credentials: Any, ask: Callable[[], Any]) -> None:
    """Teaches the client Earth Engine's algorithms, from which it builds expressions.

    Their list is in the client's own package, so that connecting costs no request.

    Args:
        settings: with the project.
        credentials: as `find_credentials` finds them.
        ask: asks Earth Engine for them, as `known_algorithms`, should the package lack the list.

    Raises:
        AccessDenied: the project or the credentials are not accepted.
        RequestError: as `ask` raises.
    """
    packaged = resources.files(ee) / "tests" / "algorithms.json"
    known = known_algorithms(orjson.loads(packaged.read_bytes())) if packaged.is_file() else ask()
    with _offline_client(known):
        try:
            ee.Initialize(credentials, url=settings.ee_url, project=settings.project)
        except ee.EEException as error:
            raise AccessDenied(f"Earth Engine does not accept project {settings.project}: {error}") from error


def known_algorithms(listed: Any) -> dict[str, Any]:
    """Earth Engine's list of algorithms as the client keeps it.

    Raises:
        BadAnswer: it is no such list.
    """
    try:
        known: dict[str, Any] = ee._cloud_api_utils.convert_algorithms(listed)
        return known
    except (AttributeError, KeyError, TypeError) as error:
        raise BadAnswer(f"no list of algorithms ({type(error).__name__}: {error})") from error


@contextmanager
def _offline_client(algorithms: dict[str, Any]) -> Iterator[None]:
    """The client initialises itself without a request of its own.

    It would ask for its description of the service twice and for the algorithms, one after the other, with retries of
    its own; and for a public catalogue of deprecated assets without a time limit, which hangs for minutes on a silent
    network and only feeds warnings.
    """
    ee.deprecation._FetchDataCatalogStac = dict
    before = ee.data._install_cloud_api_resource, ee.data.getAlgorithms
    ee.data._install_cloud_api_resource, ee.data.getAlgorithms = (lambda: None), (lambda: algorithms)
    try:
        yield
    finally:
        ee.data._install_cloud_api_resource, ee.data.getAlgorithms = before
