"""asyncpg: binary formats only, prepared statements, cursors over portals, binary COPY, pools."""

import asyncio
import datetime as dt
import decimal
import functools
import io
import json
import time

import asyncpg
import pytest

from values import ARRAYS, DOCUMENT, EXPRESSIONS, SCALARS, identifier, same

LONG_QUERY = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"


def connected(test):
    """Runs a coroutine `test(connection, schema)` on a connection of its own."""

    @functools.wraps(test)
    def run(server, schema, **arguments):
        async def body():
            connection = await asyncpg.connect(
                host=server.host, port=server.port, user=server.user, database=server.database, timeout=10
            )
            try:
                await connection.execute(f"SET search_path TO {schema}")
                await connection.execute("SET TimeZone TO 'UTC'")
                await test(connection, schema, **arguments)
            finally:
                await connection.close(timeout=10)

        asyncio.run(body())

    # pytest reads fixture names from the signature.
    import inspect

    own = [p for p in inspect.signature(test).parameters.values() if p.name not in ("connection", "schema")]
    fixtures = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in ("server", "schema")]
    run.__signature__ = inspect.Signature(fixtures + own)
    del run.__wrapped__
    return run


@pytest.mark.parametrize("case", SCALARS + EXPRESSIONS + ARRAYS, ids=identifier)
@connected
async def test_a_parameter_comes_back(connection, schema, case):
    ty, value = case
    assert same(await connection.fetchval(f"SELECT $1::{ty}", value), value)
    assert await connection.fetchval(f"SELECT $1::{ty}", None) is None


@connected
async def test_documents(connection, schema):
    for ty in ("json", "jsonb"):
        answer = await connection.fetchval(f"SELECT $1::{ty}", json.dumps(DOCUMENT))
        assert json.loads(answer) == DOCUMENT


@connected
async def test_a_prepared_statement_knows_its_types(connection, schema):
    await connection.execute("CREATE TABLE t (id integer, price numeric(10,2), name varchar(9), day date)")
    statement = await connection.prepare("INSERT INTO t VALUES ($1, $2, $3, $4)")
    assert [ty.name for ty in statement.get_parameters()] == ["int4", "numeric", "varchar", "date"]
    assert statement.get_attributes() == ()
    for number in range(10):
        await statement.fetch(number, decimal.Decimal(number) / 4, f"n{number}", dt.date(2024, 1, 1 + number))
    statement = await connection.prepare("SELECT name, price * 2 AS double FROM t WHERE id = $1 AND day < $2 LIMIT $3")
    assert [ty.name for ty in statement.get_parameters()] == ["int4", "date", "int8"]
    assert [(a.name, a.type.name) for a in statement.get_attributes()] == [("name", "varchar"), ("double", "numeric")]
    for number in range(10):
        rows = await statement.fetch(number, dt.date(2025, 1, 1), 5)
        assert [tuple(row) for row in rows] == [(f"n{number}", decimal.Decimal(number) / 2)]


@connected
async def test_any_of_an_array(connection, schema):
    rows = await connection.fetch("SELECT g FROM generate_series(1, 10) AS g(g) WHERE g = ANY($1::integer[]) ORDER BY g", [3, 5, 99])
    assert [row["g"] for row in rows] == [3, 5]


@connected
async def test_many_rows(connection, schema):
    rows = await connection.fetch("SELECT g AS id, g::text AS name, g * 1.5::double precision AS x FROM generate_series(1, 50000) AS g(g)")
    assert len(rows) == 50_000
    assert all(tuple(row) == (n, str(n), n * 1.5) for n, row in enumerate(rows, 1))


@connected
async def test_a_cursor_reads_a_portal_piece_by_piece(connection, schema):
    async with connection.transaction():
        seen = []
        async for row in connection.cursor("SELECT g FROM generate_series(1, 1000) AS g(g)", prefetch=64):
            seen.append(row["g"])
        assert seen == list(range(1, 1001))
        cursor = await connection.cursor("SELECT g FROM generate_series(1, 10) AS g(g)")
        other = await connection.cursor("SELECT 'x' || g FROM generate_series(1, 3) AS g(g)")
        assert [row[0] for row in await cursor.fetch(4)] == [1, 2, 3, 4]
        assert [row[0] for row in await other.fetch(2)] == ["x1", "x2"]
        assert [row[0] for row in await cursor.fetch(100)] == [5, 6, 7, 8, 9, 10]
        assert await cursor.fetch(1) == []
        assert [row[0] for row in await other.fetch(5)] == ["x3"]


@connected
async def test_executemany_is_all_or_nothing(connection, schema):
    await connection.execute("CREATE TABLE t (id integer, price numeric(6,2))")
    await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(n, decimal.Decimal(n)) for n in range(100)])
    assert await connection.fetchval("SELECT count(*) FROM t") == 100
    with pytest.raises(asyncpg.NumericValueOutOfRangeError):
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(1, decimal.Decimal(1)), (2, decimal.Decimal(10**6))])
    assert await connection.fetchval("SELECT count(*) FROM t") == 100


@connected
async def test_binary_copy_of_every_type(connection, schema):
    cases = SCALARS + ARRAYS
    columns = ", ".join(f"c{index} {ty}" for index, (ty, _) in enumerate(cases))
    await connection.execute(f"CREATE TABLE t (id integer, {columns})")
    full = (1, *(value for _, value in cases))
    empty = (2, *(None for _ in cases))
    assert await connection.copy_records_to_table("t", records=[full, empty], schema_name=schema) == "COPY 2"
    first, second = await connection.fetch("SELECT * FROM t ORDER BY id")
    for (ty, value), answer in zip(cases, tuple(first)[1:], strict=True):
        assert same(answer, value), ty
    assert tuple(second) == empty
    out = io.BytesIO()
    assert await connection.copy_from_table("t", schema_name=schema, output=out, format="binary") == "COPY 2"
    assert out.getvalue()[:11] == b"PGCOPY\n\xff\r\n\0"
    await connection.execute("TRUNCATE t")
    out.seek(0)
    assert await connection.copy_to_table("t", schema_name=schema, source=out, format="binary") == "COPY 2"
    assert await connection.fetchval("SELECT count(*) FROM t") == 2


@connected
async def test_copy_of_many_records(connection, schema):
    await connection.execute("CREATE TABLE t (id bigint, name text, at timestamptz)")
    start = dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)
    records = [(n, f"name {n}", start + dt.timedelta(seconds=n)) for n in range(50_000)]
    await connection.copy_records_to_table("t", records=records, schema_name=schema)
    row = await connection.fetchrow("SELECT count(*), sum(id), max(at) FROM t")
    assert tuple(row) == (50_000, decimal.Decimal(1249975000), start + dt.timedelta(seconds=49_999))


@connected
async def test_copy_of_a_query_with_arguments(connection, schema):
    out = io.BytesIO()
    tag = await connection.copy_from_query("SELECT g, 'x' FROM generate_series(1, $1::integer) AS g(g)", 3, output=out, format="csv")
    assert tag == "COPY 3"
    assert out.getvalue() == b"1,x\n2,x\n3,x\n"


@connected
async def test_transactions(connection, schema):
    await connection.execute("CREATE TABLE t (id integer)")
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await connection.execute("INSERT INTO t VALUES (1)")
            raise ZeroDivisionError
    async with connection.transaction(isolation="repeatable_read", readonly=False):
        await connection.execute("INSERT INTO t VALUES (2)")
    assert await connection.fetch("SELECT id FROM t") == [(2,)]
    with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
        async with connection.transaction(readonly=True):
            await connection.execute("INSERT INTO t VALUES (3)")


@connected
async def test_errors_have_their_class(connection, schema):
    with pytest.raises(asyncpg.UndefinedTableError) as caught:
        await connection.fetch("SELECT * FROM nope WHERE id = $1", 1)
    assert caught.value.sqlstate == "42P01"
    assert caught.value.position == "15"
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetch("SELECT 1 / $1::integer", 0)
    with pytest.raises(asyncpg.IndeterminateDatatypeError):
        await connection.fetch("SELECT $1 IS NULL", None)
    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await connection.fetch("SELECT $1::text::uuid", "not a uuid")
    assert await connection.fetchval("SELECT 1") == 1


@connected
async def test_a_timeout_cancels(connection, schema):
    start = time.monotonic()
    with pytest.raises(asyncio.TimeoutError):
        await connection.fetch(LONG_QUERY, timeout=0.5)
    assert await connection.fetchval("SELECT 1") == 1
    # The query takes far longer; a busy machine may take a while to stop it.
    assert time.monotonic() - start < 5


@connected
async def test_notices_reach_the_listener(connection, schema):
    messages = []
    connection.add_log_listener(lambda _, message: messages.append((message.severity, message.message)))
    await connection.execute("DROP TABLE IF EXISTS nope")
    await asyncio.sleep(0)
    assert messages == [("NOTICE", 'table "nope" does not exist, skipping')]


def test_a_pool_gives_connections_back_clean(server):
    async def body():
        pool = await asyncpg.create_pool(
            host=server.host, port=server.port, user=server.user, database=server.database, min_size=1, max_size=4
        )
        async with pool:
            async with pool.acquire() as connection:
                await connection.execute("SET extra_float_digits TO 0")
            answers = await asyncio.gather(*(pool.fetchval("SELECT $1::integer * 2", n) for n in range(50)))
            assert answers == [n * 2 for n in range(50)]
            async with pool.acquire() as connection:
                assert await connection.fetchval("SHOW extra_float_digits") == "1"

    asyncio.run(body())
