"""Sixteen SQL connections and pyiceberg append to and delete from one table: no row is lost, none comes back, and nobody
gets another error than 40001 or 409. WHARF_TEST_SECONDS says for how long."""

import multiprocessing
import os
import random
import threading
import time

import psycopg
import pytest

CONNECTIONS = 16
SECONDS = float(os.environ.get("WHARF_TEST_SECONDS", "6"))

pytestmark = [pytest.mark.usefixtures("wharf_only"), pytest.mark.timeout(SECONDS * 2 + 60)]


class Writer:
    """Ids that nobody else uses, and which of them ought to be in the table."""

    def __init__(self, number):
        self.number = number
        self.next = number * 1_000_000
        self.alive = set()
        self.appends = 0
        self.deletes = 0
        self.conflicts = 0
        self.random = random.Random(number)

    def fresh(self, count):
        self.next += count
        return list(range(self.next - count, self.next))

    def step(self, append, delete, is_conflict):
        victim = self.random.choice(sorted(self.alive)) if self.alive and self.random.random() < 0.4 else None
        ids = self.fresh(self.random.randint(1, 3)) if victim is None else []
        while True:
            try:
                if victim is None:
                    append(ids)
                    self.alive.update(ids)
                    self.appends += 1
                else:
                    delete(victim)
                    self.alive.discard(victim)
                    self.deletes += 1
                return
            except Exception as error:
                if not is_conflict(error):
                    raise
                self.conflicts += 1
                time.sleep(self.random.random() * 0.05)

    def counts(self):
        return self.appends, self.deletes, self.conflicts


def write_sql(writer, dsn, until, failures):
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:

            def append(ids):
                values = ", ".join(f"({id}, {writer.number})" for id in ids)
                connection.execute(f"INSERT INTO t VALUES {values}")

            def delete(victim):
                deleted = connection.execute("DELETE FROM t WHERE id = %s", (victim,)).rowcount
                assert deleted == 1, f"{deleted} rows of id {victim} were there"

            while time.monotonic() < until:
                writer.step(append, delete, lambda error: isinstance(error, psycopg.errors.SerializationFailure))
    except Exception as error:
        failures.append(error)


def write_iceberg(uri, database, name, seconds, results):
    import pyarrow as pa
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import CommitFailedException, ValidationException

    try:
        catalog = load_catalog("wharf", type="rest", uri=uri, warehouse=database)
        writer = Writer(CONNECTIONS)

        def append(ids):
            rows = pa.table({"id": pa.array(ids, pa.int64()), "writer": pa.array([CONNECTIONS] * len(ids), pa.int32())})
            catalog.load_table(name).append(rows)

        def delete(victim):
            catalog.load_table(name).delete(f"id == {victim}")

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            writer.step(append, delete, lambda error: isinstance(error, (CommitFailedException, ValidationException)))
        results.put((sorted(writer.alive), writer.counts(), None))
    except Exception as error:
        results.put(([], (0, 0, 0), repr(error)))


def test_no_update_is_lost(catalog, server, connection, schema):
    connection.execute("CREATE TABLE t (id bigint, writer integer)")
    results = multiprocessing.get_context("spawn").Queue()
    arguments = (os.environ["WHARF_TEST_ICEBERG"], server.database, f"{schema}.t", SECONDS, results)
    other = multiprocessing.get_context("spawn").Process(target=write_iceberg, args=arguments)
    other.start()
    writers = [Writer(number) for number in range(CONNECTIONS)]
    dsn = f"{server.dsn} options='-c search_path={schema}'"
    failures = []
    until = time.monotonic() + SECONDS
    threads = [threading.Thread(target=write_sql, args=(writer, dsn, until, failures)) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alive, others, error = results.get(timeout=60)
    other.join()
    sql = tuple(map(sum, zip(*(writer.counts() for writer in writers))))
    for who, (appends, deletes, conflicts) in (("SQL", sql), ("pyiceberg", others)):
        print(f"{who}: {appends} appends, {deletes} deletes, {conflicts} conflicts")
    assert not failures and error is None, (failures, error)
    assert others[0] > 0, "pyiceberg never came through"
    expected = sorted(set(alive).union(*(writer.alive for writer in writers)))
    assert connection.execute("SELECT id FROM t ORDER BY id").fetchall() == [(id,) for id in expected]
    seen = catalog.load_table(f"{schema}.t").scan(selected_fields=("id",)).to_arrow()["id"].to_pylist()
    assert sorted(seen) == expected
    print(f"{len(expected)} rows are left")
