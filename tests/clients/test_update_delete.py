"""UPDATE and DELETE: parameters, rows that several clients change at the same time, and what other engines read afterwards."""

import threading

import psycopg
import pytest

CLIENTS = 4
ROUNDS = 12


def in_threads(work):
    """Runs `work(number)` for each client at the same time; the first error is raised."""
    errors = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001: it is raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def session(server, schema):
    connection = server.connect()
    connection.execute(f"SET search_path TO {schema}")
    return connection


def test_parameters_and_counts(connection):
    connection.execute("CREATE TABLE t (id integer, name text, day date)")
    connection.execute("INSERT INTO t SELECT g, 'n' || g, NULL FROM generate_series(1, 10) AS g")
    cursor = connection.execute("UPDATE t SET name = %s, day = %s WHERE id > %s", ("x", "2024-02-29", 7))
    assert (cursor.rowcount, cursor.statusmessage) == (3, "UPDATE 3")
    cursor = connection.execute("DELETE FROM t WHERE id = ANY(%s)", ([1, 2, 11],))
    assert (cursor.rowcount, cursor.statusmessage) == (2, "DELETE 2")
    cursor = connection.execute("UPDATE t SET day = %s", (None,))
    assert cursor.rowcount == 8
    rows = connection.execute("SELECT count(*), count(day), count(*) FILTER (WHERE name = 'x') FROM t").fetchone()
    assert rows == (8, 0, 3)


def test_no_update_of_one_row_is_lost(server, schema, connection):
    connection.execute("CREATE TABLE counters (id integer, n integer)")
    connection.execute("INSERT INTO counters VALUES (1, 0), (2, 0)")

    def count(_):
        with session(server, schema) as client:
            for _ in range(ROUNDS):
                assert client.execute("UPDATE counters SET n = n + 1 WHERE id = 1").rowcount == 1

    in_threads(count)
    assert connection.execute("SELECT n FROM counters ORDER BY id").fetchall() == [(CLIENTS * ROUNDS,), (0,)]


def test_everybody_changes_rows_of_their_own(server, schema, connection):
    connection.execute("CREATE TABLE t (id integer, n integer)")

    def change(number):
        with session(server, schema) as client:
            for step in range(ROUNDS):
                key = number * 1000 + step
                client.execute("INSERT INTO t VALUES (%s, 0)", (key,))
                assert client.execute("UPDATE t SET n = n + 1 WHERE id = %s", (key,)).rowcount == 1
                if step % 2 == 0:
                    assert client.execute("DELETE FROM t WHERE id = %s AND n = 1", (key,)).rowcount == 1

    in_threads(change)
    rows = connection.execute("SELECT id, n FROM t ORDER BY id").fetchall()
    assert rows == [(number * 1000 + step, 1) for number in range(CLIENTS) for step in range(ROUNDS) if step % 2]


@pytest.mark.usefixtures("wharf_only")
def test_a_block_that_lost_the_race_fails_whole(server, schema, connection):
    connection.execute("CREATE TABLE t (id integer, n integer)")
    connection.execute("INSERT INTO t VALUES (1, 0)")
    with session(server, schema) as slow:
        slow.execute("BEGIN")
        slow.execute("UPDATE t SET n = 10")
        slow.execute("INSERT INTO t VALUES (2, 0)")
        connection.execute("UPDATE t SET n = 20")
        with pytest.raises(psycopg.errors.SerializationFailure):
            slow.execute("COMMIT")
    assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == [(1, 20)]


@pytest.mark.usefixtures("wharf_only")
def test_a_block_keeps_what_others_appended(server, schema, connection):
    connection.execute("CREATE TABLE t (id integer, n integer)")
    connection.execute("INSERT INTO t VALUES (1, 0)")
    with session(server, schema) as slow:
        slow.execute("BEGIN")
        slow.execute("UPDATE t SET n = 10")
        connection.execute("INSERT INTO t VALUES (2, 0)")
        slow.execute("COMMIT")
    assert connection.execute("SELECT * FROM t ORDER BY id").fetchall() == [(1, 10), (2, 0)]
