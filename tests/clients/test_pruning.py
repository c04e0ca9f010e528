"""What EXPLAIN says was left out: files by partition and bounds, row groups by bounds, and by bloom filters where a table has them."""

import re

import pytest

pytestmark = pytest.mark.usefixtures("wharf_only")


def explained(connection, query, analyze=False):
    rows = connection.execute(f"EXPLAIN {'ANALYZE ' if analyze else ''}{query}").fetchall()
    return "\n".join(row[0] for row in rows)


def row_groups(connection, query, by):
    """How many row groups there were, and how many were left after looking at their bounds, or at their bloom filters."""
    plan = explained(connection, query, analyze=True)
    found = re.search(rf"row_groups_pruned_{by}=(\d+) total → (\d+) matched", plan)
    assert found, plan
    return tuple(int(count) for count in found.groups())


def test_files_are_left_out_by_partition_and_by_bounds(connection):
    connection.execute("CREATE TABLE t (day date, n int) PARTITION BY (day)")
    connection.execute("INSERT INTO t SELECT date '2024-01-01' + g, g FROM generate_series(0, 19) AS s(g)")
    connection.execute("INSERT INTO t SELECT date '2024-01-01' + g, g + 100 FROM generate_series(0, 19) AS s(g)")
    assert "read=2 of 40 files" in explained(connection, "SELECT * FROM t WHERE day = '2024-01-05'")
    assert "read=1 of 40 files" in explained(connection, "SELECT * FROM t WHERE n = 107")
    assert "read=40 of 40 files" in explained(connection, "SELECT * FROM t WHERE n >= 0")
    assert re.search(r"read=1 of 40 files, \d+ of \d+ bytes", explained(connection, "SELECT * FROM t WHERE n = 107"))
    assert connection.execute("SELECT n FROM t WHERE day = '2024-01-05' ORDER BY n").fetchall() == [(4,), (104,)]


def test_row_groups_are_left_out_by_bounds(connection):
    connection.execute("CREATE TABLE t (n bigint, filling text) WITH ('write.parquet.row-group-size-bytes' = 1048576)")
    connection.execute("INSERT INTO t SELECT g, md5(g::text) FROM generate_series(1, 200000) AS s(g)")
    total, matched = row_groups(connection, "SELECT * FROM t WHERE n = 77777", "statistics")
    assert total > 2 and matched == 1
    assert connection.execute("SELECT filling = md5('77777') FROM t WHERE n = 77777").fetchall() == [(True,)]


def test_row_groups_are_left_out_by_bloom_filters(connection):
    columns = "k bigint, name text"
    connection.execute(
        f"CREATE TABLE with_filters ({columns}) WITH ('write.parquet.bloom-filter-enabled.column.k' = true,"
        " 'write.parquet.bloom-filter-enabled.column.name' = true)"
    )
    connection.execute(f"CREATE TABLE without ({columns})")
    for table in ("with_filters", "without"):
        connection.execute(f"INSERT INTO {table} SELECT g * 2, 'n' || g * 2 FROM generate_series(1, 50000) AS s(g)")
    # Between the bounds, and not there.
    for condition in ("k = 10001", "name = 'n1001'"):
        assert row_groups(connection, f"SELECT * FROM with_filters WHERE {condition}", "bloom_filter") == (1, 0)
        assert row_groups(connection, f"SELECT * FROM without WHERE {condition}", "bloom_filter") == (1, 1)
    assert row_groups(connection, "SELECT * FROM with_filters WHERE k = 10002", "bloom_filter") == (1, 1)
    assert connection.execute("SELECT name FROM with_filters WHERE k = 10002").fetchall() == [("n10002",)]
