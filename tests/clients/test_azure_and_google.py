"""Warehouses and files on Azure Blob Storage and Google Cloud Storage: a server of its own over Azurite, and over one that speaks
Google's XML API."""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from test_object_store import Wharf, free_port

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(120)]

# The account that Azurite has, with the key that its documentation names.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def ready(request, process, what):
    """Sends a request until the server answers it."""
    for _ in range(300):
        try:
            urllib.request.urlopen(request(), timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{what}: {error.read()}") from error
        except OSError:
            assert process.poll() is None, f"{what} has ended"
            time.sleep(0.1)
    raise AssertionError(f"{what} does not answer")


def new_container(address, name):
    """The request that makes a container, signed with the account's key."""
    headers = {"x-ms-date": email.utils.formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{key}:{value}\n" for key, value in sorted(headers.items()))
    # Nothing but the method, those headers and the resource; a body of no bytes has no length.
    text = "PUT" + "\n" * 12 + canonical + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    return urllib.request.Request(f"{address}/{name}?restype=container", method="PUT", headers=headers)


@pytest.fixture(scope="module")
def azure(tmp_path_factory):
    """Settings of a server whose warehouse is in the container `lake`."""
    port = free_port()
    folder = tmp_path_factory.mktemp("azure")
    process = subprocess.Popen(
        ["node", os.environ["WHARF_TEST_AZURITE"], "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder),
         "--skipApiVersionCheck", "--disableTelemetry", "--silent"],
        stdout=(folder / "azurite.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        ready(lambda: new_container(address, "lake"), process, "Azurite")
        yield {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "WHARF_WAREHOUSE__URL": "az://lake/wharf",
            "WHARF_STORE__ENDPOINT": address,
        }
    finally:
        process.kill()
        process.wait()


def service_account():
    """A service account's key, as Google's console gives it out; the server signs its own tokens with it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    return json.dumps({"private_key": pem, "private_key_id": "k1", "client_email": "wharf@project.iam.gserviceaccount.com"})


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    """The same for a bucket.

    A server of Google's XML API, in which it and S3 are alike, is moto's S3 server: the emulators of Google's own store
    (gcp-storage-emulator, fake-gcs-server) have the JSON API, and neither lists, deletes nor writes parts by XML. What moto
    does not have are generations, which Wharf does not ask for.
    """
    port = free_port()
    folder = tmp_path_factory.mktemp("google")
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=(folder / "moto.log").open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        ready(lambda: urllib.request.Request(f"{address}/lake", method="PUT"), process, "moto")
        yield {
            "GOOGLE_SERVICE_ACCOUNT_KEY": service_account(),
            "WHARF_WAREHOUSE__URL": "gs://lake/wharf",
            "WHARF_STORE__ENDPOINT": address,
        }
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["azure", "google"])
def settings(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def wharf(settings, tmp_path):
    server = Wharf(tmp_path / "data", settings["WHARF_STORE__ENDPOINT"], **settings)
    yield server
    if server.process.poll() is None:
        server.stop()


def test_tables_live_in_the_store_and_survive_a_restart(wharf):
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 5000) AS g(g)")
        connection.execute("UPDATE t SET name = 'changed' WHERE id <= 10")
        connection.execute("DELETE FROM t WHERE id > 4990")
        (location,) = connection.execute("SELECT metadata_location FROM wharf.tables WHERE table_name = 't'").fetchone()
        assert location.startswith(wharf.environment["WHARF_WAREHOUSE__URL"])
    wharf.stop()
    wharf.start()
    with wharf.connect() as connection:
        query = "SELECT count(*), sum(id), count(*) FILTER (WHERE name = 'changed') FROM t"
        assert connection.execute(query).fetchone() == (4990, 4990 * 4991 // 2, 10)
        connection.execute("DROP TABLE t PURGE")


def test_files_are_written_found_and_read(wharf):
    bucket = wharf.environment["WHARF_WAREHOUSE__URL"].removesuffix("/wharf")
    with wharf.connect() as connection:
        connection.execute("CREATE TABLE t (id integer, name text)")
        connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 1000) AS g(g)")
        connection.execute(f"COPY t TO '{bucket}/raw/a.csv.gz' (FORMAT csv, HEADER)")
        connection.execute(f"COPY t TO '{bucket}/raw/b.csv' (FORMAT csv, HEADER)")
        connection.execute("CREATE TABLE u (id integer, name text)")
        load = f"COPY u FROM '{bucket}/raw/*' (FORMAT csv, HEADER)"
        assert connection.execute(load).statusmessage == "COPY 2000"
        assert connection.execute(load).statusmessage == "COPY 0"
        # A folder that is not empty, and a file that takes the place of another.
        connection.execute(f"COPY t TO '{bucket}/parts/'")
        with pytest.raises(psycopg.Error) as error:
            connection.execute(f"COPY t TO '{bucket}/parts/'")
        assert error.value.sqlstate == "58P02"
        connection.execute(f"COPY (SELECT 1 AS id, 'x' AS name) TO '{bucket}/raw/b.csv' (FORMAT csv, HEADER)")
        assert connection.execute(load).statusmessage == "COPY 1"
        result = connection.execute(f"CREATE TABLE p FROM '{bucket}/parts/*.parquet'")
        assert result.statusmessage == "COPY 1000"
        connection.execute(f"CREATE EXTERNAL TABLE e LOCATION '{bucket}/raw/' FORMAT csv")
        assert connection.execute("SELECT count(*), max(id) FROM e").fetchone() == (1001, 1000)
        with pytest.raises(psycopg.Error) as error:
            connection.execute(f"COPY u FROM '{bucket}/raw/missing.csv'")
        assert error.value.sqlstate == "58P01"


def test_a_file_of_many_parts(wharf):
    bucket = wharf.environment["WHARF_WAREHOUSE__URL"].removesuffix("/wharf")
    with wharf.connect() as connection:
        query = "SELECT g AS id, md5(g::text) || md5((g + 1)::text) AS name FROM generate_series(1, 400000) AS g(g)"
        connection.execute(f"COPY ({query}) TO '{bucket}/large.csv' (FORMAT csv)")
        connection.execute("CREATE TABLE t (id integer, name text)")
        assert connection.execute(f"COPY t FROM '{bucket}/large.csv' (FORMAT csv)").statusmessage == "COPY 400000"
        difference = f"SELECT count(*) FROM (TABLE t EXCEPT {query}) AS d"
        assert connection.execute(difference).fetchone() == (0,)
