"""A server as it is when nobody has loosened anything: clients prove a password by SCRAM-SHA-256, over TLS that they verify.

PostgreSQL's side of it is that of every client; only a server of ours is started here."""

import asyncio
import os
import pathlib
import shutil
import ssl
import subprocess
import time

import asyncpg
import psycopg
import pytest

from test_object_store import binary, free_port

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(120)]

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """The port of a server with a certificate for `localhost`, and the file that certificate is in."""
    folder = tmp_path_factory.mktemp("secured")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    # The command of docs/configuration.md.
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    environment = {
        **os.environ,
        "WHARF_HTTP__ENABLED": "false",
        "WHARF_POSTGRES__TLS_CERTIFICATE_FILE": str(certificate),
        "WHARF_POSTGRES__TLS_KEY_FILE": str(key),
        "WHARF_PASSWORD": PASSWORD,
    }
    log = folder / "wharf.log"
    process = subprocess.Popen(
        [binary(), "serve", "--data", str(folder / "data"), "--listen", f"127.0.0.1:{port}"],
        env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        for _ in range(300):
            if "listening on" in log.read_text():
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield port, certificate, log
    finally:
        process.terminate()
        process.wait(timeout=30)


def dsn(port, certificate, password=PASSWORD, sslmode="verify-full"):
    return (
        f"host=localhost port={port} user=wharf dbname=wharf connect_timeout=10 sslmode={sslmode}"
        f" sslrootcert={certificate} password='{password}'"
    )


@pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")
def test_psql(secured):
    port, certificate, _ = secured
    result = subprocess.run(
        ["psql", "-X", "-At", "-c", "SELECT current_user", dsn(port, certificate)], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("wharf\n", "")
    shown = subprocess.run(
        ["psql", "-X", "-c", "\\conninfo", dsn(port, certificate)], capture_output=True, text=True, check=True
    )
    assert "SSL connection (protocol: TLSv1.3" in shown.stdout


def test_psycopg(secured):
    port, certificate, _ = secured
    with psycopg.connect(dsn(port, certificate)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("wharf",)
        assert connection.pgconn.ssl_in_use


def test_asyncpg(secured):
    port, certificate, _ = secured

    async def body():
        context = ssl.create_default_context(cafile=certificate)
        connection = await asyncpg.connect(
            host="localhost", port=port, user="wharf", database="wharf", password=PASSWORD, ssl=context, timeout=10
        )
        assert await connection.fetchval("SELECT current_user") == "wharf"
        await connection.close()

    asyncio.run(body())


@pytest.mark.timeout(180)
def test_pgjdbc(secured):
    port, certificate, _ = secured
    jar = os.environ.get("WHARF_TEST_JDBC_JAR", "/usr/share/java/postgresql.jar")
    assert pathlib.Path(jar).exists(), f"{jar} is missing (Debian: libpostgresql-jdbc-java)"
    source = certificate.with_name("Secured.java")
    source.write_text(
        "public class Secured { public static void main(String[] a) throws Exception {"
        " try (var c = java.sql.DriverManager.getConnection(a[0], \"wharf\", a[1]);"
        " var r = c.createStatement().executeQuery(\"SELECT current_user\")) { r.next(); System.out.println(r.getString(1)); } } }"
    )
    url = f"jdbc:postgresql://localhost:{port}/wharf?ssl=true&sslmode=verify-full&sslrootcert={certificate}"
    result = subprocess.run(["java", "-cp", jar, source, url, PASSWORD], capture_output=True, text=True, check=False)
    assert result.stdout == "wharf\n", result.stderr


def test_a_wrong_password(secured):
    port, certificate, _ = secured
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "wharf"'):
        psycopg.connect(dsn(port, certificate, password="wrong"))
    # Nobody learns from it which roles there are.
    with pytest.raises(psycopg.OperationalError, match='password authentication failed for user "nobody"'):
        psycopg.connect(dsn(port, certificate).replace("user=wharf", "user=nobody"))


def test_a_certificate_for_another_name(secured):
    port, certificate, _ = secured
    with pytest.raises(psycopg.OperationalError, match="certificate"):
        psycopg.connect(dsn(port, certificate).replace("host=localhost", "host=127.0.0.1"))


def test_no_password_is_in_the_log(secured):
    port, certificate, log = secured
    with psycopg.connect(dsn(port, certificate), autocommit=True) as connection:
        connection.execute("CREATE ROLE keeper LOGIN PASSWORD 'another secret'")
    with psycopg.connect(dsn(port, certificate, "another secret").replace("user=wharf", "user=keeper")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("keeper",)
    assert PASSWORD not in log.read_text()
    assert "another secret" not in log.read_text()
