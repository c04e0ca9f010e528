"""What maintenance removes from disk, and what it leaves: orphans by their age, and files that somebody still reads."""

import os
import pathlib
import time
import urllib.parse
import uuid

import psycopg
import pytest
from pyiceberg.table import StaticTable

from test_object_store import Wharf
from test_pyiceberg import location

pytestmark = pytest.mark.usefixtures("wharf_only")


def folder(connection, schema, table="t"):
    """Where the table's files are, on this machine's disk."""
    return pathlib.Path(urllib.parse.unquote(location(connection, schema, table).removeprefix("file://"))).parent.parent


def data_files(connection, schema, table="t"):
    static = StaticTable.from_metadata(location(connection, schema, table))
    paths = static.inspect.files()["file_path"].to_pylist()
    return [pathlib.Path(urllib.parse.unquote(path.removeprefix("file://"))) for path in paths]


def test_orphans_go_when_they_are_old(connection, schema):
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t VALUES (1), (2)")
    (known,) = data_files(connection, schema)
    days = 24 * 60 * 60
    old, young = (known.with_name(f"{uuid.uuid4()}.parquet") for _ in range(2))
    for file, age in [(old, 4 * days), (young, 2 * days), (known, 9 * days)]:
        if file != known:
            file.write_bytes(known.read_bytes())
        os.utime(file, (time.time() - age,) * 2)

    def call(arguments=""):
        rows = connection.execute(f"CALL wharf.remove_orphan_files(table => 't'{arguments})").fetchall()
        return [pathlib.Path(urllib.parse.unquote(row[0])).name for row in rows]

    assert call(", dry_run => true") == [old.name]
    assert old.exists()
    assert call() == [old.name]
    assert not old.exists() and young.exists() and known.exists()
    assert call(", older_than => now() - interval '1 day'") == [young.name]
    assert not young.exists()
    # A file of the table is none, however old it is.
    assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(1,), (2,)]
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        call(", older_than => now() - interval '1 minute'")


def test_what_expires_stays_while_it_is_read(connection, schema, server):
    connection.execute("CREATE TABLE t (id int, filling text)")
    connection.execute("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 100000) AS s(g)")
    (former,) = data_files(connection, schema)
    with server.connect(autocommit=False) as reader:
        reader.execute(f"SET search_path TO {schema}")
        reader.commit()
        reader.execute("DECLARE rows CURSOR FOR SELECT id FROM t")
        begun = reader.execute("FETCH 10 FROM rows").fetchall()
        connection.execute("TRUNCATE t")
        connection.execute("CALL wharf.expire_snapshots(table => 't', older_than => now(), retain_last => 1)")
        assert former.exists()
        os.utime(former, (time.time() - 4 * 24 * 60 * 60,) * 2)
        assert connection.execute("CALL wharf.remove_orphan_files(table => 't')").fetchall() == []
        # The cursor's rows, and the transaction's state of the table, are still there.
        assert len(begun) + len(reader.execute("FETCH ALL FROM rows").fetchall()) == 100000
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (100000,)
        reader.commit()
    # Nothing refers to it any more, so it goes as orphans do, and not before.
    os.utime(former, (time.time() - 4 * 24 * 60 * 60,) * 2)
    assert len(connection.execute("CALL wharf.remove_orphan_files(table => 't')").fetchall()) > 0
    assert not former.exists()
    connection.execute("INSERT INTO t VALUES (1, 'a')")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


@pytest.mark.timeout(60)
def test_snapshots_expire_by_themselves(tmp_path):
    """By the table's properties, and none of those that a tag or a young age protects."""
    settings = {"WHARF_WAREHOUSE__URL": "", "WHARF_MAINTENANCE__INTERVAL_MS": "200"}
    server = Wharf(tmp_path / "data", "", **settings)
    try:
        with server.connect() as connection:
            connection.execute("CREATE TABLE kept (id int)")
            connection.execute("CREATE TABLE t (id int) WITH ('history.expire.max-snapshot-age-ms' = 1)")
            for table in ("kept", "t"):
                connection.execute(f"INSERT INTO {table} VALUES (1)")
                connection.execute(f"ALTER TABLE {table} CREATE TAG one")
                for number in range(2, 6):
                    connection.execute(f"TRUNCATE {table}")
                    connection.execute(f"INSERT INTO {table} VALUES ({number})")

            def snapshots(table):
                return connection.execute(f'SELECT count(*) FROM "{table}$snapshots"').fetchone()[0]

            def data_files_left():
                return len(list((tmp_path / "data" / "warehouse").glob("**/*.parquet")))

            # Of `kept` all five files, of `t` those of the tag and of the head.
            deadline = time.monotonic() + 30
            while (snapshots("t"), data_files_left()) != (2, 7) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert (snapshots("t"), snapshots("kept")) == (2, 9)
            assert connection.execute("SELECT id FROM t").fetchall() == [(5,)]
            assert connection.execute("SELECT id FROM t FOR VERSION AS OF 'one'").fetchall() == [(1,)]
            assert data_files_left() == 7
    finally:
        server.stop()
