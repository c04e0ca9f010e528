"""pyiceberg: a table read straight from its metadata file, past the server, has the rows that SQL sees."""

import datetime as dt
import decimal

import pyarrow.parquet as parquet
import pytest
from pyiceberg.table import StaticTable
from pyiceberg.utils.datetime import date_to_days, datetime_to_micros, time_to_micros

pytestmark = pytest.mark.usefixtures("wharf_only")


def location(connection, schema, table):
    row = connection.execute(
        "SELECT metadata_location FROM wharf.tables WHERE schema_name = %s AND table_name = %s", (schema, table)
    ).fetchone()
    assert row is not None, f"wharf.tables has no row for {schema}.{table}"
    return row[0]


def iceberg_rows(connection, schema, table, order):
    static = StaticTable.from_metadata(location(connection, schema, table))
    rows = static.scan().to_arrow().to_pylist()
    return sorted((tuple(row.values()) for row in rows), key=lambda row: row[order])


def test_every_type_of_column(connection, schema):
    connection.execute(
        "CREATE TABLE t (id integer NOT NULL, yes boolean, small smallint, big bigint, r real, d double precision,"
        " price numeric(15,2), name text, short varchar(10), fixed char(4), raw bytea, day date, at time,"
        " moment timestamp, instant timestamptz, numbers integer[], words text[])"
    )
    connection.execute(
        "INSERT INTO t VALUES (1, true, -7, 9223372036854775807, 1.5, 0.1, 1234567890123.45, 'naïve 北京', 'ten chars!',"
        " 'ab', '\\x00ff', '2024-02-29', '23:59:59.999999', '2024-02-29 12:00:00.000001', '2024-02-29 12:00:00+02',"
        " '{1,NULL,3}', '{a,\"\"}'), (2" + ", NULL" * 16 + ")"
    )
    first, second = iceberg_rows(connection, schema, "t", order=0)
    # The blanks that fill a char(n) mean nothing and are not stored.
    assert first == (
        1, True, -7, 9223372036854775807, 1.5, 0.1, decimal.Decimal("1234567890123.45"), "naïve 北京", "ten chars!",
        "ab", b"\x00\xff", dt.date(2024, 2, 29), dt.time(23, 59, 59, 999999),
        dt.datetime(2024, 2, 29, 12, 0, 0, 1), dt.datetime(2024, 2, 29, 10, 0, tzinfo=dt.timezone.utc),
        [1, None, 3], ["a", ""],
    )  # fmt: skip
    assert second == (2,) + (None,) * 16


def test_documents_and_identifiers(connection, schema):
    connection.execute("CREATE TABLE t (id integer, j json, u uuid)")
    connection.execute("INSERT INTO t VALUES (1, '{\"a\": 1}', '0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21')")
    ((number, document, identifier),) = iceberg_rows(connection, schema, "t", order=0)
    assert (number, document) == (1, '{"a": 1}')
    assert str(identifier) == "0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21"


def test_rows_of_many_commits(connection, schema):
    connection.execute("CREATE TABLE t (id integer, name text)")
    for start in range(0, 50, 10):
        connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(%s::integer, %s::integer) AS g(g)", (start, start + 9))
    with connection.cursor().copy("COPY t FROM STDIN") as copy:
        for number in range(50, 1000):
            copy.write_row((number, f"n{number}"))
    assert iceberg_rows(connection, schema, "t", order=0) == connection.execute("SELECT * FROM t ORDER BY id").fetchall()


def test_each_commit_is_a_snapshot_and_an_empty_table_can_be_read(connection, schema):
    connection.execute("CREATE TABLE t (id integer)")
    before = location(connection, schema, "t")
    assert StaticTable.from_metadata(before).scan().to_arrow().num_rows == 0
    connection.execute("INSERT INTO t VALUES (1), (2)")
    connection.execute("INSERT INTO t VALUES (3)")
    table = StaticTable.from_metadata(location(connection, schema, "t"))
    # The format does not order them.
    first, second = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow().num_rows == 2
    assert table.scan().to_arrow().num_rows == 3
    assert second.parent_snapshot_id == first.snapshot_id
    assert second.summary["added-records"] == "1"
    assert second.summary["total-records"] == "3"
    # What was read before the inserts still answers as it did.
    assert StaticTable.from_metadata(before).scan().to_arrow().num_rows == 0


def test_filters_agree_with_the_bounds_in_the_manifests(connection, schema):
    connection.execute("CREATE TABLE t (id integer, name text, price numeric(10,2), day date)")
    for start in (0, 1000, 2000):
        connection.execute(
            "INSERT INTO t SELECT g, 'name ' || g, g / 4.0, date '2024-01-01' + g FROM generate_series(%s::integer, %s::integer) AS g(g)",
            (start, start + 999),
        )
    table = StaticTable.from_metadata(location(connection, schema, "t"))
    for condition, sql in [
        ("id >= 1500 and id < 1510", "id >= 1500 AND id < 1510"),
        ("name == 'name 2042'", "name = 'name 2042'"),
        ("price < 1", "price < 1"),
        ("day > '2032-01-01'", "day > '2032-01-01'"),
    ]:
        (count,) = connection.execute(f"SELECT count(*) FROM t WHERE {sql}").fetchone()
        assert count > 0
        assert table.scan(row_filter=condition).to_arrow().num_rows == count, condition
        # Three files with disjoint ids: the bounds must leave one.
    assert len(list(table.scan(row_filter="id == 1500").plan_files())) == 1


def test_truncate_and_rename(connection, schema):
    connection.execute("CREATE TABLE t (id integer, name text)")
    connection.execute("INSERT INTO t VALUES (1, 'a')")
    connection.execute("TRUNCATE t")
    connection.execute("INSERT INTO t VALUES (2, 'b')")
    connection.execute("ALTER TABLE t RENAME TO renamed")
    assert iceberg_rows(connection, schema, "renamed", order=0) == [(2, "b")]


def test_a_table_made_of_a_query(connection, schema):
    connection.execute("CREATE TABLE t AS SELECT g AS id, g * 1.5::double precision AS x FROM generate_series(1, 100) AS g(g)")
    assert iceberg_rows(connection, schema, "t", order=0) == [(n, n * 1.5) for n in range(1, 101)]


def test_rows_after_update_and_delete(connection, schema):
    connection.execute("CREATE TABLE t (id integer, name text)")
    for number in range(6):
        connection.execute("INSERT INTO t VALUES (%s, 'a'), (%s, 'b')", (number, number + 10))
    connection.execute("DELETE FROM t WHERE id IN (1, 3, 13)")
    connection.execute("UPDATE t SET name = 'c' WHERE id < 3 OR id = 15")
    connection.execute("INSERT INTO t VALUES (20, 'd')")
    expected = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    assert len(expected) == 10
    assert iceberg_rows(connection, schema, "t", order=0) == expected
    table = StaticTable.from_metadata(location(connection, schema, "t"))
    snapshots = sorted(table.metadata.snapshots, key=lambda snapshot: snapshot.sequence_number)
    operations = [snapshot.summary.operation.value for snapshot in snapshots[-3:]]
    assert operations == ["overwrite", "overwrite", "append"]
    assert table.current_snapshot().summary["total-records"] == "10"


def stored(value):
    """A value as Iceberg's transforms take it."""
    if isinstance(value, dt.datetime):
        return datetime_to_micros(value.replace(tzinfo=None))
    if isinstance(value, dt.date):
        return date_to_days(value)
    return time_to_micros(value) if isinstance(value, dt.time) else value


def test_partition_tuples_are_what_pyiceberg_computes(connection, schema):
    connection.execute(
        "CREATE TABLE t (i int, l bigint, n numeric(12,3), s text, b bytea, d date, ts timestamp, tz timestamptz, at time)"
        " PARTITION BY (bucket(7, i), truncate(10, l), bucket(5, n), truncate(2, s), bucket(3, b), months(d), days(ts),"
        " hours(tz), bucket(4, at))"
    )
    connection.execute(
        "INSERT INTO t SELECT g, g * 7 - 300, (g * 1.237 - 50)::numeric(12,3),"
        " (ARRAY['äöü', '🚀x', 'a', '日本語'])[g % 4 + 1] || g, decode(lpad(to_hex(g), 4, '0'), 'hex'), date '1969-06-01' + g * 3,"
        " timestamp '1969-12-30 00:00:00.5' + g * interval '13 hours',"
        " timestamptz '1969-12-31 20:30:00.25+00' + g * interval '7 minutes', time '00:00' + g * interval '11 minutes'"
        " FROM generate_series(1, 50) AS g"
    )
    connection.execute("INSERT INTO t (i) VALUES (NULL)")
    static = StaticTable.from_metadata(location(connection, schema, "t"))
    compared = 0
    for task in static.scan().plan_files():
        for row in parquet.read_table(task.file.file_path.removeprefix("file://"), partitioning=None).to_pylist():
            for field, found in zip(static.spec().fields, task.file.partition):
                source = static.schema().find_field(field.source_id)
                expected = field.transform.transform(source.field_type)(stored(row[source.name]))
                assert found == expected, (field.name, row[source.name])
                compared += 1
    assert compared == 51 * 9
    assert static.scan(row_filter="i == 5").to_arrow().num_rows == 1


@pytest.mark.parametrize("version", [2, 3])
def test_rewritten_manifests(connection, schema, version):
    connection.execute(
        f"CREATE TABLE t (id integer, day date) PARTITION BY (day)"
        f" WITH ('format-version' = '{version}', 'write.delete.mode' = 'merge-on-read')"
    )
    for start in range(0, 40, 10):
        connection.execute(
            "INSERT INTO t SELECT g, DATE '2024-02-28' + g %% 3 FROM generate_series(%s::integer, %s::integer) AS g(g)",
            (start, start + 9),
        )
    if version == 2:
        # Deletion vectors are not for pyiceberg yet.
        connection.execute("DELETE FROM t WHERE id = 7")
    expected = connection.execute("SELECT * FROM t ORDER BY id").fetchall()
    before = StaticTable.from_metadata(location(connection, schema, "t"))
    counts = connection.execute(f"CALL wharf.rewrite_manifests('{schema}.t')").fetchone()
    # The manifest of deletes is one already.
    assert counts == (4, 1)
    assert iceberg_rows(connection, schema, "t", order=0) == expected
    after = StaticTable.from_metadata(location(connection, schema, "t"))

    def entries(table):
        snapshot = table.current_snapshot()
        return {
            entry.data_file.file_path: (entry.snapshot_id, entry.sequence_number, entry.data_file.partition)
            for manifest in snapshot.manifests(table.io)
            for entry in manifest.fetch_manifest_entry(table.io)
        }

    assert entries(after) == entries(before)
    assert after.current_snapshot().summary.operation.value == "replace"
