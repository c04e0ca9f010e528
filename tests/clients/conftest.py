"""The server under test, and a schema of its own for every test.

`run` starts the server and names it in the environment. The expectations in these files are PostgreSQL's:
`run --postgres` holds the same tests against a real one. Only what Wharf alone has asks for `wharf_only`.
"""

import dataclasses
import os
import uuid

import psycopg
import pytest


@dataclasses.dataclass(frozen=True)
class Server:
    kind: str
    host: str
    port: int
    user: str
    database: str

    @property
    def dsn(self) -> str:
        return f"host={self.host} port={self.port} user={self.user} dbname={self.database} connect_timeout=10"

    def connect(self, **arguments) -> psycopg.Connection:
        arguments.setdefault("autocommit", True)
        return psycopg.connect(self.dsn, **arguments)


@pytest.fixture(scope="session")
def server() -> Server:
    return Server(
        kind=os.environ["WHARF_TEST_SERVER"],
        host=os.environ["WHARF_TEST_HOST"],
        port=int(os.environ["WHARF_TEST_PORT"]),
        user=os.environ["WHARF_TEST_USER"],
        database=os.environ["WHARF_TEST_DATABASE"],
    )


@pytest.fixture
def wharf_only(server):
    if server.kind != "wharf":
        pytest.skip("only Wharf keeps its tables in Iceberg")


@pytest.fixture
def catalog(server, wharf_only):
    """pyiceberg over the Iceberg REST catalog."""
    from pyiceberg.catalog import load_catalog

    uri = os.environ["WHARF_TEST_ICEBERG"]
    return load_catalog("wharf", type="rest", uri=uri, warehouse=server.database, credential=f"{server.user}:any")


@pytest.fixture
def schema(server):
    """A schema with a name of its own, dropped with all that is in it afterwards."""
    name = f"clients_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield name
    with server.connect() as connection:
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@pytest.fixture
def connection(server, schema):
    """A psycopg connection in autocommit mode whose search path is the test's schema, with the time zone at UTC."""
    with server.connect() as connection:
        connection.execute(f"SET search_path TO {schema}")
        connection.execute("SET TimeZone TO 'UTC'")
        yield connection


def pytest_collection_modifyitems(items):
    """What `wharf.misses` lists is known to fail against Wharf; it fails the run when it passes, so the list stays true."""
    if os.environ.get("WHARF_TEST_SERVER") != "wharf":
        return
    path = os.path.join(os.path.dirname(__file__), "wharf.misses")
    with open(path, encoding="utf-8") as file:
        misses = {line.rstrip("\n") for line in file if line.strip()}
    for item in items:
        if item.nodeid in misses:
            item.add_marker(pytest.mark.xfail(strict=True, reason="listed in wharf.misses"))


def pytest_runtest_logreport(report):
    """With WHARF_WRITE_MISSES=FILE, the failing tests' names, for making the list anew."""
    target = os.environ.get("WHARF_WRITE_MISSES")
    if target and report.failed and report.when == "call":
        with open(target, "a", encoding="utf-8") as file:
            file.write(report.nodeid + "\n")
