"""pyiceberg and Polars through the Iceberg REST catalog, and SQL on the same tables: each sees at once what the other did."""

import datetime as dt
import decimal

import polars
import pyarrow as pa
import psycopg
import pytest
from pyiceberg.exceptions import (
    CommitFailedException,
    NamespaceAlreadyExistsError,
    NamespaceNotEmptyError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.schema import Schema
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.transforms import BucketTransform, DayTransform, IdentityTransform, TruncateTransform
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType, TimestampType

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(60)]

COLUMNS = Schema(NestedField(1, "id", LongType()), NestedField(2, "name", StringType()))


def rows(connection, sql):
    return connection.execute(sql).fetchall()


def arrow(ids, names):
    return pa.table({"id": pa.array(ids, pa.int64()), "name": names})


def scanned(table, **scan):
    return sorted(tuple(row.values()) for row in table.scan(**scan).to_arrow().to_pylist())


def test_append_overwrite_delete_seen_by_both(catalog, connection, schema):
    table = catalog.create_table(f"{schema}.t", COLUMNS)
    assert rows(connection, "SELECT * FROM t") == []
    table.append(arrow([1, 2, 3], ["a", "b", "c"]))
    assert rows(connection, "SELECT * FROM t ORDER BY id") == [(1, "a"), (2, "b"), (3, "c")]
    connection.execute("INSERT INTO t VALUES (4, 'd')")
    assert scanned(table.refresh()) == [(1, "a"), (2, "b"), (3, "c"), (4, "d")]
    table.delete("id == 2")
    assert rows(connection, "SELECT id FROM t ORDER BY id") == [(1,), (3,), (4,)]
    connection.execute("UPDATE t SET name = upper(name) WHERE id > 1")
    connection.execute("DELETE FROM t WHERE id = 1")
    assert scanned(table.refresh()) == [(3, "C"), (4, "D")]
    table.overwrite(arrow([5], ["e"]), overwrite_filter="id == 3")
    assert rows(connection, "SELECT * FROM t ORDER BY id") == [(4, "D"), (5, "e")]
    table.overwrite(arrow([6], ["f"]))
    assert rows(connection, "SELECT * FROM t") == [(6, "f")]
    table.upsert(arrow([6, 7], ["g", "h"]), join_cols=["id"])
    assert rows(connection, "SELECT * FROM t ORDER BY id") == [(6, "g"), (7, "h")]


def test_a_stale_writer_is_told(catalog, connection, schema):
    connection.execute("CREATE TABLE t (id bigint, name text)")
    connection.execute("INSERT INTO t VALUES (1, 'a')")
    stale = catalog.load_table(f"{schema}.t")
    # Without a try of its own.
    with stale.transaction() as transaction:
        transaction.set_properties({"commit.retry.num-retries": "0"})
    connection.execute("INSERT INTO t VALUES (2, 'b')")
    with pytest.raises(CommitFailedException):
        with stale.transaction() as transaction:
            transaction.delete("id == 1")
    assert rows(connection, "SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    stale.refresh().delete("id == 1")
    assert rows(connection, "SELECT id FROM t ORDER BY id") == [(2,)]


def test_columns_change(catalog, connection, schema):
    table = catalog.create_table(f"{schema}.t", Schema(*COLUMNS.fields, NestedField(3, "n", IntegerType())))
    connection.execute("INSERT INTO t VALUES (1, 'a', 10)")
    with table.refresh().update_schema() as update:
        update.add_column("price", DoubleType(), doc="in euro")
        update.rename_column("name", "label")
        update.update_column("n", field_type=LongType())
    assert rows(connection, "SELECT id, label, n, price FROM t") == [(1, "a", 10, None)]
    connection.execute("INSERT INTO t VALUES (2, 'b', 5000000000, 1.5)")
    assert scanned(table.refresh()) == [(1, "a", 10, None), (2, "b", 5000000000, 1.5)]
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("label")
    assert rows(connection, "SELECT * FROM t ORDER BY id") == [(1, 10, None), (2, 5000000000, 1.5)]
    shown = rows(
        connection,
        "SELECT column_name, data_type FROM information_schema.columns"
        f" WHERE table_schema = '{schema}' AND table_name = 't' ORDER BY ordinal_position",
    )
    assert shown == [("id", "bigint"), ("n", "bigint"), ("price", "double precision")]
    connection.execute("ALTER TABLE t RENAME COLUMN price TO cost")
    assert [field.name for field in table.refresh().schema().fields] == ["id", "n", "cost"]


@pytest.mark.parametrize(
    "transform", [IdentityTransform(), BucketTransform(4), DayTransform(), TruncateTransform(2)], ids=str
)
def test_partitioned_tables(catalog, connection, schema, transform):
    columns = Schema(*COLUMNS.fields, NestedField(3, "at", TimestampType()))
    source = {"day": 3, "truncate[2]": 2}.get(str(transform), 1)
    spec = PartitionSpec(PartitionField(source, 1000, transform, "part"))
    order = SortOrder(SortField(source_id=1, transform=IdentityTransform()))
    table = catalog.create_table(f"{schema}.t", columns, partition_spec=spec, sort_order=order)
    times = [dt.datetime(2024, 1, day, 12) for day in (1, 1, 2, 3)]
    table.append(
        pa.table({"id": pa.array([1, 2, 3, 4], pa.int64()), "name": ["aab", "aac", "b", None], "at": pa.array(times, pa.timestamp("us"))})
    )
    expected = [(1, "aab"), (2, "aac"), (3, "b"), (4, None)]
    assert rows(connection, "SELECT id, name FROM t ORDER BY id") == expected
    assert rows(connection, "SELECT id FROM t WHERE at >= '2024-01-02' AND name IS NOT NULL") == [(3,)]
    assert rows(connection, "SELECT id FROM t WHERE name = 'aac'") == [(2,)]
    with table.update_spec() as update:
        update.remove_field("part")
    connection.execute("INSERT INTO t (id, name) VALUES (5, 'c')")
    assert [row[:2] for row in scanned(table.refresh())] == [*expected, (5, "c")]
    with table.update_spec() as update:
        update.add_field("id", BucketTransform(2), "bucketed")
    connection.execute("INSERT INTO t (id, name) VALUES (6, 'd'), (7, 'e'), (8, 'f')")
    table.append(pa.table({"id": pa.array([9], pa.int64()), "name": ["g"], "at": pa.array([None], pa.timestamp("us"))}))
    expected = [*expected, (5, "c"), (6, "d"), (7, "e"), (8, "f"), (9, "g")]
    assert rows(connection, "SELECT id, name FROM t ORDER BY id") == expected
    assert [row[:2] for row in scanned(table.refresh())] == expected
    assert rows(connection, "SELECT name FROM t WHERE id = 7") == [("e",)]


def test_time_travel_on_both_sides(catalog, connection, schema):
    table = catalog.create_table(f"{schema}.t", COLUMNS)
    table.append(arrow([1], ["a"]))
    first = table.current_snapshot().snapshot_id
    connection.execute("INSERT INTO t VALUES (2, 'b')")
    second = table.refresh().current_snapshot().snapshot_id
    table.delete("id == 1")
    assert rows(connection, f"SELECT id FROM t FOR VERSION AS OF {first}") == [(1,)]
    assert rows(connection, f"SELECT id FROM t FOR VERSION AS OF {second} ORDER BY id") == [(1,), (2,)]
    assert scanned(table, snapshot_id=second) == [(1, "a"), (2, "b")]
    table.manage_snapshots().create_tag(first, "begin").commit()
    assert rows(connection, "SELECT id FROM t FOR VERSION AS OF 'begin'") == [(1,)]
    assert rows(connection, "SELECT id FROM t") == [(2,)]


def test_a_table_created_with_its_rows(catalog, connection, schema):
    with catalog.create_table_transaction(f"{schema}.t", COLUMNS, properties={"ours": "yes"}) as transaction:
        transaction.append(arrow([1], ["a"]))
        with connection.cursor() as cursor, pytest.raises(psycopg.errors.UndefinedTable):
            cursor.execute("SELECT * FROM t")
    assert rows(connection, "SELECT * FROM t") == [(1, "a")]
    assert catalog.load_table(f"{schema}.t").properties["ours"] == "yes"


def test_types_of_sql_in_polars(catalog, connection, schema):
    connection.execute(
        "CREATE TABLE t (id integer NOT NULL, yes boolean, small smallint, price numeric(15,2), name varchar(10), day date,"
        " moment timestamp, instant timestamptz, numbers integer[])"
    )
    connection.execute(
        "INSERT INTO t VALUES (1, true, -7, 12.34, 'naïve 北京', '2024-02-29', '2024-02-29 12:00:00.000001',"
        " '2024-02-29 12:00:00+02', '{1,NULL,3}'), (2" + ", NULL" * 8 + ")"
    )
    connection.execute("DELETE FROM t WHERE id = 2")
    frame = polars.scan_iceberg(catalog.load_table(f"{schema}.t")).filter(polars.col("id") < 10).collect()
    assert frame.rows() == [
        (1, True, -7, decimal.Decimal("12.34"), "naïve 北京", dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 0, 0, 1),
         dt.datetime(2024, 2, 29, 10, tzinfo=dt.timezone.utc), [1, None, 3])
    ]  # fmt: skip


def test_what_sql_has_no_type_for(catalog, connection, schema):
    fields = pa.schema([("id", pa.int64()), ("s", pa.struct([("x", pa.int32())]))])
    table = catalog.create_table(f"{schema}.t", fields)
    table.append(pa.table({"id": [1], "s": [{"x": 2}]}, schema=fields))
    for sql in ["SELECT id FROM t", "INSERT INTO t (id) VALUES (2)", "UPDATE t SET id = 2", "DELETE FROM t"]:
        with pytest.raises(psycopg.errors.FeatureNotSupported, match='column "s" of Iceberg type struct'):
            connection.execute(sql)
    assert scanned(table.refresh()) == [(1, {"x": 2})]
    with table.update_schema(allow_incompatible_changes=True) as update:
        update.delete_column("s")
    assert rows(connection, "SELECT * FROM t") == [(1,)]


def test_names_and_errors(catalog, connection, schema):
    assert (schema,) in catalog.list_namespaces()
    catalog.create_table(f"{schema}.Events", COLUMNS)
    connection.execute('INSERT INTO "Events" VALUES (1, \'a\')')
    catalog.rename_table(f"{schema}.Events", f"{schema}.e")
    assert rows(connection, "SELECT * FROM e") == [(1, "a")]
    connection.execute("CREATE VIEW v AS SELECT id FROM e")
    assert catalog.list_tables(schema) == [(schema, "e")]
    assert catalog.list_views(schema) == [(schema, "v")]
    assert catalog.view_exists(f"{schema}.v") and not catalog.table_exists(f"{schema}.v")
    catalog.drop_view(f"{schema}.v")
    catalog.update_namespace_properties(schema, updates={"owner": "ann"})
    assert catalog.load_namespace_properties(schema) == {"owner": "ann"}
    with pytest.raises(TableAlreadyExistsError):
        catalog.create_table(f"{schema}.e", COLUMNS)
    with pytest.raises(NoSuchTableError):
        catalog.load_table(f"{schema}.Events")
    with pytest.raises(NamespaceAlreadyExistsError):
        catalog.create_namespace(schema)
    with pytest.raises(NamespaceNotEmptyError):
        catalog.drop_namespace(schema)
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_tables("nowhere")
    location = catalog.load_table(f"{schema}.e").metadata_location
    catalog.drop_table(f"{schema}.e")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM e")
    catalog.register_table(f"{schema}.back", location)
    assert rows(connection, "SELECT * FROM back") == [(1, "a")]
