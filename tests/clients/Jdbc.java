import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.PGResultSetMetaData;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

/**
 * pgjdbc against a server: `java -cp postgresql.jar Jdbc.java HOST PORT USER DATABASE SCHEMA`.
 *
 * <p>The schema exists and is empty. Every check is a method; one line says what became of it, and the exit code is 1
 * when any failed. The expectations are PostgreSQL's: the same checks run against a real one.
 */
public final class Jdbc {
    private static final String LONG_QUERY =
            "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";

    private static String url;
    private static String user;
    private static String schema;

    private interface Check {
        void run(Connection connection) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        url = "jdbc:postgresql://" + arguments[0] + ":" + arguments[1] + "/" + arguments[3];
        user = arguments[2];
        schema = arguments[4];
        int failed = 0;
        failed += check("parameters of every type", Jdbc::parametersOfEveryType);
        failed += check("a table with a column of every type", Jdbc::tableOfEveryType);
        failed += check("the switch to server-side statements and binary", Jdbc::switchToBinary);
        failed += check("a fetch size reads a portal in pieces", Jdbc::fetchSize);
        failed += check("arrays", Jdbc::arrays);
        failed += check("batches", Jdbc::batches);
        failed += check("generated keys and RETURNING", Jdbc::returning);
        failed += check("COPY in and out", Jdbc::copy);
        failed += check("SQLSTATE of errors", Jdbc::errors);
        failed += check("transactions", Jdbc::transactions);
        failed += check("cancel", Jdbc::cancel);
        failed += check("warnings", Jdbc::warnings);
        failed += check("metadata of a result", Jdbc::resultMetadata);
        failed += check("metadata of the database", Jdbc::databaseMetadata);
        failed += check("simple query mode", Jdbc::simpleQueryMode);
        System.exit(failed == 0 ? 0 : 1);
    }

    private static int check(String name, Check check) {
        try (Connection connection = connect(new Properties())) {
            check.run(connection);
            System.out.println("ok      " + name);
            return 0;
        } catch (Throwable problem) {
            System.out.println("FAILED  " + name);
            problem.printStackTrace(System.out);
            return 1;
        }
    }

    private static Connection connect(Properties more) throws SQLException {
        Properties properties = new Properties();
        properties.putAll(more);
        properties.setProperty("user", user);
        properties.setProperty("currentSchema", schema);
        properties.setProperty("socketTimeout", "60");
        properties.setProperty("connectTimeout", "10");
        return DriverManager.getConnection(url, properties);
    }

    private static void same(Object expected, Object actual) {
        if (!Objects.deepEquals(expected, actual)) {
            throw new AssertionError("expected " + text(expected) + ", got " + text(actual));
        }
    }

    private static String text(Object value) {
        return value instanceof Object[] array ? Arrays.deepToString(array) : String.valueOf(value);
    }

    private static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    private static Object one(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
            same(true, rows.next());
            Object value = rows.getObject(1);
            same(false, rows.next());
            return value;
        }
    }

    private static final OffsetDateTime INSTANT = OffsetDateTime.of(2024, 2, 29, 12, 30, 15, 250_000_000, ZoneOffset.UTC);

    /** SQL type, value, and the class to read it back as. */
    private static final Object[][] VALUES = {
        {"boolean", true, Boolean.class},
        {"smallint", (short) -32768, Short.class},
        {"integer", 2147483647, Integer.class},
        {"bigint", -9223372036854775808L, Long.class},
        {"real", 1.5f, Float.class},
        {"double precision", 1e300, Double.class},
        {"double precision", Double.NaN, Double.class},
        {"double precision", Double.NEGATIVE_INFINITY, Double.class},
        {"numeric(20,5)", new BigDecimal("-12345.67891"), BigDecimal.class},
        {"numeric(38,10)", new BigDecimal("1234567890123456789012.0123456789"), BigDecimal.class},
        {"text", "tab\t, \\, 'single', \"double\", {braces}, 北京, 🚢", String.class},
        {"varchar(20)", "short", String.class},
        {"char(5)", "ab   ", String.class},
        {"date", LocalDate.of(2000, 2, 29), LocalDate.class},
        {"time", LocalTime.of(23, 59, 59, 999_999_000), LocalTime.class},
        {"timestamp", LocalDateTime.of(1969, 12, 31, 23, 59, 59, 999_999_000), LocalDateTime.class},
        {"timestamptz", INSTANT, OffsetDateTime.class},
        {"uuid", UUID.fromString("0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21"), UUID.class},
    };

    private static void parametersOfEveryType(Connection connection) throws Exception {
        for (Object[] row : VALUES) {
            String sql = "SELECT ?::" + row[0];
            try (PreparedStatement statement = connection.prepareStatement(sql)) {
                // The later rounds use a named statement and ask for binary results.
                for (int round = 0; round < 8; round++) {
                    statement.setObject(1, row[1]);
                    try (ResultSet rows = statement.executeQuery()) {
                        same(true, rows.next());
                        same(row[1], rows.getObject(1, (Class<?>) row[2]));
                    }
                    statement.setNull(1, Types.NULL);
                    try (ResultSet rows = statement.executeQuery()) {
                        same(true, rows.next());
                        same(null, rows.getObject(1));
                    }
                }
            } catch (Throwable problem) {
                throw new AssertionError(sql + " with " + row[1], problem);
            }
        }
        byte[] bytes = new byte[256];
        for (int index = 0; index < 256; index++) {
            bytes[index] = (byte) index;
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::bytea")) {
            for (int round = 0; round < 8; round++) {
                statement.setBytes(1, bytes);
                try (ResultSet rows = statement.executeQuery()) {
                    same(true, rows.next());
                    same(true, Arrays.equals(bytes, rows.getBytes(1)));
                }
            }
        }
    }

    private static void tableOfEveryType(Connection connection) throws Exception {
        StringBuilder create = new StringBuilder("CREATE TABLE every_type (id integer");
        StringBuilder insert = new StringBuilder("INSERT INTO every_type VALUES (?");
        for (int index = 0; index < VALUES.length; index++) {
            create.append(", c").append(index).append(' ').append(VALUES[index][0]);
            insert.append(", ?");
        }
        execute(connection, create + ")");
        try (PreparedStatement statement = connection.prepareStatement(insert + ")")) {
            for (int id = 0; id < 7; id++) {
                statement.setInt(1, id);
                for (int index = 0; index < VALUES.length; index++) {
                    statement.setObject(index + 2, VALUES[index][1]);
                }
                same(1, statement.executeUpdate());
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT * FROM every_type WHERE id = ?")) {
            for (int id = 0; id < 7; id++) {
                statement.setInt(1, id);
                try (ResultSet rows = statement.executeQuery()) {
                    same(true, rows.next());
                    for (int index = 0; index < VALUES.length; index++) {
                        same(VALUES[index][1], rows.getObject(index + 2, (Class<?>) VALUES[index][2]));
                    }
                }
            }
        }
    }

    private static void switchToBinary(Connection connection) throws Exception {
        String sql = "SELECT g, g * 1.5::double precision, date '2024-01-01' + g, g::text, (g / 4.0)::numeric(10,2), ?::bigint"
                + " FROM generate_series(1, 5) AS g(g) ORDER BY 1";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int round = 0; round < 12; round++) {
                statement.setLong(1, round);
                try (ResultSet rows = statement.executeQuery()) {
                    for (int g = 1; g <= 5; g++) {
                        same(true, rows.next());
                        same(g, rows.getInt(1));
                        same(g * 1.5, rows.getDouble(2));
                        same(LocalDate.of(2024, 1, 1).plusDays(g), rows.getObject(3, LocalDate.class));
                        same(Integer.toString(g), rows.getString(4));
                        same(new BigDecimal(g).divide(new BigDecimal(4)).setScale(2), rows.getBigDecimal(5));
                        same((long) round, rows.getLong(6));
                    }
                    same(false, rows.next());
                }
                same(round >= 3, statement.unwrap(org.postgresql.PGStatement.class).isUseServerPrepare());
            }
        }
    }

    private static void fetchSize(Connection connection) throws Exception {
        connection.setAutoCommit(false);
        try (PreparedStatement statement = connection.prepareStatement("SELECT g FROM generate_series(1, ?) AS g(g)")) {
            statement.setFetchSize(100);
            for (int count : new int[] {0, 1, 99, 100, 101, 200, 10_050}) {
                statement.setInt(1, count);
                long seen = 0;
                long sum = 0;
                try (ResultSet rows = statement.executeQuery();
                        ResultSet second = connection.createStatement().executeQuery("SELECT 'between'")) {
                    same(true, second.next());
                    while (rows.next()) {
                        seen++;
                        sum += rows.getInt(1);
                    }
                }
                same((long) count, seen);
                same((long) count * (count + 1) / 2, sum);
            }
        }
        connection.commit();
    }

    private static void arrays(Connection connection) throws Exception {
        try (PreparedStatement statement = connection.prepareStatement("SELECT ?::integer[], ?::text[]")) {
            for (int round = 0; round < 8; round++) {
                statement.setArray(1, connection.createArrayOf("integer", new Object[] {1, null, 3}));
                statement.setArray(2, connection.createArrayOf("text", new Object[] {"a", "", "NULL", null, "q\"\\,{}"}));
                try (ResultSet rows = statement.executeQuery()) {
                    same(true, rows.next());
                    same(new Integer[] {1, null, 3}, rows.getArray(1).getArray());
                    same(new String[] {"a", "", "NULL", null, "q\"\\,{}"}, rows.getArray(2).getArray());
                }
            }
        }
    }

    private static void batches(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE batched (id integer, name text)");
        for (String rewrite : new String[] {"false", "true"}) {
            Properties properties = new Properties();
            properties.setProperty("reWriteBatchedInserts", rewrite);
            try (Connection other = connect(properties);
                    PreparedStatement statement = other.prepareStatement("INSERT INTO batched VALUES (?, ?)")) {
                for (int id = 0; id < 200; id++) {
                    statement.setInt(1, id);
                    statement.setString(2, rewrite);
                    statement.addBatch();
                }
                same(200, statement.executeBatch().length);
            }
            same(200L, one(connection, "SELECT count(*) FROM batched WHERE name = '" + rewrite + "'"));
        }
    }

    private static void returning(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE returned (id integer PRIMARY KEY, name text, n integer DEFAULT 7)");
        String insert = "INSERT INTO returned (id, name) VALUES (?, ?)";
        try (PreparedStatement statement = connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
            for (int id = 1; id <= 8; id++) {
                statement.setInt(1, id);
                statement.setString(2, "n" + id);
                same(1, statement.executeUpdate());
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    same(true, keys.next());
                    same(id, keys.getInt("id"));
                    same(7, keys.getInt("n"));
                    same(false, keys.next());
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(insert, new String[] {"n"})) {
            statement.setInt(1, 9);
            statement.setString(2, null);
            statement.addBatch();
            statement.setInt(1, 10);
            statement.setString(2, null);
            statement.addBatch();
            same(2, statement.executeBatch().length);
            try (ResultSet keys = statement.getGeneratedKeys()) {
                same(true, keys.next());
                same(1, keys.getMetaData().getColumnCount());
                same(7, keys.getInt(1));
                same(true, keys.next());
            }
        }
        try (Statement statement = connection.createStatement();
                ResultSet rows = statement.executeQuery("DELETE FROM returned WHERE id > 8 RETURNING id, n")) {
            same("returned", ((PGResultSetMetaData) rows.getMetaData()).getBaseTableName(1));
            same(true, rows.next());
            same(true, rows.next());
            same(false, rows.next());
        }
        String merge = "MERGE INTO returned AS r USING (SELECT ?::integer AS k) AS q ON r.id = q.k "
                + "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (k)";
        try (PreparedStatement statement = connection.prepareStatement(merge)) {
            for (int id : new int[] {1, 100, 100}) {
                statement.setInt(1, id);
                same(1, statement.executeUpdate());
            }
        }
        same(7L, one(connection, "SELECT count(*) FROM returned"));
    }

    private static void copy(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE copied (id integer, name text)");
        CopyManager manager = connection.unwrap(PGConnection.class).getCopyAPI();
        same(3L, manager.copyIn("COPY copied FROM STDIN (FORMAT csv)", new StringReader("1,one\n2,\"t,w\"\"o\"\n3,\n")));
        StringWriter out = new StringWriter();
        same(3L, manager.copyOut("COPY (SELECT * FROM copied ORDER BY id) TO STDOUT", out));
        same("1\tone\n2\tt,w\"o\n3\t\\N\n", out.toString());
        try {
            manager.copyIn("COPY copied FROM STDIN", new StringReader("4\tfour\nx\ty\n"));
            throw new AssertionError("a bad row was taken");
        } catch (PSQLException problem) {
            same("22P02", problem.getSQLState());
        }
        same(3L, one(connection, "SELECT count(*) FROM copied"));
    }

    private static void errors(Connection connection) throws Exception {
        String[][] cases = {
            {"SELEC 1", "42601"}, {"SELECT * FROM nope", "42P01"}, {"SELECT nope", "42703"}, {"SELECT 1 / 0", "22012"},
            {"SELECT 2147483647 + 1", "22003"}, {"SELECT 'x'::integer", "22P02"}, {"SELECT nope(1)", "42883"},
        };
        for (String[] row : cases) {
            try {
                one(connection, row[0]);
                throw new AssertionError(row[0] + " gave no error");
            } catch (PSQLException problem) {
                same(row[1], problem.getSQLState());
            }
        }
        try {
            one(connection, "SELECT nope");
        } catch (PSQLException problem) {
            same(8, problem.getServerErrorMessage().getPosition());
            same("column \"nope\" does not exist", problem.getServerErrorMessage().getMessage());
        }
        // A number out of range only when the parameter is known.
        try (PreparedStatement statement = connection.prepareStatement("SELECT 10 / ?")) {
            for (int round = 0; round < 8; round++) {
                statement.setInt(1, 0);
                try {
                    statement.executeQuery();
                    throw new AssertionError("division by zero gave no error");
                } catch (PSQLException problem) {
                    same("22012", problem.getSQLState());
                }
                statement.setInt(1, 5);
                try (ResultSet rows = statement.executeQuery()) {
                    same(true, rows.next());
                    same(2, rows.getInt(1));
                }
            }
        }
    }

    private static void transactions(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE kept (id integer)");
        connection.setAutoCommit(false);
        execute(connection, "INSERT INTO kept VALUES (1)");
        connection.rollback();
        execute(connection, "INSERT INTO kept VALUES (2)");
        connection.commit();
        try {
            execute(connection, "SELECT 1 / 0");
            throw new AssertionError("division by zero gave no error");
        } catch (PSQLException problem) {
            same("22012", problem.getSQLState());
        }
        try {
            execute(connection, "SELECT 1");
            throw new AssertionError("a failed transaction went on");
        } catch (PSQLException problem) {
            same("25P02", problem.getSQLState());
        }
        connection.rollback();
        connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
        same(Connection.TRANSACTION_REPEATABLE_READ, connection.getTransactionIsolation());
        same(2, one(connection, "SELECT id FROM kept"));
        connection.commit();
        connection.setReadOnly(true);
        try {
            execute(connection, "INSERT INTO kept VALUES (3)");
            throw new AssertionError("a read-only transaction wrote");
        } catch (PSQLException problem) {
            same("25006", problem.getSQLState());
        }
        connection.rollback();
    }

    private static void cancel(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            long[] cancelled = new long[1];
            Thread thread = new Thread(() -> {
                try {
                    Thread.sleep(500);
                    cancelled[0] = System.nanoTime();
                    statement.cancel();
                } catch (Exception problem) {
                    problem.printStackTrace(System.out);
                }
            });
            thread.start();
            try {
                statement.executeQuery(LONG_QUERY);
                throw new AssertionError("the query was not cancelled");
            } catch (PSQLException problem) {
                same("57014", problem.getSQLState());
                same(true, System.nanoTime() - cancelled[0] < 1_000_000_000L);
            }
            thread.join();
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery(LONG_QUERY);
                throw new AssertionError("the query was not cancelled");
            } catch (PSQLException problem) {
                same("57014", problem.getSQLState());
            }
        }
        same(1, one(connection, "SELECT 1"));
    }

    private static void warnings(Connection connection) throws Exception {
        try (Statement statement = connection.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS nope");
            SQLWarning warning = statement.getWarnings();
            same("table \"nope\" does not exist, skipping", warning.getMessage());
            same("00000", warning.getSQLState());
        }
    }

    private static void resultMetadata(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE described (id integer NOT NULL, price numeric(12,3), name varchar(20), at timestamptz)");
        try (PreparedStatement statement = connection.prepareStatement("SELECT id, price, name, at, id + 1 AS next FROM described WHERE id = ?")) {
            same(Types.INTEGER, statement.getParameterMetaData().getParameterType(1));
            ResultSetMetaData metadata = statement.getMetaData();
            same(5, metadata.getColumnCount());
            same("price", metadata.getColumnName(2));
            same(Types.NUMERIC, metadata.getColumnType(2));
            same(12, metadata.getPrecision(2));
            same(3, metadata.getScale(2));
            same(20, metadata.getPrecision(3));
            same("timestamptz", metadata.getColumnTypeName(4));
            same("described", metadata.getTableName(1));
            same(ResultSetMetaData.columnNoNulls, metadata.isNullable(1));
            same(ResultSetMetaData.columnNullable, metadata.isNullable(2));
            same("next", metadata.getColumnLabel(5));
        }
    }

    private static void databaseMetadata(Connection connection) throws Exception {
        execute(connection, "CREATE TABLE ships (id integer NOT NULL, price numeric(12,3), name varchar(20), words text[])");
        execute(connection, "COMMENT ON COLUMN ships.name IS 'As painted'");
        execute(connection, "CREATE VIEW fleet AS SELECT name FROM ships");
        List<String> found = new ArrayList<>();
        try (ResultSet rows = connection.getMetaData().getSchemas()) {
            while (rows.next()) {
                found.add(rows.getString("TABLE_SCHEM"));
            }
        }
        same(true, found.contains(schema) && found.contains("pg_catalog") && found.contains("public"));
        found.clear();
        try (ResultSet rows = connection.getMetaData().getTables(null, schema, "%s%", new String[] {"TABLE", "VIEW"})) {
            while (rows.next()) {
                if (rows.getString("TABLE_NAME").equals("ships") || rows.getString("TABLE_NAME").equals("fleet")) {
                    found.add(rows.getString("TABLE_NAME") + " " + rows.getString("TABLE_TYPE"));
                }
            }
        }
        same(List.of("ships TABLE"), found);
        found.clear();
        try (ResultSet rows = connection.getMetaData().getColumns(null, schema, "ships", null)) {
            while (rows.next()) {
                found.add(rows.getString("COLUMN_NAME") + " " + rows.getString("TYPE_NAME") + " " + rows.getInt("COLUMN_SIZE") + " "
                        + rows.getString("IS_NULLABLE") + " " + rows.getInt("ORDINAL_POSITION") + " " + rows.getString("REMARKS"));
            }
        }
        same(List.of("id int4 10 NO 1 null", "price numeric 12 YES 2 null", "name varchar 20 YES 3 As painted",
                "words _text 2147483647 YES 4 null"), found);
        try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, schema, "ships")) {
            same(false, rows.next());
        }
        execute(connection, "CREATE TABLE ports (id integer, country text, berths integer, PRIMARY KEY (country, id), UNIQUE (berths))");
        execute(connection, "CREATE TABLE visits (id integer PRIMARY KEY, land text, port integer, FOREIGN KEY (land, port) REFERENCES ports)");
        found.clear();
        try (ResultSet rows = connection.getMetaData().getPrimaryKeys(null, schema, "ports")) {
            while (rows.next()) {
                found.add(rows.getString("COLUMN_NAME") + " " + rows.getInt("KEY_SEQ") + " " + rows.getString("PK_NAME"));
            }
        }
        same(List.of("country 1 ports_pkey", "id 2 ports_pkey"), found);
        String[] reference = {"PKTABLE_NAME", "PKCOLUMN_NAME", "FKTABLE_NAME", "FKCOLUMN_NAME", "KEY_SEQ", "FK_NAME", "PK_NAME"};
        List<String> references = List.of("ports country visits land 1 visits_land_port_fkey ports_pkey",
                "ports id visits port 2 visits_land_port_fkey ports_pkey");
        same(references, rows(connection.getMetaData().getImportedKeys(null, schema, "visits"), reference));
        same(references, rows(connection.getMetaData().getExportedKeys(null, schema, "ports"), reference));
        String[] index = {"INDEX_NAME", "NON_UNIQUE", "TYPE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC"};
        same(List.of("ports_berths_key f 3 1 berths A", "ports_pkey f 3 1 country A", "ports_pkey f 3 2 id A"),
                rows(connection.getMetaData().getIndexInfo(null, schema, "ports", false, false), index));
        same("PostgreSQL", connection.getMetaData().getDatabaseProductName());
    }

    /** Some columns of each row. */
    private static List<String> rows(ResultSet rows, String... columns) throws SQLException {
        List<String> found = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                List<String> values = new ArrayList<>();
                for (String column : columns) {
                    values.add(rows.getString(column));
                }
                found.add(String.join(" ", values));
            }
        }
        return found;
    }

    private static void simpleQueryMode(Connection ignored) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("preferQueryMode", "simple");
        try (Connection connection = connect(properties);
                PreparedStatement statement = connection.prepareStatement("SELECT ? + 1, ?::date")) {
            statement.setInt(1, 41);
            statement.setDate(2, Date.valueOf("2024-02-29"));
            try (ResultSet rows = statement.executeQuery()) {
                same(true, rows.next());
                same(42, rows.getInt(1));
                same(Date.valueOf("2024-02-29"), rows.getDate(2));
            }
        }
    }
}
