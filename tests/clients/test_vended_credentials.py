"""Clients of the Iceberg catalog that have no key to the object store: they get one for a table, for a while.

moto's token service gives keys and says when they expire; that they reach nothing but their table is the cloud's part, which moto does
not play. What the policy asks of it is tested in the server's own tests."""

import json
import time
import urllib.error
import urllib.request

import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog

from test_object_store import KEYS, Wharf, free_port, s3  # noqa: F401

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(120)]

ROLE = "arn:aws:iam::123456789012:role/lake"


def start(folder, address, **settings):
    port = free_port()
    server = Wharf(folder, address, WHARF_HTTP__ENABLED="true", WHARF_HTTP__LISTEN=f"127.0.0.1:{port}", **settings)
    server.http = f"http://127.0.0.1:{port}/iceberg"
    return server


@pytest.fixture
def wharf(s3, tmp_path):  # noqa: F811
    server = start(tmp_path / "data", s3, WHARF_STORE__STS_ROLE=ROLE)
    yield server
    server.stop()


def get(server, path, delegation=None):
    headers = {"X-Iceberg-Access-Delegation": delegation} if delegation else {}
    with urllib.request.urlopen(urllib.request.Request(f"{server.http}/v1/wharf/{path}", headers=headers)) as response:
        return json.load(response)


def test_a_client_without_a_key_reads_and_writes(wharf, monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        connection.execute("INSERT INTO t VALUES (1, 'one'), (2, 'two')")
        catalog = RestCatalog("wharf", uri=wharf.http, warehouse="wharf", token="none")
        table = catalog.load_table("public.t")
        assert table.io.properties["s3.session-token"]
        assert table.io.properties["s3.access-key-id"] != KEYS["AWS_ACCESS_KEY_ID"]
        assert sorted(table.scan().to_arrow().column("id").to_pylist()) == [1, 2]
        table.append(pa.table({"id": pa.array([3], pa.int32()), "name": ["three"]}))
        assert connection.execute("SELECT id, name FROM t ORDER BY id").fetchall() == [
            (1, "one"), (2, "two"), (3, "three")
        ]
        made = catalog.create_table("public.made", pa.schema([("n", pa.int64())]))
        made.append(pa.table({"n": [7]}))
        assert connection.execute("SELECT n FROM made").fetchall() == [(7,)]


def test_keys_are_for_those_who_ask_and_for_one_table(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE a (id integer)")
        connection.execute("CREATE TABLE b (id integer)")
        connection.execute("CREATE TABLE c CLONE a")
    tables = "namespaces/public/tables"
    plain = get(wharf, f"{tables}/a")
    assert plain["config"] == {} and "storage-credentials" not in plain
    assert get(wharf, f"{tables}/a", "remote-signing")["config"] == {}

    asked = get(wharf, f"{tables}/a", "vended-credentials")
    config = asked["config"]
    assert config["s3.endpoint"].startswith("http://127.0.0.1") and config["s3.region"] == KEYS["AWS_REGION"]
    expires = int(config["s3.session-token-expires-at-ms"]) / 1000
    assert 1800 < expires - time.time() <= 3660
    (storage,) = asked["storage-credentials"]
    assert storage["prefix"] == asked["metadata"]["location"] and storage["config"] == config
    secrets = {value for name, value in config.items() if "secret" in name or "token" in name}
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in secrets

    # Given again, and to a client that knows the table already.
    assert get(wharf, f"{tables}/a", "vended-credentials")["config"] == config
    (fresh,) = get(wharf, f"{tables}/a/credentials")["storage-credentials"]
    assert fresh["config"] == config
    keys = {get(wharf, f"{tables}/{name}", "vended-credentials")["config"]["s3.access-key-id"] for name in "abc"}
    assert len(keys) == 3
    request = urllib.request.Request(
        f"{wharf.http}/v1/wharf/{tables}/a", headers={"X-Iceberg-Access-Delegation": "vended-credentials"}
    )
    with urllib.request.urlopen(request) as response:
        request.add_header("If-None-Match", response.headers["ETag"])
    with urllib.request.urlopen(request) as response:
        assert response.status == 200


def test_no_key_reaches_beyond_its_table(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE a (id integer)")
    tables = "namespaces/public/tables"
    location = get(wharf, f"{tables}/a")["metadata"]["location"]
    schema = {"type": "struct", "fields": [{"id": 1, "name": "n", "type": "long", "required": False}]}

    def create(name, location):
        body = json.dumps({"name": name, "location": location, "schema": schema}).encode()
        headers = {"X-Iceberg-Access-Delegation": "vended-credentials", "Content-Type": "application/json"}
        with urllib.request.urlopen(
            urllib.request.Request(f"{wharf.http}/v1/wharf/{tables}", data=body, headers=headers)
        ) as response:
            return json.load(response)["config"]

    wider = ["s3://lake/wharf", "s3://lake/wharf/.wharf/catalog", location.rsplit("/", 1)[0], f"{location}/data"]
    for number, folder in enumerate(wider):
        with pytest.raises(urllib.error.HTTPError) as error:
            create(f"wide_{number}", folder)
        assert error.value.code == 403, folder
    # Not even a folder for a table.
    with pytest.raises(urllib.error.HTTPError) as error:
        create("bucket", "s3://lake")
    assert error.value.code == 400
    assert create("narrow", f"{location}-beside")["s3.access-key-id"]


def test_a_service_that_is_not_there_is_an_error_without_secrets(s3, tmp_path):  # noqa: F811
    settings = {"WHARF_STORE__STS_ROLE": ROLE, "WHARF_STORE__STS_ENDPOINT": f"http://127.0.0.1:{free_port()}"}
    server = start(tmp_path / "data", s3, **settings)
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE a (id integer)")
        with pytest.raises(urllib.error.HTTPError) as error:
            get(server, "namespaces/public/tables/a", "vended-credentials")
        message = json.load(error.value)["error"]["message"]
        assert error.value.code == 500 and "token service gave no credentials" in message
        assert KEYS["AWS_SECRET_ACCESS_KEY"] not in message
        assert get(server, "namespaces/public/tables/a")["config"] == {}
    finally:
        server.stop()


def test_without_a_role_nobody_gets_a_key(s3, tmp_path):  # noqa: F811
    server = start(tmp_path / "data", s3)
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE a (id integer)")
        tables = "namespaces/public/tables"
        assert get(server, f"{tables}/a", "vended-credentials")["config"] == {}
        assert get(server, f"{tables}/a/credentials") == {"storage-credentials": []}
    finally:
        server.stop()


def test_a_role_that_is_none_is_refused_at_the_start(tmp_path):
    with pytest.raises(AssertionError, match="has ended"):
        start(tmp_path / "data", "", WHARF_STORE__STS_ROLE=ROLE, WHARF_WAREHOUSE__URL=str(tmp_path / "lake"))
    log = (tmp_path / "wharf.log").read_text()
    assert "store.sts_role gives credentials for S3 alone" in log
    with pytest.raises(AssertionError, match="has ended"):
        start(tmp_path / "data", "", WHARF_STORE__STS_LIFETIME_MS="1000")
    assert "store.sts_lifetime_ms = 1000 is too small" in (tmp_path / "wharf.log").read_text()
