"""An HTTP server of a test's own on this machine, which answers as the test says."""

import contextlib
import http.server
import threading


@contextlib.contextmanager
def answering(answer):
    """Has `answer(handler)` answer each GET and POST; yields the server's URL, without a slash at its end."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        def do_POST(self):
            answer(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
