"""A small https server for POST /enrol, over any function that answers: the fleet's pages are another matter."""

import contextlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from cabinet.uplink import messages
from cabinet.uplink.messages import Enrol, Enrolled, EnrolRefused
from fleet.enrolment import EnrolmentRefused

Answer = Callable[[Enrol, str], Enrolled]


@contextlib.contextmanager
def enrolment_server(answer: Answer, certificate: Path, key: Path) -> Iterator[str]:
    """Serve https on a free port of loopback for the block; yield the address. `answer` may raise EnrolmentRefused."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            try:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/enrol"
                reply: msgspec.Struct = answer(msgspec.json.decode(body, type=Enrol), self.client_address[0])
                status = 200
            except EnrolmentRefused as refused:
                reply, status = EnrolRefused(refused.code), refused.status
            self.send_response(status)
            self.end_headers()
            self.wfile.write(messages.encode(reply))

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
