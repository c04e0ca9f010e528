"""Tables that are made of files: CREATE TABLE .. FROM, CREATE EXTERNAL TABLE, and headers that name the columns."""

import gzip

import psycopg
import pyarrow
import pyarrow.parquet
import pytest

FOREIGN = "42809"


def columns(connection, table):
    return connection.execute(
        "SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum) "
        f"FROM pg_attribute a WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0"
    ).fetchone()[0]


def rows(connection, query):
    """The rows of a query, as text."""
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        return [bytes(row).decode().rstrip("\n") for row in copy]


def refused(connection, statement, state):
    with pytest.raises(psycopg.Error) as error:
        connection.execute(statement)
    assert error.value.sqlstate == state, error.value
    return error.value.diag


# ----- headers


@pytest.mark.parametrize(
    ("data", "state"), [("a,b\n1,x\n", None), ("b,a\nx,1\n", "22P04"), ("a\n1\n", "22P04"), ("a,B\n1,x\n", "22P04")]
)
def test_a_header_must_match(connection, data, state):
    """PostgreSQL 15's."""
    connection.execute("CREATE TABLE t (a int, b text)")

    def load():
        with connection.cursor().copy("COPY t FROM STDIN (FORMAT csv, HEADER MATCH)") as copy:
            copy.write(data)

    if state is None:
        load()
        assert connection.execute("SELECT a, b FROM t").fetchall() == [(1, "x")]
        return
    with pytest.raises(psycopg.Error) as error:
        load()
    assert error.value.sqlstate == state


def by_name(connection, data, option="MATCH_BY_COLUMN_NAME", table="t"):
    with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv, {option})") as copy:
        copy.write(data)


def test_a_header_names_the_columns(connection, wharf_only):
    connection.execute("CREATE TABLE t (id int NOT NULL, name text DEFAULT 'none', n numeric(5,1), at date DEFAULT '2024-01-01')")
    by_name(connection, "n,extra,ID\n1.5,x,1\n,y,2\n")
    by_name(connection, 'name,id\n"a,b",3\n,4\n', "MATCH_BY_COLUMN_NAME case_sensitive, FORCE_NOT_NULL (name)")
    assert rows(connection, "SELECT * FROM t ORDER BY id") == [
        "1\tnone\t1.5\t2024-01-01",
        "2\tnone\t\\N\t2024-01-01",
        "3\ta,b\t\\N\t2024-01-01",
        "4\t\t\\N\t2024-01-01",
    ]
    for data, option, state in [
        ("name\nx\n", "MATCH_BY_COLUMN_NAME", "23502"),
        ("x,y\n1,2\n", "MATCH_BY_COLUMN_NAME", "22P04"),
        ("ID\n1\n", "MATCH_BY_COLUMN_NAME case_sensitive", "22P04"),
        ("id,ID\n1,2\n", "MATCH_BY_COLUMN_NAME", "22P04"),
        ("id,name\n1\n", "MATCH_BY_COLUMN_NAME", "22P04"),
        ("id,name\n1,2,3\n", "MATCH_BY_COLUMN_NAME", "22P04"),
        ("id\n1\n", "MATCH_BY_COLUMN_NAME, HEADER false", "22023"),
        ("id\n1\n", "MATCH_BY_COLUMN_NAME sometimes", "22023"),
    ]:
        with pytest.raises(psycopg.Error) as error:
            by_name(connection, data, option)
        assert error.value.sqlstate == state, (data, option, error.value)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (4,)


def test_each_file_has_columns_of_its_own(connection, wharf_only, tmp_path):
    connection.execute("CREATE TABLE t (a int, b text DEFAULT 'b', c text DEFAULT 'c')")
    (tmp_path / "1.csv").write_text("a,b\n1,x\n")
    (tmp_path / "2.csv").write_text("c,a\ny,2\n")
    (tmp_path / "3.csv").write_text("a\n3\n")
    result = connection.execute(f"COPY t FROM '{tmp_path}/*.csv' (FORMAT csv, MATCH_BY_COLUMN_NAME)")
    assert result.statusmessage == "COPY 3"
    assert rows(connection, "SELECT * FROM t ORDER BY a") == ["1\tx\tc", "2\tb\ty", "3\tb\tc"]
    # Only of the columns that the statement names.
    connection.execute("TRUNCATE t")
    connection.execute(f"COPY t (a, b) FROM '{tmp_path}/*.csv' (FORMAT csv, MATCH_BY_COLUMN_NAME, FORCE true)")
    assert rows(connection, "SELECT * FROM t ORDER BY a") == ["1\tx\tc", "2\tb\tc", "3\tb\tc"]


# ----- CREATE TABLE .. FROM

CSV = """id,price,ratio,day,at,instant,ok,key,code,note
1,1.50,1e3,2024-02-29,2024-01-01 10:00:00,2024-01-01T10:00:00Z,true,6b1d5f3e-0000-4000-8000-000000000001,007,"a,b"
2,,NaN,2024-03-01,2024-01-01 10:00:00.5,2024-01-01 10:00:00+02,false,6b1d5f3e-0000-4000-8000-000000000002,010,
"""
TYPES = (
    "id bigint, price numeric, ratio double precision, day date, at timestamp without time zone, "
    "instant timestamp with time zone, ok boolean, key uuid, code text, note text"
)


def test_columns_come_from_csv(connection, wharf_only, tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write(CSV)
    result = connection.execute(f"CREATE TABLE t FROM '{tmp_path}/a.csv.gz'")
    assert result.statusmessage == "COPY 2"
    assert columns(connection, "t") == TYPES
    assert rows(connection, "SELECT id, price, ratio, day, at, instant, ok, code, note FROM t ORDER BY id") == [
        "1\t1.50\t1000\t2024-02-29\t2024-01-01 10:00:00\t2024-01-01 10:00:00+00\tt\t007\ta,b".replace("1.50", "1.5"),
        "2\t\\N\tNaN\t2024-03-01\t2024-01-01 10:00:00.5\t2024-01-01 08:00:00+00\tf\t010\t\\N",
    ]
    assert connection.execute(f"CREATE TABLE IF NOT EXISTS t FROM '{tmp_path}/a.csv.gz'").statusmessage == "CREATE TABLE"
    refused(connection, f"CREATE TABLE t FROM '{tmp_path}/a.csv.gz'", "42P07")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


def test_options_are_those_of_copy(connection, wharf_only, schema, tmp_path):
    (tmp_path / "a.data").write_text("1;x\n2;-\n")
    statement = f"CREATE TABLE {schema}.t FROM '{tmp_path}/a.data' WITH (FORMAT csv, HEADER false, DELIMITER ';', NULL '-')"
    connection.execute(f"{statement} WITH NO DATA")
    assert columns(connection, "t") == "column1 bigint, column2 text"
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    connection.execute("DROP TABLE t")
    connection.execute(statement)
    assert rows(connection, "SELECT * FROM t ORDER BY 1") == ["1\tx", "2\t\\N"]


def test_columns_come_from_json(connection, wharf_only, tmp_path):
    (tmp_path / "1.jsonl").write_text('{"id": 1, "tags": ["a"], "Name": "x"}\n{"id": 2.5, "day": "2024-01-01"}\n')
    (tmp_path / "2.jsonl").write_text('{"id": 3, "more": true}\n')
    assert connection.execute(f"CREATE TABLE t FROM '{tmp_path}/*.jsonl'").statusmessage == "COPY 3"
    assert columns(connection, "t") == "id numeric, tags jsonb, Name text, day date, more boolean"
    assert rows(connection, 'SELECT id, tags, "Name", day, more FROM t ORDER BY id') == [
        '1\t["a"]\tx\t\\N\t\\N',
        "2.5\t\\N\t\\N\t2024-01-01\t\\N",
        "3\t\\N\t\\N\t\\N\tt",
    ]


def test_columns_come_from_parquet(connection, wharf_only, tmp_path):
    connection.execute("CREATE TABLE s (a int, b numeric(10,2), c timestamptz, d text[], e date, f bytea)")
    connection.execute("INSERT INTO s SELECT g, g, '2024-01-01 10:00Z', ARRAY['x'], '2024-01-01', '\\x00' FROM generate_series(1, 1000) g(g)")
    connection.execute(f"COPY s TO '{tmp_path}/parts/'")
    result = connection.execute(f"CREATE TABLE t PARTITION BY (e) FROM '{tmp_path}/parts/*.parquet'")
    assert result.statusmessage == "COPY 1000"
    assert columns(connection, "t") == columns(connection, "s")
    assert connection.execute("SELECT count(*), sum(a), sum(b) FROM t").fetchone() == (1000, 500500, 500500)
    # The files are remembered as those of a COPY.
    assert connection.execute(f"COPY t FROM '{tmp_path}/parts/*.parquet'").statusmessage == "COPY 0"


def test_files_that_disagree_are_named(connection, wharf_only, tmp_path):
    for name, values in [("a", pyarrow.array([1])), ("b", pyarrow.array(["x"]))]:
        pyarrow.parquet.write_table(pyarrow.table({"n": values}), tmp_path / f"{name}.parquet")
    said = refused(connection, f"CREATE TABLE t FROM '{tmp_path}/*.parquet'", "22P04").message_primary
    assert all(word in said for word in ("bigint", "text", "a.parquet", "b.parquet")), said
    (tmp_path / "a.csv").write_text("n\n1\n")
    (tmp_path / "b.csv").write_text("n\n2024-01-01\n")
    said = refused(connection, f"CREATE TABLE t FROM '{tmp_path}/*.csv'", "42804").message_primary
    assert all(word in said for word in ("bigint", "date", "a.csv", "b.csv")), said
    (tmp_path / "b.csv").write_text("m\n2\n")
    said = refused(connection, f"CREATE TABLE t FROM '{tmp_path}/*.csv'", "22P04").message_primary
    assert "a.csv" in said and "b.csv" in said
    connection.execute(f"CREATE TABLE t FROM '{tmp_path}/*.csv' WITH (MATCH_BY_COLUMN_NAME)")
    assert rows(connection, "SELECT * FROM t ORDER BY 1") == ["1\t\\N", "\\N\t2"]


def test_what_fails_makes_no_table(connection, server, wharf_only, schema, tmp_path):
    refused(connection, f"CREATE TABLE t FROM '{tmp_path}/nothing.csv'", "58P01")
    refused(connection, f"CREATE TABLE t FROM '{tmp_path}/*.csv'", "58P01")
    # Past what is looked at.
    (tmp_path / "a.csv").write_text("n,pad\n" + f"1,{'x' * 100}\n" * 20_000 + "oops,x\n")
    said = refused(connection, f"CREATE TABLE t FROM '{tmp_path}/a.csv'", "22P02")
    assert "line 20002" in said.context
    (tmp_path / "b.csv").write_text("a,a\n1,2\n")
    refused(connection, f"CREATE TABLE t FROM '{tmp_path}/b.csv'", "42701")
    (tmp_path / "c.csv").write_text("")
    refused(connection, f"CREATE TABLE t FROM '{tmp_path}/c.csv'", "22P04")
    tables = f"SELECT count(*) FROM pg_class WHERE relname = 't' AND relnamespace = '{schema}'::regnamespace"
    assert connection.execute(tables).fetchone() == (0,)
    # Within a transaction it is undone with it.
    (tmp_path / "d.csv").write_text("a\n1\n")
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE t FROM '{tmp_path}/d.csv'")
    assert connection.execute("SELECT a FROM t").fetchall() == [(1,)]
    connection.execute("ROLLBACK")
    refused(connection, "SELECT * FROM t", "42P01")


# ----- CREATE EXTERNAL TABLE


def test_files_are_read_in_place(connection, wharf_only, schema, tmp_path):
    (tmp_path / "1.csv").write_text("id,name\n1,x\n2,\n")
    result = connection.execute(f"CREATE EXTERNAL TABLE t LOCATION '{tmp_path}/*.csv' FORMAT csv")
    assert result.statusmessage == "CREATE FOREIGN TABLE"
    assert columns(connection, "t") == "id bigint, name text"
    query = "SELECT id, name FROM t ORDER BY id"
    assert connection.execute(query).fetchall() == [(1, "x"), (2, None)]
    # Each query looks for files again, also one that was prepared.
    (tmp_path / "2.csv").write_text('id,name\n3,"a ""b"" c"\n')
    assert connection.execute(query, prepare=True).fetchall() == [(1, "x"), (2, None), (3, 'a "b" c')]
    (tmp_path / "1.csv").unlink()
    assert connection.execute(query, prepare=True).fetchall() == [(3, 'a "b" c')]
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    assert connection.execute("SELECT name FROM t WHERE id > 2").fetchall() == [('a "b" c',)]
    connection.execute("CREATE VIEW v AS SELECT id * 10 AS ten FROM t")
    connection.execute("CREATE TABLE copied AS SELECT t.*, ten FROM t JOIN v ON ten = id * 10")
    assert rows(connection, "SELECT * FROM copied") == ['3\ta "b" c\t30']
    assert connection.execute(
        "SELECT table_type, is_insertable_into FROM information_schema.tables WHERE table_schema = %s AND table_name = 't'", [schema]
    ).fetchone() == ("FOREIGN", "NO")
    assert connection.execute("SELECT relkind FROM pg_class WHERE oid = 't'::regclass").fetchone() in [("f",), (b"f",)]
    assert connection.execute(
        "SELECT format, files FROM wharf.tables WHERE schema_name = %s AND table_name = 't'", [schema]
    ).fetchone() == ("csv", f"{tmp_path}/*.csv")
    (tmp_path / "2.csv").unlink()
    refused(connection, query, "58P01")


def test_an_external_table_is_only_read(connection, wharf_only, tmp_path):
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    connection.execute(f"CREATE EXTERNAL TABLE t LOCATION '{tmp_path}/a.csv'")
    for statement in [
        "INSERT INTO t VALUES (2, 'y')",
        "UPDATE t SET name = 'y'",
        "DELETE FROM t",
        "MERGE INTO t USING (SELECT 1 AS id) s ON s.id = t.id WHEN MATCHED THEN DELETE",
        "TRUNCATE t",
        "COPY t FROM '/dev/null'",
        "ALTER TABLE t ADD COLUMN c int",
        "ALTER TABLE t RENAME COLUMN name TO other",
        "ALTER TABLE t SET ('write.parquet.compression-codec' = 'zstd')",
        "ALTER TABLE t CREATE BRANCH b",
        "CREATE TABLE u CLONE t",
        "CREATE TABLE u (a int REFERENCES t)",
        "SELECT * FROM t FOR VERSION AS OF 1",
        "DROP VIEW t",
    ]:
        said = refused(connection, statement, FOREIGN)
        assert said.message_hint or said.message_detail or "REFERENCES" in statement, statement
    assert connection.execute("SELECT * FROM t").fetchall() == [(1, "x")]


def test_names_and_the_end_of_an_external_table(connection, wharf_only, schema, tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    create = f"LOCATION '{tmp_path}/a.csv' FORMAT csv"
    connection.execute(f"CREATE EXTERNAL TABLE {schema}.t {create}")
    refused(connection, f"CREATE EXTERNAL TABLE t {create}", "42P07")
    connection.execute(f"CREATE EXTERNAL TABLE IF NOT EXISTS t {create}")
    connection.execute("COMMENT ON FOREIGN TABLE t IS 'files'")
    connection.execute("CREATE VIEW v AS SELECT * FROM t")
    connection.execute("ALTER FOREIGN TABLE t RENAME TO t2")
    assert connection.execute("SELECT * FROM v").fetchall() == [(1,)]
    said = refused(connection, "DROP FOREIGN TABLE t2", "2BP01")
    assert said.message_primary == "cannot drop foreign table t2 because other objects depend on it"
    connection.execute("DROP VIEW v")
    connection.execute("CREATE TABLE plain (a int)")
    assert refused(connection, "DROP FOREIGN TABLE plain", FOREIGN).message_hint == "Use DROP TABLE to remove a table."
    for words in ("TABLE", "FOREIGN TABLE", "EXTERNAL TABLE"):
        connection.execute(f"DROP {words} t2")
        refused(connection, "SELECT * FROM t2", "42P01")
        connection.execute(f"CREATE EXTERNAL TABLE t2 {create}")
    connection.execute("DROP TABLE t2")
    assert (tmp_path / "a.csv").exists()
    refused(connection, "UNDROP TABLE t2", "42P01")
    # With its transaction it never was.
    connection.execute("BEGIN")
    connection.execute(f"CREATE EXTERNAL TABLE t {create}")
    assert connection.execute("SELECT * FROM t").fetchall() == [(1,)]
    connection.execute("ROLLBACK")
    refused(connection, "SELECT * FROM t", "42P01")


def test_declared_columns_and_options(connection, wharf_only, tmp_path):
    (tmp_path / "a.txt").write_text("id;n;l\n1;1.5;{1,2}\n2;;\n")
    connection.execute(
        f"CREATE EXTERNAL TABLE t (id int, n numeric(5,2), l int[]) LOCATION '{tmp_path}/a.txt' FORMAT csv "
        "OPTIONS (header true, delimiter ';')"
    )
    assert rows(connection, "SELECT * FROM t ORDER BY id") == ["1\t1.50\t{1,2}", "2\t\\N\t\\N"]
    # As COPY says it, wherever the value is wanted.
    (tmp_path / "a.txt").write_text("id;n;l\n1;x;{1,2}\n")
    said = refused(connection, "SELECT id FROM t", "22P02")
    assert "line 2, column n" in said.context
    for options, state in [
        ("on_error 'skip'", "22023"),
        ("aws_secret_access_key 'x'", "22023"),
        ("nonsense 1", "42601"),
        ("force_null (x)", "42P10"),
    ]:
        statement = f"CREATE EXTERNAL TABLE u (id int) LOCATION '{tmp_path}/a.txt' FORMAT csv WITH ({options})"
        if options.startswith("force_null"):
            connection.execute(statement)
            refused(connection, "SELECT * FROM u", state)
        else:
            refused(connection, statement, state)
    refused(connection, f"CREATE EXTERNAL TABLE w (id int NOT NULL) LOCATION '{tmp_path}/a.txt' FORMAT csv", "0A000")


def test_parquet_is_read_in_place(connection, wharf_only, tmp_path):
    connection.execute("CREATE TABLE s (a int, b text)")
    connection.execute("INSERT INTO s SELECT g, 'n' || g FROM generate_series(1, 5000) g(g)")
    connection.execute(f"COPY s TO '{tmp_path}/a.parquet'")
    connection.execute(f"COPY (SELECT a + 5000 AS a, 1 AS extra FROM s) TO '{tmp_path}/b.parquet'")
    connection.execute(f"CREATE EXTERNAL TABLE t (a bigint, b text) LOCATION '{tmp_path}/' FORMAT parquet")
    assert connection.execute("SELECT count(*), sum(a), count(b), max(b) FILTER (WHERE a = 7) FROM t").fetchone() == (
        10000, 10000 * 10001 // 2, 5000, "n7",
    )
    assert connection.execute("SELECT b FROM t WHERE a = 42").fetchall() == [("n42",)]
    connection.execute(f"CREATE EXTERNAL TABLE u LOCATION ('{tmp_path}/a.parquet', '{tmp_path}/b.parquet')")
    assert columns(connection, "u") == "a integer, b text, extra integer"
    assert connection.execute("SELECT count(*), sum(extra) FROM u WHERE a > 2500").fetchone() == (7500, 5000)


def test_external_tables_give_the_rows_of_copy(connection, wharf_only, tmp_path):
    """Whatever the format, and wherever records are cut."""
    connection.execute("CREATE TABLE s (a int, b text, c timestamptz, d jsonb, e text[])")
    connection.execute(
        "INSERT INTO s SELECT g, CASE WHEN g % 7 > 0 THEN E'l\\n\"' || repeat('é', g % 50) END, "
        "timestamptz '2024-01-01 00:00Z' + g * interval '1 second', jsonb_build_object('k', g), ARRAY['x', NULL] "
        "FROM generate_series(1, 20000) g(g)"
    )
    expected = rows(connection, "SELECT * FROM s ORDER BY a")
    for number, (name, clause) in enumerate(
        [
            ("a.csv", "FORMAT csv OPTIONS (header)"),
            ("b.csv.zst", "FORMAT csv OPTIONS (header, null '-')"),
            ("c.json", "FORMAT json"),
            ("d.txt", "FORMAT text OPTIONS (header)"),
            ("e.parquet", ""),
        ]
    ):
        options = clause.removeprefix("FORMAT ").replace("OPTIONS (", ", ").replace(")", "")
        options = f"(FORMAT {options})" if options else ""
        connection.execute(f"COPY s TO '{tmp_path}/{name}' {options}")
        connection.execute(
            f"CREATE EXTERNAL TABLE t{number} (a int, b text, c timestamptz, d jsonb, e text[]) LOCATION '{tmp_path}/{name}' {clause}"
        )
        assert rows(connection, f"SELECT * FROM t{number} ORDER BY a") == expected, name


def test_only_superusers_name_files(connection, server, wharf_only, schema, tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    role = f"{schema}_reader"
    connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        connection.execute(f"CREATE EXTERNAL TABLE t LOCATION '{tmp_path}/a.csv'")
        dsn = f"host={server.host} port={server.port} user={role} dbname={server.database}"
        with psycopg.connect(dsn, autocommit=True) as other:
            other.execute(f"SET search_path TO {schema}")
            for statement in (f"CREATE TABLE u FROM '{tmp_path}/a.csv'", f"CREATE EXTERNAL TABLE u LOCATION '{tmp_path}/a.csv'"):
                refused(other, statement, "42501")
    finally:
        connection.execute(f"DROP ROLE {role}")
