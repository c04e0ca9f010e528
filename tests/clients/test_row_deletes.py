"""Rows deleted where they are: pyiceberg reads Wharf's position deletes (format version 2) and deletion vectors (version 3), and
Wharf reads position and equality deletes that were written with pyarrow and pyiceberg's writers of manifests."""

import os
import uuid

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestWriterV2,
    write_manifest_list,
)
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.update import AddSnapshotUpdate, AssertRefSnapshotId, SetSnapshotRefUpdate
from pyiceberg.typedef import Record

pytestmark = pytest.mark.usefixtures("wharf_only")

MERGE_ON_READ = {f"write.{statement}.mode": "merge-on-read" for statement in ("delete", "update", "merge")}
# The field ids that the specification reserves for the columns of position delete files.
FILE_PATH, POSITION = 2147483546, 2147483545


def rows_of(table):
    return sorted(tuple(row.values()) for row in table.scan().to_arrow().to_pylist())


def sql_rows(connection):
    return connection.execute("SELECT * FROM t ORDER BY id, name").fetchall()


def delete_files(table):
    return [
        entry.data_file
        for manifest in table.current_snapshot().manifests(table.io)
        for entry in manifest.fetch_manifest_entry(table.io)
        if entry.data_file.content != DataFileContent.DATA
    ]


def upgrade(catalog, schema):
    """To format version 3, which pyiceberg reads and does not ask for."""
    answer = catalog._session.post(
        catalog.url(f"namespaces/{schema}/tables/t"),
        json={
            "identifier": {"namespace": [schema], "name": "t"},
            "requirements": [],
            "updates": [{"action": "upgrade-format-version", "format-version": 3}],
        },
    )
    answer.raise_for_status()


def make_table(connection, catalog, schema, version):
    connection.execute("CREATE TABLE t (id integer, name text)")
    with catalog.load_table(f"{schema}.t").transaction() as transaction:
        transaction.set_properties(MERGE_ON_READ)
    if version == 3:
        upgrade(catalog, schema)


@pytest.mark.parametrize(("version", "file_format"), [(2, FileFormat.PARQUET), (3, FileFormat.PUFFIN)])
def test_pyiceberg_reads_what_was_deleted_where_it_is(connection, catalog, schema, version, file_format):
    make_table(connection, catalog, schema, version)
    connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 1000) AS g(g)")
    connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1001, 1100) AS g(g)")
    connection.execute("DELETE FROM t WHERE id % 7 = 0")
    connection.execute("UPDATE t SET name = 'changed' WHERE id % 10 = 1")
    connection.execute("DELETE FROM t WHERE id % 11 = 0 AND id < 500")
    connection.execute(
        "MERGE INTO t USING (VALUES (2, 'two'), (5000, 'new')) AS s(id, name) ON t.id = s.id"
        " WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.name)"
    )
    expected = {
        n: "changed" if n % 10 == 1 else f"n{n}" for n in range(1, 1101) if n % 7 and not (n % 11 == 0 and n < 500)
    }
    expected |= {2: "two", 5000: "new"}
    assert sql_rows(connection) == sorted(expected.items())

    table = catalog.load_table(f"{schema}.t")
    assert table.metadata.format_version == version
    assert rows_of(table) == sorted(expected.items())
    deletes = delete_files(table)
    assert {file.file_format for file in deletes} == {file_format}
    assert len(deletes) <= len(list(table.scan().plan_files())), "a data file has one delete file of its own"
    summary = table.current_snapshot().summary.additional_properties
    assert summary["total-delete-files"] == str(len(deletes))
    assert int(summary["total-position-deletes"]) == sum(file.record_count for file in deletes)
    assert int(summary["total-records"]) - int(summary["total-position-deletes"]) == len(expected)


def test_position_deletes_become_vectors_when_the_table_is_upgraded(connection, catalog, schema):
    make_table(connection, catalog, schema, 2)
    connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 100) AS g(g)")
    connection.execute("DELETE FROM t WHERE id < 10")
    upgrade(catalog, schema)
    table = catalog.load_table(f"{schema}.t")
    assert [file.file_format for file in delete_files(table)] == [FileFormat.PARQUET]
    assert rows_of(table) == sql_rows(connection) == [(n, f"n{n}") for n in range(10, 101)]
    connection.execute("DELETE FROM t WHERE id > 90")
    table = catalog.load_table(f"{schema}.t")
    assert [file.file_format for file in delete_files(table)] == [FileFormat.PUFFIN]
    assert rows_of(table) == sql_rows(connection) == [(n, f"n{n}") for n in range(10, 91)]


@pytest.mark.parametrize("version", [2, 3])
def test_transactions_that_change_other_rows_of_a_file_both_count(server, connection, catalog, schema, version):
    make_table(connection, catalog, schema, version)
    connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 10) AS g(g)")
    with server.connect(autocommit=False) as other:
        other.execute(f"SET search_path TO {schema}")
        other.execute("DELETE FROM t WHERE id = 1")
        other.execute("UPDATE t SET name = 'theirs' WHERE id = 2")
        connection.execute("DELETE FROM t WHERE id = 3")
        connection.execute("UPDATE t SET name = 'ours' WHERE id = 4")
        other.commit()
    expected = [(2, "theirs"), (4, "ours"), *((n, f"n{n}") for n in range(5, 11))]
    assert sql_rows(connection) == expected == rows_of(catalog.load_table(f"{schema}.t"))
    with server.connect(autocommit=False) as other:
        other.execute(f"SET search_path TO {schema}")
        other.execute("UPDATE t SET name = 'lost' WHERE id IN (5, 6)")
        connection.execute("UPDATE t SET name = 'won' WHERE id = 6")
        with pytest.raises(psycopg.errors.SerializationFailure):
            other.commit()
    assert sql_rows(connection) == sorted([*(row for row in expected if row[0] != 6), (6, "won")])


class DeleteManifestWriter(ManifestWriterV2):
    """pyiceberg's writer, which knows data files only, for delete files."""

    def content(self):
        return ManifestContent.DELETES

    @property
    def _meta(self):
        return {**super()._meta, "content": "deletes"}


def write_deletes(table, name, columns, content, equality_ids=None):
    """A delete file; the columns are (name, field id, type, values)."""
    fields = [pa.field(n, kind, metadata={"PARQUET:field_id": str(i)}) for n, i, kind, _ in columns]
    rows = pa.Table.from_arrays([pa.array(values, kind) for _, _, kind, values in columns], schema=pa.schema(fields))
    location = f"{table.location()}/data/{name}-{uuid.uuid4()}.parquet"
    path = location.removeprefix("file://")
    pq.write_table(rows, path)
    return DataFile.from_args(
        content=content,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(),
        record_count=rows.num_rows,
        file_size_in_bytes=os.path.getsize(path),
        equality_ids=equality_ids,
    )


def commit_deletes(catalog, table, files):
    """Adds delete files as a snapshot, as another engine does."""
    metadata, io = table.metadata, table.io
    parent = table.current_snapshot()
    snapshot_id, number = metadata.new_snapshot_id(), metadata.last_sequence_number + 1
    folder = f"{table.location()}/metadata/{uuid.uuid4()}"
    with DeleteManifestWriter(table.spec(), table.schema(), io.new_output(f"{folder}-m0.avro"), snapshot_id, "deflate") as writer:
        for file in files:
            entry = ManifestEntry.from_args(status=ManifestEntryStatus.ADDED, snapshot_id=snapshot_id, data_file=file)
            writer.add_entry(entry)
    manifest = writer.to_manifest_file()
    with write_manifest_list(2, io.new_output(f"{folder}-list.avro"), snapshot_id, parent.snapshot_id, number, "deflate") as writer:
        writer.add_manifests([manifest, *parent.manifests(io)])
    snapshot = Snapshot(
        snapshot_id=snapshot_id,
        parent_snapshot_id=parent.snapshot_id,
        sequence_number=number,
        manifest_list=f"{folder}-list.avro",
        summary=Summary(Operation.DELETE, **{"total-delete-files": str(len(files)), "total-data-files": "2"}),
        schema_id=metadata.current_schema_id,
    )
    updates = (
        AddSnapshotUpdate(snapshot=snapshot),
        SetSnapshotRefUpdate(ref_name="main", type="branch", snapshot_id=snapshot_id),
    )
    catalog.commit_table(table, (AssertRefSnapshotId(ref="main", snapshot_id=parent.snapshot_id),), updates)


@pytest.mark.parametrize("mode", ["copy-on-write", "merge-on-read"])
def test_deletes_of_another_engine(connection, catalog, schema, mode):
    connection.execute("CREATE TABLE t (id integer, name text)")
    with catalog.load_table(f"{schema}.t").transaction() as transaction:
        transaction.set_properties({"write.delete.mode": mode})
    connection.execute("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 100) AS g(g)")
    connection.execute("INSERT INTO t VALUES (101, NULL), (102, 'n7'), (NULL, NULL)")
    table = catalog.load_table(f"{schema}.t")
    data = {task.file.record_count: task.file.file_path for task in table.scan().plan_files()}
    # Positions of both files in one delete file, sorted as the specification wants it.
    places = sorted([(data[100], 0), (data[100], 99), (data[3], 0)])
    columns = [
        ("file_path", FILE_PATH, pa.string(), [path for path, _ in places]),
        ("pos", POSITION, pa.int64(), [position for _, position in places]),
    ]
    positions = write_deletes(table, "positions", columns, DataFileContent.POSITION_DELETES)
    by_name = [("name", 2, pa.string(), ["n7", "nobody"])]
    by_name = write_deletes(table, "by-name", by_name, DataFileContent.EQUALITY_DELETES, [2])
    by_both = [("id", 1, pa.int32(), [None, 50]), ("name", 2, pa.string(), [None, "n51"])]
    by_both = write_deletes(table, "by-both", by_both, DataFileContent.EQUALITY_DELETES, [1, 2])
    commit_deletes(catalog, table, [positions, by_name, by_both])

    expected = [(n, f"n{n}") for n in range(2, 100) if n != 7]
    assert sql_rows(connection) == expected
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (len(expected),)
    # A row that is as the deleted ones, and newer.
    connection.execute("INSERT INTO t VALUES (7, 'n7')")
    expected = sorted([*expected, (7, "n7")])
    assert sql_rows(connection) == expected
    connection.execute("DELETE FROM t WHERE id BETWEEN 5 AND 9")
    assert sql_rows(connection) == [row for row in expected if not 5 <= row[0] <= 9]
