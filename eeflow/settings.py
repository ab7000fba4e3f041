"""Where Earth Engine is and who asks: the `EEFLOW_*` environment, or a `.env` file. Never what to download."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from eeflow.errors import ConfigError
from eeflow.jobfile import explain

HIGH_VOLUME_URL = "https://earthengine-highvolume.googleapis.com"
LOCAL = "local"
_PREFIX, _ENV_FILE = "EEFLOW_", ".env"


class Settings(BaseSettings):
    """The environment's settings, each from `EEFLOW_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_file=_ENV_FILE, extra="ignore", frozen=True)

    ee_url: str = Field(HIGH_VOLUME_URL, description="Endpoint; `local` starts eelocal for the run.")
    ee_project: str | None = Field(None, description="Google Cloud project that requests are counted on.")
    ee_credentials: str | None = Field(
        None, description="Path of a service-account key, or `anonymous`; unset: the user's stored ones."
    )
    # 40 is Earth Engine's default for concurrent interactive requests:
    # https://developers.google.com/earth-engine/guides/usage
    max_concurrent: int = Field(32, ge=1, le=1000, description="Requests in flight at once.")
    max_per_second: float | None = Field(None, gt=0, description="Requests started per second.")
    presets: Path | None = Field(None, description="File of presets laid over the package's own.")

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        return urlsplit(self.ee_url).hostname in {"localhost", "127.0.0.1", "::1"}

    @property
    def credentials(self) -> str | None:
        """What `ee_credentials` says; on loopback nothing said means `anonymous`."""
        return self.ee_credentials or ("anonymous" if self.is_loopback else None)

    @property
    def project(self) -> str | None:
        """The project; on loopback nothing said means `local-project`."""
        return self.ee_project or ("local-project" if self.is_loopback else None)


def load_settings() -> Settings:
    """The settings of the environment, as it is now.

    Raises:
        ConfigError: a value that cannot be, or an endpoint that is no URL.
    """
    ours = frozenset((name, value) for name, value in os.environ.items() if name.upper().startswith(_PREFIX))
    file = Path(_ENV_FILE).absolute()
    state = file.stat() if file.exists() else None
    return _load(ours, file, state and (state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=16)
def _load(_environment: frozenset[tuple[str, str]], _file: Path, _state: tuple[int, int] | None) -> Settings:
    """The arguments are what settings are read from: every product asks for them, and reading takes milliseconds."""
    try:
        settings = Settings()
    except ValidationError as error:
        text = re.sub(
            r"(^|; )(\w+) is ", lambda match: f"{match[1]}EEFLOW_{match[2].upper()} is ", explain(error, Settings)
        )
        raise ConfigError(text) from None
    url = settings.ee_url
    if url != LOCAL and not _is_url(url):
        raise ConfigError(
            f"EEFLOW_EE_URL is {url!r}; it must be `local` or start with https:// or http://, "
            f"such as {HIGH_VOLUME_URL}."
        )
    return settings.model_copy(update={"ee_url": url.rstrip("/")})


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:  # such as a bracket that is not closed
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
