"""RETURNING, INSERT .. ON CONFLICT and MERGE as drivers use them, and keys that several clients write at the same time."""

import asyncio
import decimal

import asyncpg
import psycopg
import pytest

from test_update_delete import CLIENTS, ROUNDS, in_threads, session


def test_rows_of_each_statement(connection):
    connection.execute("CREATE TABLE t (id integer PRIMARY KEY, name varchar(10), price numeric(8,2) DEFAULT 1.5)")
    cursor = connection.execute("INSERT INTO t (id, name) VALUES (%s, %s), (2, 'b') RETURNING id, price", (1, "a"))
    assert [column.name for column in cursor.description] == ["id", "price"]
    assert cursor.fetchall() == [(1, decimal.Decimal("1.50")), (2, decimal.Decimal("1.50"))]
    assert (cursor.rowcount, cursor.statusmessage) == (2, "INSERT 0 2")
    cursor = connection.execute("UPDATE t SET price = price + %s WHERE id = %s RETURNING t.*", (1, 2))
    assert cursor.fetchall() == [(2, "b", decimal.Decimal("2.50"))]
    assert cursor.statusmessage == "UPDATE 1"
    cursor = connection.execute("DELETE FROM t WHERE id = %s RETURNING name", (2,), binary=True)
    assert (cursor.fetchone(), cursor.statusmessage) == (("b",), "DELETE 1")
    assert connection.execute("DELETE FROM t WHERE id = 99 RETURNING id").fetchall() == []


def test_many_rows_at_once(connection):
    connection.execute("CREATE TABLE t (id integer, name text)")
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO t VALUES (%s, %s) RETURNING id, upper(name)",
            [(number, f"n{number}") for number in range(20)],
            returning=True,
        )
        found = []
        while True:
            found.extend(cursor.fetchall())
            if not cursor.nextset():
                break
    assert found == [(number, f"N{number}") for number in range(20)]
    cursor = connection.execute("UPDATE t SET name = repeat(name, 100) FROM generate_series(1, 1) RETURNING id, name")
    assert sorted(cursor.fetchall()) == [(number, f"n{number}" * 100) for number in range(20)]


def test_more_rows_than_are_kept_in_memory(connection):
    connection.execute("CREATE TABLE t (id integer, name text)")
    sql = "INSERT INTO t SELECT g, repeat(md5(g::text), 10) FROM generate_series(1, 100000) AS g RETURNING id, name"
    with connection.cursor() as cursor:
        rows = cursor.stream(sql)
        assert sum(identity for identity, name in rows if len(name) == 320) == 100_000 * 100_001 // 2
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (100_000,)


def test_an_error_in_returning_takes_the_statement_back(connection):
    connection.execute("CREATE TABLE t (id integer)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("INSERT INTO t VALUES (1), (0) RETURNING 1 / id")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_asyncpg_reads_rows_of_a_prepared_statement(server, schema):
    async def body():
        connection = await asyncpg.connect(
            host=server.host, port=server.port, user=server.user, database=server.database, timeout=10
        )
        try:
            await connection.execute(f"SET search_path TO {schema}")
            await connection.execute("CREATE TABLE t (id integer PRIMARY KEY, n bigint)")
            statement = await connection.prepare("INSERT INTO t VALUES ($1, $2) RETURNING n, id * 2 AS twice")
            assert [attribute.name for attribute in statement.get_attributes()] == ["n", "twice"]
            assert dict(await statement.fetchrow(4, 40)) == {"n": 40, "twice": 8}
            assert await connection.fetchval("UPDATE t SET n = n + $1 WHERE id = 4 RETURNING n", 2) == 42
            upsert = "INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = t.n + excluded.n RETURNING n"
            assert await connection.fetchval(upsert, 4, 8) == 50
            assert await connection.execute("DELETE FROM t WHERE id = 4") == "DELETE 1"
            merge = "MERGE INTO t USING (SELECT $1::integer AS k) AS q ON id = k WHEN NOT MATCHED THEN INSERT VALUES (k)"
            assert await connection.execute(merge, 7) == "MERGE 1"
        finally:
            await connection.close(timeout=10)

    asyncio.run(body())


def test_clients_that_count_under_one_key(server, schema, connection):
    connection.execute("CREATE TABLE counters (name text PRIMARY KEY, n integer)")
    sql = "INSERT INTO counters AS c VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET n = c.n + 1 RETURNING n"
    seen = []

    def count(_):
        with session(server, schema) as client:
            for step in range(ROUNDS):
                seen.append(client.execute(sql, (f"key {step % 3}",)).fetchone()[0])

    in_threads(count)
    rows = connection.execute("SELECT name, n FROM counters ORDER BY name").fetchall()
    assert rows == [(f"key {key}", CLIENTS * ROUNDS // 3) for key in range(3)]
    # Each value was given to one client.
    assert sorted(seen) == sorted(list(range(1, CLIENTS * ROUNDS // 3 + 1)) * 3)


def test_one_of_several_clients_inserts(server, schema, connection):
    connection.execute("CREATE TABLE t (id integer PRIMARY KEY, client integer)")
    inserted = []

    def insert(number):
        with session(server, schema) as client:
            for key in range(ROUNDS):
                cursor = client.execute("INSERT INTO t VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, number))
                inserted.append(cursor.rowcount)

    in_threads(insert)
    assert sum(inserted) == ROUNDS
    assert connection.execute("SELECT count(*), count(DISTINCT id) FROM t").fetchone() == (ROUNDS, ROUNDS)


@pytest.mark.usefixtures("wharf_only")
def test_a_block_whose_key_another_wrote_fails_at_its_end(server, schema, connection):
    connection.execute("CREATE TABLE t (id integer PRIMARY KEY, n integer)")
    with session(server, schema) as slow:
        slow.execute("BEGIN")
        slow.execute("INSERT INTO t VALUES (1, 1) ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO t VALUES (1, 2) ON CONFLICT DO NOTHING")
        with pytest.raises(psycopg.errors.SerializationFailure):
            slow.execute("COMMIT")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, 2)]
