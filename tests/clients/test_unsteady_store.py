"""An object store that does not always answer: requests that fail now and then are made again, and nothing is lost or written twice.

Between the server and moto's S3 server stands a proxy that refuses requests, closes connections and cuts answers short."""

import http.client
import http.server
import random
import socketserver
import threading

import psycopg
import pytest

from test_object_store import Wharf, s3  # noqa: F401

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(120)]


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def forward(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        harm = self.server.harm()
        if harm in ("busy", "failed"):
            status, code = (503, "SlowDown") if harm == "busy" else (500, "InternalError")
            return self.answer(status, [("Content-Type", "application/xml")], f"<Error><Code>{code}</Code></Error>".encode())
        if harm == "closed":
            self.close_connection = True
            return self.connection.close()
        upstream = http.client.HTTPConnection(self.server.target, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers))
            response = upstream.getresponse()
            content = response.read()
        finally:
            upstream.close()
        left_out = ("transfer-encoding", "connection", "content-length", "server", "date")
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in left_out]
        if self.command == "HEAD":
            headers.append(("Content-Length", response.getheader("Content-Length") or "0"))
        return self.answer(response.status, headers, content, cut=harm == "cut" and len(content) > 1)

    def answer(self, status, headers, content, cut=False):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward


class Unsteady(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Proxy)
        self.target = target
        self.share = 0.0
        self.done = {"busy": 0, "failed": 0, "closed": 0, "cut": 0}
        self.random = random.Random(4)
        self.lock = threading.Lock()

    def handle_error(self, *_):
        # A connection that the proxy itself has closed.
        pass

    def harm(self):
        with self.lock:
            if self.random.random() >= self.share:
                return None
            kind = self.random.choice(list(self.done))
            self.done[kind] += 1
            return kind


@pytest.fixture
def unsteady(s3):  # noqa: F811
    proxy = Unsteady(s3.removeprefix("http://"))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield proxy
    proxy.shutdown()


def test_requests_that_fail_are_made_again(unsteady, tmp_path):
    address = f"http://127.0.0.1:{unsteady.server_address[1]}"
    server = Wharf(
        tmp_path / "data", address, WHARF_WAREHOUSE__URL="s3://lake/unsteady", WHARF_STORE__MAX_BACKOFF_MS="50",
        # The least there can be, so that what was written is read from the store.
        WHARF_CACHE__MEMORY_BYTES="16777216", WHARF_CACHE__DISK_BYTES="0",
    )  # fmt: skip
    try:
        unsteady.share = 0.2
        with server.connect() as connection:
            connection.execute("CREATE TABLE t (id integer, name text)")
            for start in range(0, 2000, 100):
                connection.execute(f"INSERT INTO t SELECT g, md5(g::text) FROM generate_series({start}, {start} + 99) AS s(g)")
            connection.execute("UPDATE t SET name = 'changed' WHERE id % 100 = 0")
            connection.execute("DELETE FROM t WHERE id >= 1900")
            # A file of several parts.
            connection.execute("CREATE TABLE large AS SELECT g AS id, md5(g::text) AS name FROM generate_series(1, 300000) AS s(g)")
            query = "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE name = 'changed') FROM t"
            assert connection.execute(query).fetchone() == (1900, 1900, 19)
            assert connection.execute("SELECT count(*), count(DISTINCT name) FROM large").fetchone() == (300000, 300000)
        server.stop()
        server.start()
        with server.connect() as connection:
            assert connection.execute(query).fetchone() == (1900, 1900, 19)
            assert connection.execute("SELECT count(*), count(DISTINCT name) FROM large").fetchone() == (300000, 300000)
        assert min(unsteady.done.values()) > 0, unsteady.done
    finally:
        unsteady.share = 0.0
        server.stop()


def test_a_store_that_fails_for_good_is_an_error_and_is_got_over(unsteady, tmp_path):
    address = f"http://127.0.0.1:{unsteady.server_address[1]}"
    server = Wharf(
        tmp_path / "data", address, WHARF_WAREHOUSE__URL="s3://lake/failing", WHARF_STORE__MAX_RETRIES="2",
        WHARF_STORE__MAX_BACKOFF_MS="20",
    )  # fmt: skip
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE t (id integer)")
            connection.execute("INSERT INTO t VALUES (1)")
            unsteady.share = 1.0
            with pytest.raises(psycopg.Error) as error:
                connection.execute("INSERT INTO t VALUES (2)")
            assert error.value.sqlstate == "58030"
            unsteady.share = 0.0
            assert connection.execute("SELECT id FROM t").fetchall() == [(1,)]
            connection.execute("INSERT INTO t VALUES (3)")
            assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (3,)]
    finally:
        unsteady.share = 0.0
        server.stop()
