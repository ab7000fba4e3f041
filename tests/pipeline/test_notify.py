"""`eeflow notify` with a real Prefect server, and receivers of a webhook and of mail on this machine."""

import contextlib
import email
import json
import queue
import socket
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from answering import answering
from prefect_server import ask, until

from flows.page import NEW_DATA

EEFLOW = Path(sys.executable).parent / "eeflow"
SHIPPED = Path(__file__).parents[2] / "deployments/automations.yaml"
SECRET = "hook-secret-5e1f"
PATIENCE = 240


@pytest.fixture
def webhook():
    """What was posted, and where to."""
    posted = queue.Queue()

    def answer(handler):
        posted.put((handler.path, json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))))
        handler.send_response(204)
        handler.end_headers()

    with answering(answer) as url:
        yield posted, f"{url}/{SECRET}"


@pytest.fixture
def mailbox():
    """What was mailed, and the address to give."""
    controller = pytest.importorskip("aiosmtpd.controller")
    mails = queue.Queue()

    class Handler:
        async def handle_DATA(self, _server, _session, envelope):
            mails.put(email.message_from_bytes(envelope.content))
            return "250 OK"

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = controller.Controller(Handler(), hostname="127.0.0.1", port=port)
    server.start()
    yield mails, f"mailto://127.0.0.1:{port}?from=eeflow@example.org&to=me@example.org&mode=insecure"
    server.stop()


def notify(environment, *arguments):
    return subprocess.run([EEFLOW, "notify", *arguments], env=environment, capture_output=True, text=True, check=False)


def test_failure_new_data_and_silence_are_told_by_webhook_and_mail(prefect_environment, webhook, mailbox):
    posted, hook = webhook
    mails, address = mailbox
    environment = prefect_environment | {"EEFLOW_NOTIFY_WEBHOOK": hook, "EEFLOW_NOTIFY_EMAIL": address}
    names = ["crashed runs", "runs that never began", "webhook failure", "webhook new-data", "webhook silence"]
    names += ["mail failure", "mail silence"]
    for what in ("made", "renewed"):
        done = notify(environment, SHIPPED)
        assert done.stdout.splitlines() == [f"eeflow {name}: {what}" for name in names], done.stderr
    url = environment["PREFECT_API_URL"]
    shorten(url, "eeflow webhook silence")
    bodies = {}

    def told():
        """The server misses what happens before it has begun to watch for an automation, so it is told again."""
        bring_new_data(url)
        fail_a_run(url)
        with contextlib.suppress(queue.Empty):
            while len(bodies) < 3:
                path, message = posted.get(timeout=30)
                assert path == f"/{SECRET}"
                bodies[message["subject"]] = message["body"]
        return len(bodies) == 3

    until(PATIENCE, told, bodies.keys)
    assert "herne 2024-05 of weekly is Failed: no disk" in bodies["eeflow: herne 2024-05 failed"]
    assert bodies["eeflow: new data of herne"] == "2 written\n/data/herne"
    assert bodies["eeflow: nothing new for 14d"].startswith("Nothing new for 14d of a job that used to bring some")
    mail = mails.get(timeout=PATIENCE)
    assert mail["Subject"] == "eeflow: herne 2024-05 failed"

    home = Path(environment["PREFECT_HOME"])
    kept = [path for path in home.parent.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == []  # neither in the database nor in a log


def shorten(url, name):
    """Makes days of an automation ten seconds, the shortest that Prefect takes for what does not happen.

    It is made anew, since the server may have put off looking at the one that waits for days.
    """
    [automation] = ask("POST", f"{url}/automations/filter", {"automations": {"name": {"any_": [name]}}})
    assert automation["trigger"].pop("within") == 14 * 24 * 3600
    ask("DELETE", f"{url}/automations/{automation['id']}", None)
    trigger = automation["trigger"] | {"id": str(uuid.uuid4()), "within": 10}
    ask("POST", f"{url}/automations/", {"name": name, "trigger": trigger, "actions": automation["actions"]})


def bring_new_data(url):
    """What a run of a job tells that wrote products, and no other after it."""
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": NEW_DATA,
        "resource": {"prefect.resource.id": "eeflow.job.herne", "prefect.resource.name": "herne"},
        "payload": {"summary": "2 written", "folder": "/data/herne"},
    }
    ask("POST", f"{url}/events", [event])


def fail_a_run(url):
    """A run of a deployment that ends as failed, as its worker would tell the server."""

    def post(path, **body):
        return ask("POST", f"{url}/{path}", body)

    flow = post("flows/", name="download")
    deployment = post("deployments/", name="weekly", flow_id=flow["id"])
    run = post(f"deployments/{deployment['id']}/create_flow_run", name="herne 2024-05")
    for state in ("RUNNING", "FAILED"):
        post(f"flow_runs/{run['id']}/set_state", state={"type": state, "message": "no disk"}, force=True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"notify": [{"name": "a", "webhook": "http://x/token"}]}, "name a variable of the environment"),
        ({"notify": [{"name": "a"}]}, "needs exactly one of webhook and email"),
        (
            {"notify": [{"name": "a", "email": "${X}", "silence": "soon"}]},
            "has silence 'soon'; it must be days or weeks",
        ),
        ({"notfy": []}, "notfy is not a key; did you mean notify?"),
    ],
)
def test_what_is_wrong_is_one_line(content, expected, tmp_path):
    from eeflow.errors import ConfigError
    from flows.notify import read_notifications

    (tmp_path / "automations.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError) as caught:
        read_notifications(tmp_path / "automations.yaml")
    assert expected in str(caught.value)
    assert "token" not in str(caught.value)


def test_without_a_server_nothing_can_tell(clean_environment):
    done = notify(clean_environment, SHIPPED)
    assert done.returncode == 2
    assert done.stderr.startswith("error: PREFECT_API_URL is not set")
