"""psycopg 3: parameters and results in both formats, preparing, pipelines, COPY, errors, transactions, cancelling."""

import datetime as dt
import decimal
import threading
import time

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.types.json import Json, Jsonb

from values import ARRAYS, DOCUMENT, EXPRESSIONS, SCALARS, identifier, same

LONG_QUERY = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c"


@pytest.mark.parametrize("result_is_binary", [False, True], ids=["text out", "binary out"])
@pytest.mark.parametrize("placeholder", ["%t", "%b"], ids=["text in", "binary in"])
@pytest.mark.parametrize("case", SCALARS + EXPRESSIONS + ARRAYS, ids=identifier)
def test_a_parameter_comes_back(connection, case, placeholder, result_is_binary):
    ty, value = case
    cursor = connection.cursor(binary=result_is_binary)
    cursor.execute(f"SELECT {placeholder}::{ty}, {placeholder}::{ty} IS NULL", (value, value))
    answer, is_null = cursor.fetchone()
    assert same(answer, value)
    assert is_null is False


@pytest.mark.parametrize("result_is_binary", [False, True], ids=["text out", "binary out"])
def test_nan_comes_back(connection, result_is_binary):
    cursor = connection.cursor(binary=result_is_binary)
    (answer,) = cursor.execute("SELECT %b::double precision", (float("nan"),)).fetchone()
    assert answer != answer


@pytest.mark.parametrize("placeholder", ["%t", "%b"], ids=["text in", "binary in"])
@pytest.mark.parametrize("case", SCALARS + EXPRESSIONS + ARRAYS, ids=identifier)
def test_a_null_parameter_of_every_type(connection, case, placeholder):
    ty, _ = case
    assert connection.execute(f"SELECT {placeholder}::{ty}", (None,)).fetchone() == (None,)


@pytest.mark.parametrize("result_is_binary", [False, True], ids=["text out", "binary out"])
@pytest.mark.parametrize("wrapper, ty", [(Json, "json"), (Jsonb, "jsonb")])
def test_documents(connection, wrapper, ty, result_is_binary):
    cursor = connection.cursor(binary=result_is_binary)
    for placeholder in ("%t", "%b"):
        cursor.execute(f"SELECT {placeholder}::{ty}", (wrapper(DOCUMENT),))
        assert cursor.fetchone() == (DOCUMENT,)
    (answer,) = cursor.execute(f"SELECT %s::{ty} -> 'nested' ->> 'n'", (wrapper(DOCUMENT),)).fetchone()
    assert answer == "1.5"


@pytest.mark.parametrize("result_is_binary", [False, True], ids=["text out", "binary out"])
def test_a_table_with_a_column_of_every_type(connection, result_is_binary):
    cases = SCALARS + ARRAYS
    columns = ", ".join(f"c{index} {ty}" for index, (ty, _) in enumerate(cases))
    connection.execute(f"CREATE TABLE t (id integer NOT NULL, {columns})")
    connection.execute("INSERT INTO t VALUES (1" + ", %s" * len(cases) + ")", [value for _, value in cases])
    connection.execute("INSERT INTO t VALUES (%s" + ", NULL" * len(cases) + ")", (2,))
    cursor = connection.cursor(binary=result_is_binary)
    first, second = cursor.execute("SELECT * FROM t ORDER BY id").fetchall()
    for (ty, value), answer in zip(cases, first[1:], strict=True):
        assert same(answer, value), ty
    assert second == (2,) + (None,) * len(cases)


def test_a_statement_prepared_by_its_use(connection):
    connection.execute("CREATE TABLE t (id integer, name text)")
    connection.prepare_threshold = 3
    for number in range(12):
        connection.execute("INSERT INTO t VALUES (%s, %s)", (number, f"row {number}"))
    for number in range(12):
        cursor = connection.execute("SELECT name FROM t WHERE id = %s", (number,))
        assert cursor.fetchall() == [(f"row {number}",)]


def test_a_prepared_statement_sees_new_rows_and_a_new_table(connection):
    connection.execute("CREATE TABLE t (id integer)")
    for number in range(8):
        assert connection.execute("SELECT count(*) FROM t", prepare=True).fetchone() == (number,)
        connection.execute("INSERT INTO t VALUES (%s)", (number,), prepare=True)
    connection.execute("DROP TABLE t")
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT count(*) FROM t", prepare=True)
    connection.execute("CREATE TABLE t (id integer)")
    assert connection.execute("SELECT count(*) FROM t", prepare=True).fetchone() == (0,)


def test_sql_level_prepare(connection):
    connection.execute("PREPARE plus (integer, integer) AS SELECT $1 + $2")
    assert connection.execute("EXECUTE plus (40, 2)").fetchone() == (42,)
    connection.execute("DEALLOCATE plus")
    with pytest.raises(psycopg.errors.InvalidSqlStatementName):
        connection.execute("EXECUTE plus (40, 2)")


def test_the_description_of_columns(connection):
    connection.execute("CREATE TABLE t (a integer, b numeric(12,3), c varchar(20), d timestamptz, e text[])")
    description = connection.execute("SELECT a, b, c, d, e, a + 1 AS next, 'x' FROM t").description
    assert [column.name for column in description] == ["a", "b", "c", "d", "e", "next", "?column?"]
    assert [column.type_code for column in description] == [23, 1700, 1043, 1184, 1009, 23, 25]
    assert (description[1].precision, description[1].scale) == (12, 3)
    assert description[2].display_size == 20
    assert description[0].internal_size == 4


def test_several_statements_in_one_message(connection):
    cursor = connection.execute("SELECT 1 AS a; SELECT 'x' AS b, 2 AS c; SELECT 1 WHERE false")
    assert cursor.fetchall() == [(1,)]
    assert cursor.nextset() and cursor.fetchall() == [("x", 2)]
    assert cursor.nextset() and cursor.fetchall() == []
    assert not cursor.nextset()


def test_an_empty_statement(connection):
    cursor = connection.execute("")
    assert cursor.description is None
    cursor = connection.execute(" -- nothing\n ; ")
    assert cursor.description is None


def test_command_tags_and_counts(connection):
    def tag(sql):
        cursor = connection.execute(sql)
        return cursor.statusmessage, cursor.rowcount

    assert tag("CREATE TABLE t (id integer)") == ("CREATE TABLE", -1)
    assert tag("INSERT INTO t VALUES (1), (2), (3)") == ("INSERT 0 3", 3)
    assert tag("INSERT INTO t SELECT id + 3 FROM t WHERE id > 1") == ("INSERT 0 2", 2)
    assert tag("SELECT * FROM t") == ("SELECT 5", 5)
    assert tag("CREATE TABLE u AS SELECT * FROM t") == ("SELECT 5", 5)
    assert tag("CREATE VIEW v AS SELECT * FROM t") == ("CREATE VIEW", -1)
    assert tag("TRUNCATE t")[0] == "TRUNCATE TABLE"
    assert tag("SET extra_float_digits TO 1")[0] == "SET"
    assert tag("SHOW extra_float_digits")[0] == "SHOW"
    assert tag("BEGIN")[0] == "BEGIN"
    assert tag("ROLLBACK")[0] == "ROLLBACK"
    assert tag("DROP VIEW v")[0] == "DROP VIEW"
    assert tag("DROP TABLE t, u")[0] == "DROP TABLE"


def test_streaming_rows_one_by_one(connection):
    numbers = []
    cursor = connection.cursor()
    for (number,) in cursor.stream("SELECT g FROM generate_series(1, %s) AS g(g)", (20_000,)):
        numbers.append(number)
    assert numbers == list(range(1, 20_001))


def test_settings_are_reported(connection):
    parameter = connection.info.parameter_status
    assert parameter("server_encoding") == "UTF8"
    assert parameter("client_encoding") == "UTF8"
    assert parameter("integer_datetimes") == "on"
    assert parameter("standard_conforming_strings") == "on"
    assert int(connection.info.server_version) >= 150000
    connection.execute("SET TimeZone TO 'Europe/Berlin'")
    assert parameter("TimeZone") == "Europe/Berlin"
    assert connection.execute("SHOW TimeZone").fetchone() == ("Europe/Berlin",)
    (moment,) = connection.execute("SELECT '2024-07-01 12:00:00+00'::timestamptz::text").fetchone()
    assert moment == "2024-07-01 14:00:00+02"
    connection.execute("SET application_name TO 'clients'")
    assert parameter("application_name") == "clients"


ERRORS = [
    ("SELEC 1", "42601", 'syntax error at or near "SELEC"'),
    ("SELECT * FROM nope", "42P01", 'relation "nope" does not exist'),
    ("SELECT nope FROM t", "42703", 'column "nope" does not exist'),
    ("SELECT nope(1)", "42883", "function nope(integer) does not exist"),
    ("SELECT 1 / 0", "22012", "division by zero"),
    ("SELECT 2147483647 + 1", "22003", "integer out of range"),
    ("SELECT 9223372036854775807 + 1", "22003", "bigint out of range"),
    ("SELECT 'x'::integer", "22P02", 'invalid input syntax for type integer: "x"'),
    ("SELECT '2024-02-30'::date", "22008", 'date/time field value out of range: "2024-02-30"'),
    ("SELECT (SELECT id FROM t)", "21000", "more than one row returned by a subquery used as an expression"),
    ("SELECT id, count(*) FROM t", "42803", None),
    ("INSERT INTO t VALUES (NULL, 'x')", "23502", None),
    ("INSERT INTO t VALUES (1, 'too long for four')", "22001", "value too long for type character varying(4)"),
    ("INSERT INTO t (nope) VALUES (1)", "42703", 'column "nope" of relation "t" does not exist'),
    ("INSERT INTO t VALUES (1, 'x', 3)", "42601", "INSERT has more expressions than target columns"),
    ("CREATE TABLE t (id integer)", "42P07", 'relation "t" already exists'),
    ("CREATE TABLE s (a integer, a text)", "42701", 'column "a" specified more than once'),
    ("DROP TABLE nope", "42P01", 'table "nope" does not exist'),
    ("CREATE TABLE nowhere.t (id integer)", "3F000", 'schema "nowhere" does not exist'),
    ("SET nonsense TO 1", "42704", 'unrecognized configuration parameter "nonsense"'),
    ("EXECUTE nope", "26000", 'prepared statement "nope" does not exist'),
]


@pytest.mark.parametrize("sql, code, message", ERRORS, ids=[sql for sql, _, _ in ERRORS])
def test_errors_have_their_code(connection, sql, code, message):
    connection.execute("CREATE TABLE t (id integer NOT NULL, name varchar(4))")
    connection.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(sql).fetchall()
    assert caught.value.sqlstate == code
    if message is not None:
        assert caught.value.diag.message_primary == message
    assert caught.value.diag.severity_nonlocalized == "ERROR"
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_an_error_says_where(connection):
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        connection.execute("SELECT 'ü', nope FROM (SELECT 1 AS one) AS t")
    assert caught.value.diag.statement_position == "13"
    with pytest.raises(psycopg.errors.SyntaxError) as caught:
        connection.execute("SELECT 1 FROM WHERE 2")
    assert caught.value.diag.statement_position == "15"


def test_notices_arrive(server, schema):
    with server.connect() as connection:
        notices = []
        connection.add_notice_handler(lambda diag: notices.append((diag.severity, diag.sqlstate, diag.message_primary)))
        connection.execute(f"DROP TABLE IF EXISTS {schema}.nope")
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        connection.execute("COMMIT")
        assert notices == [
            ("NOTICE", "00000", 'table "nope" does not exist, skipping'),
            ("NOTICE", "42P06", f'schema "{schema}" already exists, skipping'),
            ("WARNING", "25P01", "there is no transaction in progress"),
        ]


def test_an_index_says_what_it_is_not(connection, schema, wharf_only):
    connection.execute("CREATE TABLE t (id integer)")
    notices = []
    connection.add_notice_handler(lambda diag: notices.append(diag.message_primary))
    connection.execute("CREATE INDEX ON t (id)")
    connection.execute("CREATE UNIQUE INDEX t_id ON t (id)")
    assert notices == [
        "Wharf has no indexes; the statement changed nothing",
        "Wharf has no indexes; the statement changed nothing, and uniqueness is not enforced",
    ]


def test_a_transaction_is_kept_or_not(server, connection, schema):
    connection.execute("CREATE TABLE t (id integer)")
    connection.execute("BEGIN")
    assert connection.info.transaction_status == TransactionStatus.INTRANS
    connection.execute("INSERT INTO t VALUES (1), (2)")
    connection.execute("INSERT INTO t VALUES (3)")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (3,)
    with server.connect() as other:
        assert other.execute(f"SELECT count(*) FROM {schema}.t").fetchone() == (0,)
    connection.execute("ROLLBACK")
    assert connection.info.transaction_status == TransactionStatus.IDLE
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    with connection.transaction():
        connection.execute("INSERT INTO t VALUES (%s)", (4,))
        connection.execute("INSERT INTO t VALUES (%s)", (5,))
    with server.connect() as other:
        assert other.execute(f"SELECT id FROM {schema}.t ORDER BY id").fetchall() == [(4,), (5,)]


def test_an_error_fails_the_whole_transaction(connection):
    connection.execute("CREATE TABLE t (id integer)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    assert connection.info.transaction_status == TransactionStatus.INERROR
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    assert connection.execute("COMMIT").statusmessage == "ROLLBACK"
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_transaction_psycopg_opens_by_itself(server, schema):
    with server.connect() as setup:
        setup.execute(f"CREATE TABLE {schema}.t (id integer)")
    with server.connect(autocommit=False) as connection:
        connection.execute(f"INSERT INTO {schema}.t VALUES (1)")
        connection.rollback()
        connection.execute(f"INSERT INTO {schema}.t VALUES (2)")
        connection.commit()
        assert connection.execute(f"SELECT id FROM {schema}.t").fetchall() == [(2,)]


def test_executemany(connection):
    connection.execute("CREATE TABLE t (id integer, name text)")
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(number, f"n{number}") for number in range(50)])
    assert cursor.rowcount == 50
    assert connection.execute("SELECT count(*), sum(id), min(name) FROM t").fetchone() == (50, 1225, "n0")


def test_a_pipeline(connection):
    connection.execute("CREATE TABLE t (id integer)")
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::integer * 2", (number,)) for number in range(100)]
        assert [cursor.fetchone() for cursor in cursors] == [(number * 2,) for number in range(100)]


def test_a_pipeline_skips_to_the_next_sync_after_an_error(connection):
    connection.execute("CREATE TABLE t (id integer)")
    with connection.pipeline() as pipeline:
        first = connection.execute("SELECT 1")
        pipeline.sync()
        second = connection.execute("INSERT INTO t VALUES (1)")
        failing = connection.execute("SELECT 1 / 0")
        skipped = connection.execute("INSERT INTO t VALUES (2)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            pipeline.sync()
        after = connection.execute("SELECT 2")
        pipeline.sync()
        assert first.fetchone() == (1,)
        assert after.fetchone() == (2,)
        del second, failing, skipped
    # What stood before the error between the same two Syncs was one transaction with it.
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


COPY_ROWS = [
    (1, "plain", decimal.Decimal("1.50"), dt.date(2024, 2, 29), True),
    (2, "tab\t newline\n backslash \\ quote \" comma , \\N", decimal.Decimal("-0.25"), dt.date(1999, 12, 31), False),
    (3, "", None, None, None),
    (4, None, decimal.Decimal("99999999.99"), dt.date(1, 1, 1), True),
]


@pytest.fixture
def copied(connection):
    connection.execute("CREATE TABLE t (id integer, name text, price numeric(10,2), day date, yes boolean)")
    return connection


@pytest.mark.parametrize("form", ["TEXT", "BINARY"])
def test_copy_in_and_out(copied, form):
    cursor = copied.cursor()
    with cursor.copy(f"COPY t FROM STDIN (FORMAT {form})") as copy:
        copy.set_types(["int4", "text", "numeric", "date", "bool"])
        for row in COPY_ROWS:
            copy.write_row(row)
    assert cursor.statusmessage == "COPY 4"
    assert copied.execute("SELECT * FROM t ORDER BY id").fetchall() == COPY_ROWS
    with cursor.copy(f"COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT {form})") as copy:
        copy.set_types(["int4", "text", "numeric", "date", "bool"])
        assert list(copy.rows()) == COPY_ROWS


def test_copy_csv(copied):
    cursor = copied.cursor()
    with cursor.copy("COPY t (id, name, yes) FROM STDIN (FORMAT csv, HEADER, DELIMITER ';', NULL 'nil')") as copy:
        copy.write(b"id;name;yes\n1;\"a;\"\"b\"\"\nc\";t\n")
        copy.write(b"2;nil;nil\n3;\"nil\";fa")
        copy.write(b"lse\n")
    assert copied.execute("SELECT id, name, yes FROM t ORDER BY id").fetchall() == [
        (1, 'a;"b"\nc', True),
        (2, None, None),
        (3, "nil", False),
    ]
    with cursor.copy("COPY (SELECT id, name, yes FROM t ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE (id))") as copy:
        text = b"".join(bytes(chunk) for chunk in copy)
    assert text == b'id,name,yes\n"1","a;""b""\nc",t\n"2",,\n"3",nil,f\n'


def test_copy_that_fails_leaves_nothing(copied):
    cursor = copied.cursor()
    with pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught:
        with cursor.copy("COPY t (id) FROM STDIN") as copy:
            copy.write(b"1\n2\nx\n4\n")
    assert caught.value.diag.message_primary == 'invalid input syntax for type integer: "x"'
    assert caught.value.diag.context == 'COPY t, line 3, column id: "x"'
    with pytest.raises(psycopg.errors.BadCopyFileFormat):
        with cursor.copy("COPY t (id, name) FROM STDIN") as copy:
            copy.write(b"1\n")
    with pytest.raises(ZeroDivisionError):
        with cursor.copy("COPY t (id) FROM STDIN") as copy:
            copy.write(b"1\n")
            raise ZeroDivisionError
    assert copied.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_copy_of_many_rows(copied):
    cursor = copied.cursor()
    with cursor.copy("COPY t (id, name) FROM STDIN") as copy:
        for number in range(100_000):
            copy.write_row((number, f"name {number}"))
    assert copied.execute("SELECT count(*), sum(id), max(name) FROM t").fetchone() == (100_000, 4999950000, "name 99999")
    with cursor.copy("COPY t (id) TO STDOUT") as copy:
        numbers = sorted(int(row[0]) for row in copy.rows())
    assert numbers == list(range(100_000))


def test_cancelling_stops_the_query_within_a_second(connection):
    cancelled_at = []

    def cancel():
        cancelled_at.append(time.monotonic())
        connection.cancel_safe(timeout=5)

    timer = threading.Timer(0.5, cancel)
    timer.start()
    with pytest.raises(psycopg.errors.QueryCanceled) as caught:
        connection.execute(LONG_QUERY).fetchall()
    stopped_at = time.monotonic()
    timer.join()
    assert caught.value.sqlstate == "57014"
    assert caught.value.diag.message_primary == "canceling statement due to user request"
    assert stopped_at - cancelled_at[0] < 1.0
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_cancelling_when_nothing_runs_does_nothing(connection):
    connection.cancel_safe(timeout=5)
    time.sleep(0.2)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_timeout(connection):
    connection.execute("SET statement_timeout TO '300ms'")
    with pytest.raises(psycopg.errors.QueryCanceled) as caught:
        connection.execute(LONG_QUERY)
    assert caught.value.diag.message_primary == "canceling statement due to statement timeout"
    connection.execute("RESET statement_timeout")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_unknown_database_is_refused(server):
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        psycopg.connect(server.dsn, dbname="nowhere")


def test_an_unknown_role_is_refused(server):
    with pytest.raises(psycopg.OperationalError, match='role "nobody_here" does not exist'):
        psycopg.connect(server.dsn, user="nobody_here")


def test_a_named_cursor(connection):
    with connection.transaction(), connection.cursor(name="Rows of t") as cursor:
        cursor.execute("SELECT g, 'n' || g AS name FROM generate_series(1, 2500) AS s(g) ORDER BY g")
        assert [column.name for column in cursor.description] == ["g", "name"]
        assert cursor.fetchone() == (1, "n1")
        assert cursor.fetchmany(2) == [(2, "n2"), (3, "n3")]
        assert [row[0] for row in cursor] == list(range(4, 2501))
    with connection.transaction(), pytest.raises(psycopg.errors.InvalidCursorName):
        connection.execute("FETCH ALL FROM \"Rows of t\"")
