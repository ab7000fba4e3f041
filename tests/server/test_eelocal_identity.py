"""Sign-in with a service account's key file, by google-auth itself.

- The exchange of a signed assertion for a token: *documented*,
  https://developers.google.com/identity/protocols/oauth2/service-account.
- `invalid_grant: Invalid JWT Signature.`: *recorded*, googleapis/google-cloud-python#8736 and #10539.
- The other texts of the token endpoint, and both texts of 401: *assumed* for Earth Engine, as other Google APIs word
  them.
- `Caller does not have required permission to use project`: *recorded*, nasaharvest/street2sat#51.
- Reasons in `details`: *documented*, google/api/error_reason.proto of googleapis/googleapis.
- That a token which is not known has the reason ACCESS_TOKEN_TYPE_UNSUPPORTED, and which requests need none: *assumed*.
"""

import json
import logging
import re
import stat
import subprocess
import sys
import urllib.error
import urllib.request

import ee
import google.auth.exceptions
import google.oauth2.credentials
import pytest
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account
from test_eelocal_support import ROOT, CodedCollection, CodedImage, assets

from eelocal import LocalEarthEngine
from eelocal.identity import Identity

SCOPES = ["https://www.googleapis.com/auth/earthengine", "https://www.googleapis.com/auth/cloud-platform"]
COMPUTE = "/v1/projects/local-project/value:compute"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return tmp_path_factory.mktemp("key") / "key.json"


@pytest.fixture(scope="module")
def server(key):
    scenes = [CodedImage(f"T/C/{i}", properties={"system:time_start": 10**12 + i}) for i in range(2)]
    with LocalEarthEngine(world=False, assets=assets(CodedCollection("T/C", scenes)), oauth=key) as running:
        yield running


@pytest.fixture
def engine(server):
    before = server.identity.clock
    yield server
    server.identity.clock = before


@pytest.fixture
def client():
    """Gives the process's `ee` client back to whoever had it."""
    before = ee.data._get_state().cloud_api_base_url if ee.data.is_initialized() else None
    yield
    if before is not None and before.startswith("http://127.0.0.1"):
        from test_eelocal_support import connect

        try:
            connect(before)
        except (OSError, ee.EEException, google.auth.exceptions.GoogleAuthError):
            ee.Reset()


def credentials(key, scopes=SCOPES, **changes):
    info = {**json.loads(key.read_text()), **changes}
    return service_account.Credentials.from_service_account_info(info, scopes=scopes)


def compute(url, token=None, project=None, path=COMPUTE):
    """(status, body, headers) of a request without a library that signs in."""
    body = {"expression": {"result": "0", "values": {"0": {"constantValue": 7}}}}
    headers = {"Authorization": token} if token else {}
    if project:
        headers["X-Goog-User-Project"] = project
    request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["error"], error.headers


def token_of(made):
    made.refresh(Request())
    return f"Bearer {made.token}"


def test_the_key_file_is_one_and_only_its_owner_reads_it_documented(engine, key):
    body = json.loads(key.read_text())
    assert body["type"] == "service_account"
    assert body["token_uri"] == f"{engine.url}/token"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_the_real_client_signs_in_with_it_documented(engine, key, client):
    ee.deprecation._FetchDataCatalogStac = dict
    ee.data.setMaxRetries(0)
    issued = engine.identity.issued
    ee.Initialize(credentials(key), url=engine.url, project="local-project")
    assert ee.ImageCollection("T/C").size().getInfo() == 2
    assert engine.identity.issued > issued
    assert [image["id"] for image in ee.data.listImages("T/C")["images"]] == ["T/C/0", "T/C/1"]
    url = ee.Image("T/C/0").getDownloadURL({"bands": ["B1"], "format": "NPY"})
    with urllib.request.urlopen(url) as answer:  # whoever has the URL may fetch it
        assert answer.status == 200


def test_the_real_clients_own_service_account_credentials_documented(engine, key, client):
    made = ee.ServiceAccountCredentials(engine.identity.email, str(key))
    ee.Initialize(made, url=engine.url, project="local-project")
    assert ee.Number(3).add(4).getInfo() == 7


def test_no_token_is_401_assumed(engine):
    status, error, headers = compute(engine.url)
    assert (status, error["status"]) == (401, "UNAUTHENTICATED")
    assert error["message"].startswith("Request is missing required authentication credential. Expected OAuth 2 access")
    assert error["details"][0]["reason"] == "CREDENTIALS_MISSING"
    assert headers["WWW-Authenticate"] == 'Bearer realm="https://accounts.google.com/"'


@pytest.mark.parametrize("token", ["Bearer ya29.c.wrong", "Basic bG9jYWw6cHJvamVjdA==", "Bearer x y"])
def test_a_wrong_token_is_401_assumed(engine, token):
    status, error, headers = compute(engine.url, token)
    assert (status, error["status"]) == (401, "UNAUTHENTICATED")
    assert error["message"].startswith("Request had invalid authentication credentials. Expected OAuth 2 access token")
    assert 'error="invalid_token"' in headers["WWW-Authenticate"]


def test_a_token_ends_and_google_auth_gets_another_documented(engine, key):
    session = AuthorizedSession(credentials(key))
    body = {"expression": {"result": "0", "values": {"0": {"constantValue": 7}}}}
    assert session.post(engine.url + COMPUTE, json=body).json() == {"result": 7}
    old = f"Bearer {session.credentials.token}"
    engine.identity.expire()
    status, error, _ = compute(engine.url, old)
    assert (status, error["details"][0]["reason"]) == (401, "ACCESS_TOKEN_EXPIRED")
    issued = engine.identity.issued
    assert session.post(engine.url + COMPUTE, json=body).json() == {"result": 7}
    assert engine.identity.issued == issued + 1


def test_a_token_is_good_for_its_hour(engine, key):
    token = token_of(credentials(key))
    now = engine.identity.clock()
    engine.identity.clock = lambda: now + 3590
    assert compute(engine.url, token)[0] == 200
    engine.identity.clock = lambda: now + 3610
    assert compute(engine.url, token)[0] == 401


def test_another_project_is_403_recorded(engine, key):
    token = token_of(credentials(key))
    for asked in ({"project": "elsewhere"}, {"path": COMPUTE.replace("local-project", "elsewhere")}):
        status, error, _ = compute(engine.url, token, **asked)
        assert (status, error["status"]) == (403, "PERMISSION_DENIED")
        assert error["message"].startswith("Caller does not have required permission to use project elsewhere. Grant")
        assert error["details"][0]["reason"] == "USER_PROJECT_DENIED"
    assert compute(engine.url, token, project="local-project")[0] == 200


def test_a_token_without_the_scope_is_403_documented(engine, key):
    token = token_of(credentials(key, ["https://www.googleapis.com/auth/drive"]))
    status, error, _ = compute(engine.url, token)
    assert (status, error["status"]) == (403, "PERMISSION_DENIED")
    assert error["message"] == "Request had insufficient authentication scopes."
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_a_key_of_another_server_does_not_sign_in_recorded(engine, key):
    other = Identity("local-project").key_file(engine.url)["private_key"]
    with pytest.raises(google.auth.exceptions.RefreshError, match=r"invalid_grant: Invalid JWT Signature\."):
        credentials(key, private_key=other).refresh(Request())


def test_an_account_that_is_not_there_does_not_sign_in_assumed(engine, key):
    with pytest.raises(google.auth.exceptions.RefreshError, match="Invalid grant: account not found"):
        credentials(key, client_email="nobody@local-project.iam.gserviceaccount.com").refresh(Request())


def test_an_assertion_out_of_time_is_refused_assumed(engine, key):
    now = engine.identity.clock()
    for hours in (-2, 2):
        engine.identity.clock = lambda hours=hours: now + hours * 3600
        with pytest.raises(google.auth.exceptions.RefreshError, match="Token must be a short-lived token"):
            credentials(key).refresh(Request())


@pytest.mark.parametrize("form", [b"", b"grant_type=password", b"\xff\xfe",
    b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=a.b.c",
    b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=e30.e30.e30",
    b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=bnVsbA.bnVsbA.",
    b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer"])  # fmt: skip
def test_nonsense_at_the_token_endpoint_is_400(engine, form):
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(engine.url + "/token", form)
    assert caught.value.code == 400
    assert {"error", "error_description"} == set(json.loads(caught.value.read()))


def test_a_user_signs_in_with_a_refresh_token_documented(engine, client):
    """https://developers.google.com/identity/protocols/oauth2/native-app#offline; the errors' texts are assumed."""
    known = engine.identity.user(engine.url)
    credentials = google.oauth2.credentials.Credentials(None, scopes=SCOPES, **known)
    before = engine.identity.issued
    ee.deprecation._FetchDataCatalogStac = dict
    ee.Initialize(credentials, url=engine.url, project="local-project")
    assert ee.ImageCollection("T/C").size().getInfo() == 2
    assert engine.identity.issued == before + 1
    assert set(SCOPES) <= set(credentials.granted_scopes)
    engine.identity.expire()
    assert ee.Number(1).add(1).getInfo() == 2  # a 401, another token, again
    for wrong, text in (("refresh_token", "invalid_grant"), ("client_secret", "invalid_client")):
        bad = google.oauth2.credentials.Credentials(None, **{**known, wrong: "x"})
        with pytest.raises(google.auth.exceptions.RefreshError, match=text):
            bad.refresh(Request())


def test_without_oauth_nobody_is_asked_and_there_is_no_token_endpoint():
    with LocalEarthEngine(world=False) as engine:
        assert compute(engine.url)[0] == 200
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(engine.url + "/token", b"")
        assert caught.value.code == 404


def test_the_command_listens_on_loopback_and_writes_the_key(tmp_path):
    path = tmp_path / "key.json"
    arguments = ["-m", "eelocal", "--no-world", "--oauth", str(path), "--oauth-project", "mine", "--until-stdin-closes"]
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdin=-1, stdout=-1, text=True)
    try:
        url = process.stdout.readline().split()[-1]
        assert url.startswith("http://127.0.0.1:")
        token = token_of(credentials(path))
        assert compute(url, token, path=COMPUTE.replace("local-project", "mine"))[0] == 200
        assert compute(url)[0] == 401
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_eeflow_signs_in_with_the_key_file(engine, key, client, monkeypatch):
    """The project's own session: key file, project of the key, token expiry."""
    from eeflow.session import connect
    from eeflow.settings import load_settings

    monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", str(key))
    monkeypatch.setenv("EEFLOW_EE_URL", engine.url)
    session = connect(load_settings())
    assert session.value(ee.ImageCollection("T/C").size()) == 2
    engine.identity.expire()
    assert session.value(ee.Number(1).add(1)) == 2
    expression = ee.serializer.encode(ee.Image("T/C/0"), for_cloud_api=True)
    with session.compute_pixels({"expression": expression, "fileFormat": "NPY"}) as body:
        assert len(body) > 40 * 30 * 4


def test_eeflow_says_that_a_wrong_key_is_not_accepted(engine, key, client, monkeypatch, tmp_path):
    from eeflow.errors import AccessDenied
    from eeflow.session import connect
    from eeflow.settings import load_settings

    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(Identity("local-project").key_file(engine.url)))
    monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", str(wrong))
    monkeypatch.setenv("EEFLOW_EE_URL", engine.url)
    with pytest.raises(AccessDenied, match="Invalid JWT Signature"):
        connect(load_settings()).value(ee.Number(1))


def test_eeflows_log_names_each_request_and_never_a_secret(engine, key, client, monkeypatch, caplog):
    """Every logger at its most talkative, with a request that fails, one whose token has expired, and one that signs in
    with a key that is not known."""
    from eeflow.errand import Errand, errand
    from eeflow.errors import AccessDenied, TransientError
    from eeflow.session import connect
    from eeflow.settings import load_settings

    for name in (None, "eeflow", "google", "google.auth", "urllib3", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", str(key))
    monkeypatch.setenv("EEFLOW_EE_URL", engine.url)
    token = errand.set(Errand("farm", log=logging.getLogger("eeflow")).of_request("S1 and 2 more, B4"))
    try:
        session = connect(load_settings())
        engine.faults.add("503", count=1)
        with pytest.raises(TransientError):
            session.value(ee.Number(1))
        assert session.value(ee.Number(1)) == 1
        used = session.http.credentials.token
        engine.identity.expire()
        assert session.value(ee.Number(1)) == 1
        assert session.http.credentials.token != used
        other = Identity("local-project", 60)
        other.write_key(key.with_name("other.json"), engine.url)
        monkeypatch.setenv("EEFLOW_EE_CREDENTIALS", str(key.with_name("other.json")))
        with pytest.raises(AccessDenied):
            connect(load_settings()).value(ee.Number(1))
    finally:
        errand.reset(token)

    lines = [record.getMessage() for record in caplog.records if record.name == "eeflow"]
    [failed] = [line for line in lines if " failed after " in line and "503" in line]
    request_id = re.match(r"request ([0-9a-f]{8}) of farm, S1 and 2 more, B4: value:compute failed", failed)[1]
    assert [entry.status for entry in engine.log if entry.request_id == request_id][:2] == [503, 200]
    secrets = {used, session.http.credentials.token}
    for path in (key, key.with_name("other.json")):
        secrets |= {line for line in json.loads(path.read_text())["private_key"].splitlines() if "PRIVATE" not in line}
    told = "\n".join(map(logging.Formatter().format, caplog.records))
    assert "google" in {record.name.partition(".")[0] for record in caplog.records}
    assert len(secrets) > 10
    assert not [secret for secret in secrets if secret in told]
