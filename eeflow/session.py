"""The one way to Earth Engine: initialises the `ee` client and sends its expressions.

The client builds the expression graphs; requests go out from here, because the client drops the HTTP status and
the Retry-After header of an error, retries on its own inside every other retry, and decodes answers of 98 MB
with the slowest parser. REST reference: https://developers.google.com/earth-engine/reference/rest
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ee
import google.auth.exceptions
import httplib2
import orjson
import requests
from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession
from google.oauth2 import service_account
from requests.adapters import HTTPAdapter

from eeflow import __version__
from eeflow.errors import (
    AccessDenied,
    BadAnswer,
    ConfigError,
    RequestError,
    TooManyRequests,
    TransientError,
    request_error,
)
from eeflow.gate import Gate
from eeflow.settings import Settings, load_settings

CONNECT_SECONDS = 20
# Earth Engine ends an interactive request after 5 minutes: https://developers.google.com/earth-engine/guides/usage
ANSWER_SECONDS = 330
_SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]
_initialising = threading.Lock()
_sessions: dict[Settings, Session] = {}


@dataclass
class Session:
    """An initialised connection. Safe to use from many threads.

    Attributes:
        requests: requests sent so far; pixels and listings alike.
        failures: requests that failed so far, for whatever reason.
    """

    settings: Settings
    http: requests.Session
    gate: Gate
    requests: int = 0
    failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def compute(self, expression: ee.ComputedObject) -> bytes:
        """The JSON body of the answer to one `value:compute` request.

        Raises:
            TransientError: the same request may succeed later.
            RequestTooLarge: it must be split.
            RequestError: Earth Engine refuses it for good.
        """
        return self._send("value:compute", {"expression": ee.serializer.encode(expression, for_cloud_api=True)})

    def compute_pixels(self, body: dict[str, Any]) -> bytes:
        """The binary body of the answer to one `image:computePixels` request; errors as in `compute`."""
        return self._send("image:computePixels", body)

    def _send(self, method: str, body: dict[str, Any]) -> bytes:
        url = f"{self.settings.ee_url}/v1/projects/{self.settings.project}/{method}"
        with self.gate.slot() as entered:
            try:
                answer = self._post(url, orjson.dumps(body))
                self.gate.widen()
            except RequestError as error:
                if isinstance(error, TooManyRequests):
                    self.gate.narrow(entered, error.retry_after)
                self.count_failure()
                raise
            finally:
                with self._lock:
                    self.requests += 1
        return answer

    def count_failure(self) -> None:
        """One more request did not bring what was asked for."""
        with self._lock:
            self.failures += 1

    def value(self, expression: ee.ComputedObject) -> Any:
        """The decoded result of one `value:compute` request; errors as in `compute`."""
        try:
            return orjson.loads(self.compute(expression))["result"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise BadAnswer("Earth Engine's answer is not the JSON object with a result it should be.") from None

    def _post(self, url: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "X-Goog-User-Project": str(self.settings.project)}
        try:
            response = self.http.post(
                url,
                data=body,
                headers=headers,
                params={"prettyPrint": "false", "alt": "json"},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise TransientError(f"{self.settings.ee_url} did not answer whole: {_reason(error)}.") from error
        except google.auth.exceptions.GoogleAuthError as error:
            raise _auth_error(error) from error
        if response.status_code != requests.codes.ok:
            raise request_error(response.status_code, _message(response), _retry_after(response))
        return response.content


def current_session() -> Session:
    """The process's session for the environment's settings, connected when first asked for.

    Raises:
        ConfigError: the environment lacks a project, or names a key that cannot be read.
        AccessDenied: Earth Engine does not accept the credentials.
        TransientError: the endpoint cannot be reached now.
    """
    settings = load_settings()
    with _initialising:
        if settings not in _sessions:
            _sessions[settings] = connect(settings)
        return _sessions[settings]


def connect(settings: Settings) -> Session:
    """A new session; initialises the `ee` client for this process. Errors as in `current_session`."""
    credentials = _credentials(settings)
    project = settings.project or getattr(credentials, "quota_project_id", None)
    project = project or getattr(credentials, "project_id", None)
    if not project:
        raise ConfigError(
            "No Google Cloud project is set. Set EEFLOW_EE_PROJECT to one that is registered for Earth Engine "
            "(https://console.cloud.google.com/earth-engine), or EEFLOW_EE_URL=local to try without an account."
        )
    settings = settings.model_copy(update={"ee_project": project})
    _initialise_client(settings, credentials)
    http = requests.Session() if isinstance(credentials, AnonymousCredentials) else AuthorizedSession(credentials)
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=settings.max_concurrent, max_retries=0)
    http.mount("https://", adapter)
    http.mount("http://", adapter)
    http.headers["User-Agent"] = f"eeflow/{__version__} (gzip)"
    return Session(settings, http, Gate(settings.max_concurrent, settings.max_per_second))


def _initialise_client(settings: Settings, credentials: Any) -> None:
    # The client also reads a public catalogue of deprecated assets with urllib and no time limit, which hangs for
    # minutes on a silent network; it only feeds warnings, so it is left out.
    ee.deprecation._FetchDataCatalogStac = dict
    ee.data.setMaxRetries(0)  # one layer retries: the task
    transport = httplib2.Http(timeout=CONNECT_SECONDS)
    try:
        ee.Initialize(credentials, url=settings.ee_url, project=settings.project, http_transport=transport)
    except google.auth.exceptions.GoogleAuthError as error:
        raise _auth_error(error) from error
    except (OSError, httplib2.HttpLib2Error) as error:
        raise TransientError(
            f"{settings.ee_url} cannot be reached: {_reason(error)}. Check EEFLOW_EE_URL and the network."
        ) from error
    except ee.EEException as error:
        raise _initialise_error(error, settings) from error
    except Exception as error:
        status = getattr(getattr(error, "resp", None), "status", None)
        if status is None:
            raise TransientError(f"{settings.ee_url} does not answer as Earth Engine does: {error}.") from error
        raise request_error(int(status), str(error)) from error


def _initialise_error(error: ee.EEException, settings: Settings) -> RequestError:
    cause = error.__context__
    status = getattr(getattr(cause, "resp", None), "status", None)
    if status is None:
        return AccessDenied(f"Earth Engine does not accept project {settings.project}: {error}")
    return request_error(int(status), str(error))


def _credentials(settings: Settings) -> Any:
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


def _auth_error(error: Exception) -> RequestError:
    if isinstance(error, google.auth.exceptions.TransportError):
        return TransientError(f"Google's sign-in service did not answer: {_reason(error)}.")
    return AccessDenied(
        f"The credentials were not accepted: {_reason(error)}. Run `earthengine authenticate` again, or check the "
        "key that EEFLOW_EE_CREDENTIALS names."
    )


def _message(response: requests.Response) -> str:
    try:
        return str(orjson.loads(response.content)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return response.reason or "no message"


def _retry_after(response: requests.Response) -> float | None:
    try:
        return max(0.0, float(response.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None


def _reason(error: BaseException) -> str:
    """The innermost cause in one short line, without object addresses."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return (str(error).splitlines() or [""])[0][:200].rstrip(".") or type(error).__name__
