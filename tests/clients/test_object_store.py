"""A warehouse on S3: a server of its own over moto's S3 server, which speaks the protocol over HTTP."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import psycopg
import pytest
from pyiceberg.table import StaticTable

# Servers are started here, which takes a while on a busy machine.
pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(120)]

KEYS = {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "very-secret", "AWS_REGION": "us-east-1"}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def binary():
    """The server's program."""
    built = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "release", "wharf")
    return os.environ.get("WHARF_BIN") or shutil.which("wharf") or built


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    """The address of an S3 server with a bucket `lake`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    log = (tmp_path_factory.mktemp("s3") / "moto.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(urllib.request.Request(f"{address}/lake", method="PUT"), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, "the S3 server has ended"
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


class Wharf:
    """A server with a data folder of its own, which can be stopped and started again."""

    def __init__(self, folder, address, **settings):
        self.folder = folder
        self.environment = {
            **os.environ,
            # Its port would be the one after a port that was free a moment ago, which somebody else may have.
            "WHARF_HTTP__ENABLED": "false",
            **KEYS,
            "WHARF_WAREHOUSE__URL": "s3://lake/wharf",
            "WHARF_STORE__ENDPOINT": address,
            "WHARF_STORE__INITIAL_BACKOFF_MS": "10",
            "WHARF_PASSWORD": "wharf",
            **settings,
        }
        self.start()

    def start(self):
        self.port = free_port()
        self.process = subprocess.Popen(
            [binary(), "serve", "--data", str(self.folder), "--listen", f"127.0.0.1:{self.port}", "--auth", "trust"],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=(self.folder.parent / "wharf.log").open("a"),
        )
        for _ in range(300):
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                assert self.process.poll() is None, "the server has ended"
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def connect(self):
        return psycopg.connect(f"host=127.0.0.1 port={self.port} user=wharf dbname=wharf", autocommit=True)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)


@pytest.fixture
def wharf(s3, tmp_path):
    server = Wharf(tmp_path / "data", s3)
    yield server
    if server.process.poll() is None:
        server.stop()


def test_tables_live_in_the_bucket_and_survive_a_restart(wharf, s3):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 5000) AS g(g)")
        connection.execute("UPDATE t SET name = 'changed' WHERE id <= 10")
        connection.execute("DELETE FROM t WHERE id > 4990")
    wharf.stop()
    wharf.start()
    with wharf.connect() as connection:
        query = "SELECT count(*), sum(id), count(*) FILTER (WHERE name = 'changed') FROM t"
        assert connection.execute(query).fetchone() == (4990, 4990 * 4991 // 2, 10)
        (location,) = connection.execute("SELECT metadata_location FROM wharf.tables WHERE table_name = 't'").fetchone()
        assert location.startswith("s3://lake/wharf/")
        table = StaticTable.from_metadata(
            location,
            {
                "s3.endpoint": s3,
                "s3.access-key-id": KEYS["AWS_ACCESS_KEY_ID"],
                "s3.secret-access-key": KEYS["AWS_SECRET_ACCESS_KEY"],
                "s3.region": KEYS["AWS_REGION"],
            },
        )
        rows = table.scan().to_arrow()
        assert rows.num_rows == 4990
        assert sum(rows.column("id").to_pylist()) == 4990 * 4991 // 2


def test_what_was_read_is_not_asked_for_again(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        # A file of more than 8 MiB, which is uploaded in parts: smaller ones are in the cache as they are written.
        connection.execute("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 400000) AS g(g)")
        query = "SELECT count(*), max(name) FROM t"
        first = connection.execute(query).fetchone()
        (before,) = connection.execute("SELECT get_requests FROM wharf.cache").fetchone()
        assert connection.execute(query).fetchone() == first
        after, hits = connection.execute("SELECT get_requests, memory_hits + disk_hits FROM wharf.cache").fetchone()
        assert after == before > 0
        assert hits > 0


def test_files_of_a_bucket_are_loaded_once(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 1000) AS g(g)")
        connection.execute("COPY t TO 's3://lake/raw/a.csv.gz' (FORMAT csv)")
        connection.execute("COPY t TO 's3://lake/raw/b.csv.zst' (FORMAT csv)")
        connection.execute("CREATE TABLE u (id integer, name text)")
        assert connection.execute("COPY u FROM 's3://lake/raw/*' (FORMAT csv)").statusmessage == "COPY 2000"
        connection.execute("COPY t TO 's3://lake/raw/c.csv' (FORMAT csv)")
        assert connection.execute("COPY u FROM 's3://lake/raw/*' (FORMAT csv)").statusmessage == "COPY 1000"
        assert connection.execute("COPY u FROM 's3://lake/raw/*' (FORMAT csv)").statusmessage == "COPY 0"
        assert connection.execute("SELECT count(*) FROM u").fetchone() == (3000,)
        connection.execute("COPY t TO 's3://lake/parts/'")
        assert connection.execute("COPY u FROM 's3://lake/parts/*.parquet'").statusmessage == "COPY 1000"


def test_tables_over_files_of_a_bucket(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT g AS id, 'n' || g % 3 AS name FROM generate_series(1, 90) AS s(g)")
        assert connection.execute("COPY t TO 's3://lake/by-name/' (FORMAT parquet, PARTITION_BY (name))").statusmessage == "COPY 90"
        connection.execute("COPY (SELECT * FROM t WHERE id <= 5) TO 's3://lake/few/a.json.gz' (FORMAT json)")
        connection.execute("CREATE TABLE inferred FROM 's3://lake/few/*.json.gz'")
        assert connection.execute("SELECT count(*), sum(id), min(name) FROM inferred").fetchone() == (5, 15, "n0")
        connection.execute("CREATE EXTERNAL TABLE outside LOCATION 's3://lake/by-name/name=n1/*.parquet'")
        assert connection.execute("SELECT count(*), min(id), max(id) FROM outside").fetchone() == (30, 1, 88)


def test_a_bucket_that_asks_nobody_who_he_is(s3, tmp_path, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    # No request is signed, so no key is looked for.
    nobody = {name: "" for name in KEYS} | {"AWS_REGION": "us-east-1"}
    server = Wharf(tmp_path / "data", s3, WHARF_STORE__ANONYMOUS="true", WHARF_WAREHOUSE__URL="s3://lake/open", **nobody)
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE t (id integer)")
            connection.execute("INSERT INTO t VALUES (1), (2)")
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    finally:
        server.stop()


def test_credentials_of_a_statement_are_used_and_never_shown(wharf, s3):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer)")
        with pytest.raises(psycopg.Error) as error:
            connection.execute(
                "COPY t FROM 's3://missing/x.csv' WITH (aws_access_key_id 'other', aws_secret_access_key 'hidden-key')"
            )
        assert error.value.sqlstate == "58P01"
        assert "hidden-key" not in str(error.value)


def test_only_allowed_locations_can_be_named(s3, tmp_path):
    server = Wharf(tmp_path / "data", s3, WHARF_FILES__ALLOWED_LOCATIONS="s3://other/")
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE t (id integer)")
            for name in ("s3://lake/raw/a.csv", "/etc/passwd"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"COPY t FROM '{name}'")
            connection.execute("COPY t TO 's3://lake/wharf/exports/a.csv'")
            connection.execute("CREATE ROLE reader LOGIN")
        with psycopg.connect(f"host=127.0.0.1 port={server.port} user=reader dbname=wharf", autocommit=True) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("COPY t FROM 's3://other/a.csv'")
    finally:
        server.stop()


def test_a_store_that_cannot_be_reached_is_an_io_error(tmp_path):
    address = f"http://127.0.0.1:{free_port()}"
    server = Wharf(tmp_path / "data", address, WHARF_STORE__MAX_RETRIES="1")
    try:
        with server.connect() as connection:
            with pytest.raises(psycopg.Error) as error:
                connection.execute("CREATE TABLE t (id integer)")
            assert error.value.sqlstate == "58030"
            assert "s3://lake/wharf/" in str(error.value)
            assert KEYS["AWS_SECRET_ACCESS_KEY"] not in str(error.value)
    finally:
        server.stop()
