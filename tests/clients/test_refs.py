"""Branches, tags, rollback and clones are plain Iceberg: pyiceberg sees what Wharf makes, and the other way round."""

import pytest
from pyiceberg.table import StaticTable

from test_pyiceberg import location

pytestmark = pytest.mark.usefixtures("wharf_only")


def opened(connection, schema, table="t"):
    return StaticTable.from_metadata(location(connection, schema, table))


def ids(table, name):
    scan = table.scan(snapshot_id=table.snapshot_by_name(name).snapshot_id)
    return sorted(scan.to_arrow()["id"].to_pylist())


def test_branches_and_tags(connection, schema):
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("ALTER TABLE t CREATE TAG one RETAIN 7 DAYS")
    connection.execute("INSERT INTO t VALUES (2)")
    connection.execute("ALTER TABLE t CREATE BRANCH audit WITH SNAPSHOT RETENTION 3 SNAPSHOTS 2 HOURS")
    connection.execute("SET wharf.write_branch = 'audit'")
    connection.execute("INSERT INTO t VALUES (3)")
    connection.execute("DELETE FROM t WHERE id = 1")
    connection.execute("RESET wharf.write_branch")
    table = opened(connection, schema)
    refs = table.refs()
    assert set(refs) == {"main", "one", "audit"}
    assert (refs["one"].snapshot_ref_type, refs["one"].max_ref_age_ms) == ("tag", 7 * 86_400_000)
    audit = refs["audit"]
    assert (audit.snapshot_ref_type, audit.min_snapshots_to_keep, audit.max_snapshot_age_ms) == ("branch", 3, 7_200_000)
    assert ids(table, "one") == [1]
    assert ids(table, "main") == [1, 2]
    assert ids(table, "audit") == [2, 3]


@pytest.mark.parametrize("version", [2, 3])
def test_a_new_column_has_its_default_in_every_branch(connection, schema, version):
    connection.execute(f"CREATE TABLE t (id int) WITH ('format-version' = {version})")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("ALTER TABLE t CREATE BRANCH same")
    connection.execute("ALTER TABLE t CREATE BRANCH audit")
    connection.execute("SET wharf.write_branch = 'audit'")
    connection.execute("INSERT INTO t VALUES (2)")
    connection.execute("RESET wharf.write_branch")
    connection.execute("ALTER TABLE t ADD COLUMN label text NOT NULL DEFAULT 'x', ADD COLUMN k uuid DEFAULT gen_random_uuid()")
    table = opened(connection, schema)
    for branch, expected in [("main", [1]), ("same", [1]), ("audit", [1, 2])]:
        rows = table.scan(snapshot_id=table.snapshot_by_name(branch).snapshot_id).to_arrow().to_pylist()
        assert sorted(row["id"] for row in rows) == expected
        assert {row["label"] for row in rows} == {"x"}
        assert len({row["k"] for row in rows}) == len(expected)
        ours = connection.execute(f"SELECT id, label, k::text FROM t FOR VERSION AS OF '{branch}'").fetchall()
        assert sorted(ours) == sorted((row["id"], row["label"], row["k"]) for row in rows)


def test_rollback_is_in_the_history(connection, schema):
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("ALTER TABLE t CREATE TAG one")
    connection.execute("INSERT INTO t VALUES (2)")
    connection.execute("ALTER TABLE t ROLLBACK TO VERSION 'one'")
    table = opened(connection, schema)
    first = table.snapshot_by_name("one").snapshot_id
    assert table.current_snapshot().snapshot_id == first
    assert [entry.snapshot_id for entry in table.history()].count(first) == 2
    assert ids(table, "main") == [1]


def test_metadata_tables_agree(connection, schema):
    connection.execute("CREATE TABLE t (id int, name text)")
    connection.execute("INSERT INTO t VALUES (1, 'a'), (2, NULL)")
    connection.execute("INSERT INTO t VALUES (3, 'c')")
    table = opened(connection, schema)
    files = connection.execute("SELECT file_path, record_count, file_size_in_bytes FROM t$files").fetchall()
    theirs = table.inspect.files().to_pylist()
    assert sorted(files) == sorted((f["file_path"], f["record_count"], f["file_size_in_bytes"]) for f in theirs)
    snapshots = connection.execute(
        "SELECT snapshot_id, parent_id, operation, manifest_list FROM t$snapshots ORDER BY committed_at"
    ).fetchall()
    theirs = sorted(table.inspect.snapshots().to_pylist(), key=lambda snapshot: snapshot["committed_at"])
    assert snapshots == [(s["snapshot_id"], s["parent_id"], s["operation"], s["manifest_list"]) for s in theirs]


def test_a_clone_is_a_table_of_its_own(connection, schema):
    connection.execute("CREATE TABLE t (id int)")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.execute("CREATE TABLE c CLONE t")
    connection.execute("INSERT INTO c VALUES (2)")
    connection.execute("DROP TABLE t")
    clone = opened(connection, schema, "c")
    assert sorted(clone.scan().to_arrow()["id"].to_pylist()) == [1, 2]
    assert len(clone.snapshots()) == 2
