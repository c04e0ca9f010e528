"""COPY from and to files: what is written is read back, and the text formats are PostgreSQL's byte by byte."""

import psycopg
import pytest

ROWS = """
    (1, 'x"y,z', 1.5, timestamptz '2024-01-02 03:04:05.678+00', '{"k": [1, "é"]}', '{1,NULL,3}'::int[], '\\x00ff'::bytea,
     false, date '2024-02-29', 'NaN'::float8, uuid '6b1d5f3e-0000-4000-8000-000000000001', time '12:34:56.7'),
    (2, E'line\\nbreak\\\\', -0.01, 'infinity', '[]', '{}', '', NULL, 'infinity', '-Infinity', NULL, '00:00'),
    (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
"""
COLUMNS = (
    "(a int, b text, c numeric(10,2), d timestamptz, e jsonb, f int[], g bytea, h boolean DEFAULT true, i date, "
    "j double precision, k uuid, l time)"
)


@pytest.fixture
def tables(connection, wharf_only):
    for name in ("t", "u"):
        connection.execute(f"CREATE TABLE {name} {COLUMNS}")
    connection.execute(f"INSERT INTO t VALUES {ROWS}")
    return connection


def rows(connection, query):
    """The rows of a query, as text: Python has no word for some values."""
    with connection.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        return sorted(row.decode().rstrip("\n") for row in map(bytes, copy))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.parquet", ""),
        ("a.json", ""),
        ("a.jsonl", "(FORMAT json)"),
        ("a.csv", "(FORMAT csv)"),
        ("a.csv", "(FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', ESCAPE '!', NULL 'nix', FORCE_QUOTE *)"),
        ("a.txt", ""),
        ("a.txt", "(DELIMITER '|', NULL '-', HEADER)"),
        ("a.bin", "(FORMAT binary)"),
    ],
)
@pytest.mark.parametrize("where", ["server", "warehouse"])
def test_a_file_comes_back(tables, tmp_path, where, name, options):
    path = f"{tmp_path}/{name}" if where == "server" else f"exports/{tmp_path.name}/{name}"
    # What only COPY TO takes.
    back = options.replace(", FORCE_QUOTE *", "")
    assert tables.execute(f"COPY t TO '{path}' {options}").statusmessage == "COPY 3"
    assert tables.execute(f"COPY u FROM '{path}' {back}").statusmessage == "COPY 3"
    assert rows(tables, "SELECT * FROM u") == rows(tables, "SELECT * FROM t")


def test_text_formats_are_postgresqls(tables, tmp_path):
    def written(options):
        tables.execute(f"COPY (SELECT a, b, g, f FROM t) TO '{tmp_path}/f' {options}")
        return (tmp_path / "f").read_text()

    assert written("") == '1\tx"y,z\t\\\\x00ff\t{1,NULL,3}\n2\tline\\nbreak\\\\\t\\\\x\t{}\n\\N\t\\N\t\\N\t\\N\n'
    assert written("CSV HEADER") == 'a,b,g,f\n1,"x""y,z",\\x00ff,"{1,NULL,3}"\n2,"line\nbreak\\",\\x,{}\n,,,\n'


def test_columns_and_defaults(tables, tmp_path):
    (tmp_path / "f.csv").write_text('b,a\n"",\n,7\n')
    tables.execute(f"COPY u (b, a) FROM '{tmp_path}/f.csv' (FORMAT csv, HEADER match, FORCE_NULL (b))")
    assert rows(tables, "SELECT a, b, h FROM u") == ["7\t\\N\tt", "\\N\t\\N\tt"]
    tables.execute(f"COPY (SELECT 5 AS a, 'five' AS b, 1 AS other) TO '{tmp_path}/f.parquet'")
    tables.execute("TRUNCATE u")
    tables.execute(f"COPY u (b, a) FROM '{tmp_path}/f.parquet'")
    assert rows(tables, "SELECT a, b, h FROM u") == ["5\tfive\tt"]


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("COPY u FROM '{}/nothing.csv'", "58P01"),
        ("COPY u FROM '{}/nothing.parquet'", "58P01"),
        ("COPY u TO '/proc/nothing/x'", "58P01"),
        ("COPY u TO 'nonsense://elsewhere/x'", "22023"),
        ("COPY u (j) FROM '{}/t.parquet'", "42703"),
        ("COPY u FROM '{}/t.csv'", "22P02"),
        ("COPY (SELECT interval '1 day' AS i) TO '{}/x.parquet'", "0A000"),
        ("COPY (SELECT 1 / (a - 1) FROM t) TO '{}/x.csv'", "22012"),
        ("COPY u FROM '../x'", "42602"),
    ],
)
def test_what_fails_leaves_nothing(tables, tmp_path, statement, state):
    (tmp_path / "t.csv").write_text("x\n")
    tables.execute(f"COPY (SELECT 1 AS a) TO '{tmp_path}/t.parquet'")
    with pytest.raises(psycopg.Error) as error:
        tables.execute(statement.format(tmp_path))
    assert error.value.sqlstate == state
    assert not (tmp_path / "x.csv").exists()
    assert rows(tables, "SELECT * FROM u") == []


def test_tables_are_not_written_over(tables):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tables.execute("COPY t TO 'public/6b1d5f3e-0000-4000-8000-000000000001/data/x.parquet'")
