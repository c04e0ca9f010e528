"""psql: its own commands, its output character by character, `\\copy`, and its exit codes."""

import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not installed")


@pytest.fixture
def psql(server, schema):
    def run(*arguments, stdin=None, check=True):
        environment = {**os.environ, "PGOPTIONS": f"-c search_path={schema}", "PGCONNECT_TIMEOUT": "10", "LC_ALL": "C.UTF-8"}
        command = ["psql", "-X", "-h", server.host, "-p", str(server.port), "-U", server.user, "-d", server.database]
        result = subprocess.run(
            [*command, *arguments], input=stdin, capture_output=True, text=True, timeout=30, env=environment, check=False
        )
        if check:
            assert result.returncode == 0, result.stderr
        return result

    return run


@pytest.fixture
def tables(psql):
    psql(
        "-c", "CREATE TABLE harbour (id integer NOT NULL, name varchar(20), depth numeric(6,2), opened timestamptz)",
        "-c", "COMMENT ON TABLE harbour IS 'Where ships lie'",
        "-c", "COMMENT ON COLUMN harbour.depth IS 'In metres'",
        "-c", "CREATE VIEW deep AS SELECT id, name FROM harbour WHERE depth > 20",
    )  # fmt: skip
    return psql


def test_a_query(psql):
    result = psql("-c", "SELECT 1 AS one, 'two' AS two, NULL AS three, 4.50 AS four")
    assert result.stdout == " one | two | three | four \n-----+-----+-------+------\n   1 | two |       | 4.50\n(1 row)\n\n"


def test_unaligned_output(psql):
    result = psql("-At", "-c", "SELECT true, 1.5::real, '{a,NULL,\"b c\"}'::text[], '\\x00ff'::bytea, interval '1 day 02:03:04'")
    assert result.stdout == 't|1.5|{a,NULL,"b c"}|\\x00ff|1 day 02:03:04\n'


def test_a_script_stops_at_its_error(psql):
    result = psql("-v", "ON_ERROR_STOP=1", "-At", stdin="SELECT 1;\nSELECT 1/0;\nSELECT 2;\n", check=False)
    assert result.returncode == 3
    assert result.stdout == "1\n"
    assert "ERROR:  division by zero" in result.stderr


def test_an_error_points_at_its_place(psql):
    result = psql("-c", "SELECT 1 + nope", check=False)
    assert result.returncode == 1
    assert result.stderr == 'ERROR:  column "nope" does not exist\nLINE 1: SELECT 1 + nope\n                   ^\n'


def test_describing_a_table(tables, schema):
    # The title is centred, so its indent depends on the name of the schema.
    assert tables("-c", "\\d harbour").stdout.lstrip(" ") == (
        f'Table "{schema}.harbour"\n'
        " Column |           Type           | Collation | Nullable | Default \n"
        "--------+--------------------------+-----------+----------+---------\n"
        " id     | integer                  |           | not null | \n"
        " name   | character varying(20)    |           |          | \n"
        " depth  | numeric(6,2)             |           |          | \n"
        " opened | timestamp with time zone |           |          | \n"
        "\n"
    )


def test_describing_a_view(tables, schema):
    assert tables("-c", "\\d deep").stdout.lstrip(" ") == (
        f'View "{schema}.deep"\n'
        " Column |         Type          | Collation | Nullable | Default \n"
        "--------+-----------------------+-----------+----------+---------\n"
        " id     | integer               |           |          | \n"
        " name   | character varying(20) |           |          | \n"
        "\n"
    )


def test_listing_tables_and_views(tables, schema, server):
    def rows(command):
        return tables("-At", "-c", command).stdout

    assert rows("\\dt") == f"{schema}|harbour|table|{server.user}\n"
    assert rows("\\dv") == f"{schema}|deep|view|{server.user}\n"
    assert rows("\\d") == f"{schema}|deep|view|{server.user}\n{schema}|harbour|table|{server.user}\n"
    assert rows(f"\\dt {schema}.har*") == f"{schema}|harbour|table|{server.user}\n"
    assert f"{schema}|{server.user}\n" in rows("\\dn")
    assert "Where ships lie" in rows("\\dt+")
    assert "In metres" in rows("\\d+ harbour")
    missing = tables("-c", "\\d nothing_of_this_name", check=False)
    assert (missing.returncode, missing.stderr) == (1, 'Did not find any relation named "nothing_of_this_name".\n')


def test_describing_how_a_table_is_laid_out(psql, wharf_only):
    psql(
        "-c", "CREATE TABLE berths (id bigint, since date) PARTITION BY (years(since)) SORT BY (id DESC) WITH (fillfactor = 70)",
        "-c", "ALTER TABLE berths SET ('write.delete.mode' = 'merge-on-read')",
        "-c", "CREATE TABLE plain (id bigint)",
    )  # fmt: skip
    options = "Options: partition_by=years(since), sort_by=id DESC, write.delete.mode=merge-on-read\n"
    described = psql("-c", "\\d+ berths").stdout
    assert options in described
    assert "Access method: iceberg\n" in described
    assert "Options" not in psql("-c", "\\d+ plain").stdout


def test_listing_databases_and_roles(psql, server):
    assert f"\n{server.database}|" in "\n" + psql("-At", "-c", "\\l").stdout
    assert f"\n{server.user}|" in "\n" + psql("-At", "-c", "\\du").stdout
    assert psql("-c", "\\df abs").returncode == 0


def test_connection_information(psql, server):
    out = psql("-c", "\\conninfo").stdout
    assert f'database "{server.database}" as user "{server.user}"' in out


def test_copy_in_and_out(tables, tmp_path):
    source = tmp_path / "in.csv"
    source.write_text('id,name,depth,opened\n1,"Ham, burg",15.5,2024-02-29 12:00:00+00\n2,,,\n3,"say ""hi""",-0.25,\n')
    result = tables("-c", f"\\copy harbour FROM '{source}' WITH (FORMAT csv, HEADER)")
    assert result.stdout == "COPY 3\n"
    target = tmp_path / "out.txt"
    result = tables("-c", "SET TimeZone TO 'UTC'", "-c", f"\\copy (SELECT * FROM harbour ORDER BY id) TO '{target}'")
    assert result.stdout == "SET\nCOPY 3\n"
    assert target.read_text() == (
        "1\tHam, burg\t15.50\t2024-02-29 12:00:00+00\n2\t\\N\t\\N\t\\N\n3\tsay \"hi\"\t-0.25\t\\N\n"
    )
    assert tables("-At", "-c", "SELECT count(*), sum(depth) FROM harbour").stdout == "3|15.25\n"


def test_copy_from_the_script_itself(tables):
    script = "COPY harbour (id, name) FROM STDIN;\n7\tBremen\n8\t\\N\n\\.\nSELECT id, name FROM harbour ORDER BY id;\n"
    assert tables("-At", stdin=script).stdout == "COPY 2\n7|Bremen\n8|\n"


def test_variables_and_gset(psql):
    script = "SELECT 40 AS a, 'x''y' AS b \\gset\nSELECT :a + 2, :'b';\n\\if true\nSELECT 'yes';\n\\endif\n"
    assert psql("-At", stdin=script).stdout == "42|x'y\nyes\n"


def test_tags_of_create_table_as(psql):
    script = (
        "CREATE TABLE made AS SELECT 1 AS a;\n"
        "CREATE TABLE empty AS SELECT 1 AS a WITH NO DATA;\n"
        "CREATE TABLE IF NOT EXISTS made AS SELECT 2 AS a;\n"
    )
    assert psql(stdin=script).stdout == "SELECT 1\nCREATE TABLE AS\nCREATE TABLE AS\n"


def test_explain(tables):
    assert tables("-At", "-c", "EXPLAIN SELECT * FROM harbour").stdout != ""
    assert tables("-At", "-c", "EXPLAIN ANALYZE SELECT * FROM harbour").stdout != ""


def test_an_external_table_is_described(psql, wharf_only, tmp_path):
    (tmp_path / "a.csv").write_text("id,day\n1,2024-01-01\n")
    psql("-c", f"CREATE EXTERNAL TABLE t LOCATION '{tmp_path}/a.csv'")
    described = psql("-c", "\\d t").stdout
    assert 'Foreign table "' in described and "Server: files" in described
    assert "id     | bigint" in described and "day    | date" in described
    assert "foreign table" in psql("-c", "\\d").stdout
    assert psql("-At", "-c", "\\det").stdout.split("|")[1:] == ["t", "files\n"]
