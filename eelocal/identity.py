"""Who asks: a service account and a user of this server, their credentials, access tokens, the check of every request.

The token endpoint knows the JWT bearer grant (RFC 7523) as google-auth's service accounts use it,
https://developers.google.com/identity/protocols/oauth2/service-account, and the refresh token of a user who signed in,
https://developers.google.com/identity/protocols/oauth2/native-app#offline. Reasons of errors are those of
https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from eelocal.answers import Answer, Request, json_answer
from eelocal.errors import EarthEngineError

TOKEN_PATH = "/token"
_ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_REFRESH = "refresh_token"
_GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
_SCOPE = "https://www.googleapis.com/auth/"
_SCOPES = frozenset(_SCOPE + name for name in ("earthengine", "earthengine.readonly", "cloud-platform"))
_LONGEST = 3600  # seconds an assertion may be valid
_SKEW = 300  # seconds clocks may differ
_KEPT = 10_000  # tokens remembered, so that a stale one is told from a made-up one
_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)
MISSING = f"Request is missing required authentication credential. {_EXPECTED}"
INVALID = f"Request had invalid authentication credentials. {_EXPECTED}"
SCOPES = "Request had insufficient authentication scopes."
# recorded: a 403 of Earth Engine in nasaharvest/street2sat#51
PROJECT = (
    "Caller does not have required permission to use project {project}. Grant the caller the "
    "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission, by "
    "visiting https://console.developers.google.com/iam-admin/iam/project?project={project} and then retry. "
    "Propagation of the new permission may take a few minutes."
)


class GrantError(Exception):
    """What the token endpoint refuses, as OAuth words it."""

    def __init__(self, error: str, description: str, code: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.code = code


@dataclass(frozen=True)
class Token:
    """What an access token is good for."""

    expires: float
    scopes: frozenset[str]


class Identity:
    """One service account with a key, and one user with a refresh token, made when the server starts.

    Attributes:
        project: the only project it may use.
        email: its name.
        clock: seconds since 1970; tests replace it.
        issued: tokens given out so far.
    """

    def __init__(self, project: str = "local-project", lifetime: float = 3600) -> None:
        self.project = project
        self.email = f"eelocal@{project}.iam.gserviceaccount.com"
        self.clock: Callable[[], float] = time.time
        self.issued = 0
        self._lifetime = lifetime
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._key_id = secrets.token_hex(20)
        self._user = {
            "client_id": f"{secrets.token_hex(16)}.apps.googleusercontent.com",
            "client_secret": secrets.token_urlsafe(24),
            "refresh_token": "1//" + secrets.token_urlsafe(48),
        }
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def key_file(self, url: str) -> dict[str, str]:
        """The account's key as Google's console gives it, with this server as the one that signs in."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "type": "service_account",
            "project_id": self.project,
            "private_key_id": self._key_id,
            "private_key": private.decode(),
            "client_email": self.email,
            "client_id": "100000000000000000001",
            "auth_uri": f"{url}/o/oauth2/auth",
            "token_uri": url + TOKEN_PATH,
            "universe_domain": "googleapis.com",
        }

    def user(self, url: str) -> dict[str, str]:
        """What `google.oauth2.credentials.Credentials(None, **...)` needs to sign in as the user."""
        return {**self._user, "token_uri": url + TOKEN_PATH}

    def write_key(self, path: Path, url: str) -> None:
        """Writes the key file, readable by its owner alone."""
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - a mode
            file.write(orjson.dumps(self.key_file(url), option=orjson.OPT_INDENT_2))

    def token(self, request: Request) -> Answer:
        """POST /token: an access token for a signed assertion or a refresh token."""
        form = {name: values[0] for name, values in parse_qs(request.body.decode("utf-8", "replace")).items()}
        try:
            grant = form.get("grant_type", "")
            if grant not in _GRANTS:
                raise GrantError("unsupported_grant_type", f"Invalid grant_type: {grant[:200]}")
            scopes = _GRANTS[grant](self, form, {request.url + TOKEN_PATH, _GOOGLE_AUDIENCE})
        except GrantError as error:
            return json_answer({"error": error.error, "error_description": error.description}, error.code)
        value = "ya29.c." + secrets.token_urlsafe(48)
        with self._lock:
            self._tokens[value] = Token(self.clock() + self._lifetime, scopes)
            self.issued += 1
            while len(self._tokens) > _KEPT:
                del self._tokens[next(iter(self._tokens))]
        expires = max(0, int(self._lifetime) - 1)  # Google says 3599
        known = {"scope": " ".join(sorted(scopes))} if grant == _REFRESH else {}
        return json_answer({"access_token": value, "expires_in": expires, "token_type": "Bearer", **known})

    def expire(self) -> None:
        """Ends all tokens given out so far, as if their time were over."""
        with self._lock:
            self._tokens = {value: Token(0.0, token.scopes) for value, token in self._tokens.items()}

    def check(self, request: Request) -> None:
        """Lets a request with a good token pass.

        Raises:
            EarthEngineError: 401 for no, a wrong or an expired token, 403 for what the account may not do.
        """
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if not value:
            raise _unauthenticated(MISSING, "CREDENTIALS_MISSING")
        with self._lock:
            token = self._tokens.get(value.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise _unauthenticated(INVALID, "ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if token.expires <= self.clock():
            raise _unauthenticated(INVALID, "ACCESS_TOKEN_EXPIRED")
        if not token.scopes & _SCOPES:
            raise EarthEngineError(SCOPES, 403, details=[_info("ACCESS_TOKEN_SCOPE_INSUFFICIENT")])
        for project in request.projects:
            if project != self.project:
                raise EarthEngineError(
                    PROJECT.format(project=project), 403, details=[_info("USER_PROJECT_DENIED", project)]
                )

    def _refreshed(self, form: Mapping[str, str], audiences: Collection[str]) -> frozenset[str]:
        """The scopes that the user's refresh token earns: those asked for, or all that were agreed to."""
        if form.get("client_id") != self._user["client_id"]:
            raise GrantError("invalid_client", "The OAuth client was not found.", 401)
        if form.get("client_secret") != self._user["client_secret"]:
            raise GrantError("invalid_client", "The provided client secret is invalid.", 401)
        if form.get("refresh_token") != self._user["refresh_token"]:
            raise GrantError("invalid_grant", "Token has been expired or revoked.")
        asked = frozenset(form.get("scope", "").split()) or _SCOPES
        if not asked <= _SCOPES:
            raise GrantError("invalid_scope", "Some requested scopes were invalid.")
        return asked

    def _asserted(self, form: Mapping[str, str], audiences: Collection[str]) -> frozenset[str]:
        """The scopes that an assertion earns."""
        signed, claims, signature = _taken_apart(form.get("assertion", ""))
        if claims.get("iss") != self.email:
            raise GrantError("invalid_grant", "Invalid grant: account not found")
        try:
            self._key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            raise GrantError("invalid_grant", "Invalid JWT Signature.") from None
        if claims.get("aud") not in audiences:
            raise GrantError("invalid_grant", "Invalid JWT: Failed audience check.")
        if not self._timely(claims.get("iat"), claims.get("exp")):
            raise GrantError(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your "
                "iat and exp values in the JWT claim.",
            )
        scopes = frozenset(str(claims.get("scope", "")).split())
        if not scopes:
            raise GrantError("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        return scopes

    def _timely(self, begin: Any, end: Any) -> bool:
        if not isinstance(begin, (int, float)) or not isinstance(end, (int, float)):
            return False
        now = self.clock()
        return begin <= now + _SKEW and now - _SKEW < end <= begin + _LONGEST


_GRANTS: dict[str, Callable[[Identity, Mapping[str, str], Collection[str]], frozenset[str]]] = {
    _ASSERTION: Identity._asserted,
    _REFRESH: Identity._refreshed,
}


def _taken_apart(assertion: str) -> tuple[bytes, Mapping[str, Any], bytes]:
    """What a JWT's signature is over, its claims, and the signature."""
    try:
        signed, _, signature = assertion.rpartition(".")
        header, claims = (orjson.loads(_decoded(part)) for part in signed.split("."))
        if header["alg"] != "RS256":
            raise ValueError(f"algorithm {header['alg']}")
        return signed.encode(), dict(claims), _decoded(signature)
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise GrantError("invalid_grant", "Bad Request") from error


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _unauthenticated(text: str, reason: str) -> EarthEngineError:
    challenge = 'Bearer realm="https://accounts.google.com/"'
    invalid = "" if text == MISSING else ', error="invalid_token"'
    return EarthEngineError(text, 401, headers={"WWW-Authenticate": challenge + invalid}, details=[_info(reason)])


def _info(reason: str, project: str | None = None) -> dict[str, Any]:
    consumer = {"consumer": f"projects/{project}"} if project else {}
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "earthengine.googleapis.com", **consumer},
    }
