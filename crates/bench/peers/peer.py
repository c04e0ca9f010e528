"""One in-process engine as a child of `wharf-bench compare`: a JSON object a line in, one out.

    peer.py duckdb-parquet | duckdb-native | datafusion-parquet

The first line out names the engine's version. Then `{"do": "open", "tables": {name: {"columns": ddl, "parquet": [path]}},
"folder": path}` makes the tables, and `{"do": "query", "sql": text}` runs a query to its last row and answers with its
milliseconds and rows. Results are fetched as Arrow, the form in which neither engine has to convert them.
"""

import json
import sys
import time


class DuckDb:
    def __init__(self, native):
        import duckdb

        self.module = duckdb
        self.native = native
        self.version = duckdb.__version__

    def open(self, tables, folder):
        self.connection = self.module.connect(f"{folder}/native.duckdb" if self.native else ":memory:")
        for name, table in tables.items():
            if self.native:
                self.connection.execute(f"CREATE TABLE {name} ({table['columns']})")
                self.connection.execute(f"INSERT INTO {name} SELECT * FROM read_parquet({table['parquet']})")
            else:
                self.connection.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({table['parquet']})")
        if self.native:
            self.connection.execute("CHECKPOINT")

    def query(self, sql):
        return self.connection.sql(sql).to_arrow_table().num_rows


class DataFusion:
    def __init__(self):
        import datafusion

        self.version = datafusion.__version__
        self.context = datafusion.SessionContext()

    def open(self, tables, folder):
        for name, table in tables.items():
            self.context.register_parquet(name, table["parquet"][0])

    def query(self, sql):
        return sum(batch.num_rows for batch in self.context.sql(sql).collect())


def main():
    kind = sys.argv[1]
    engine = DataFusion() if kind == "datafusion-parquet" else DuckDb(native=kind == "duckdb-native")

    def answer(**fields):
        print(json.dumps(fields), flush=True)

    answer(version=engine.version)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            begun = time.perf_counter()
            rows = 0
            if request["do"] == "open":
                engine.open(request["tables"], request["folder"])
            else:
                rows = engine.query(request["sql"].strip().rstrip(";"))
            answer(milliseconds=(time.perf_counter() - begun) * 1000, rows=rows)
        except Exception as error:
            answer(error=f"{type(error).__name__}: {error}")


main()
