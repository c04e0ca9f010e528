//! tokio-postgres against a server: parameters of every type in the binary formats, prepared statements, portals, COPY, pipelining,
//! errors, transactions, cancelling and notices.
//!
//! The server is the one of `WHARF_TEST_URL` (`tests/clients/run` sets it, for Wharf and for PostgreSQL), or a Wharf that the tests
//! start for themselves: `WHARF_BIN`, or the one that cargo built beside them. The expectations are PostgreSQL's.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt, future, pin_mut, stream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// No test takes longer, whatever the server does.
const LIMIT: Duration = Duration::from_secs(60);

struct Server {
    url: String,
    process: Mutex<Option<(Child, tempfile::TempDir)>>,
}

/// The server all tests share; a static is not dropped, so the last test stops it.
static SERVER: OnceLock<Server> = OnceLock::new();

fn server() -> &'static Server {
    SERVER.get_or_init(|| match std::env::var("WHARF_TEST_URL") {
        Ok(url) => Server { url, process: Mutex::new(None) },
        Err(_) => start(),
    })
}

fn start() -> Server {
    let binary = std::env::var_os("WHARF_BIN").map_or_else(
        // target/release/deps/clients-..: the binaries are one folder up.
        || std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().join("wharf"),
        PathBuf::from,
    );
    assert!(
        binary.is_file(),
        "no server to test: set WHARF_TEST_URL or WHARF_BIN, or build {} (cargo build --release)",
        binary.display()
    );
    let folder = tempfile::tempdir().unwrap();
    let mut process = Command::new(&binary)
        .arg("serve")
        .arg("--data")
        .arg(folder.path().join("data"))
        .args(["--listen", "127.0.0.1:0", "--auth", "trust"])
        .env("WHARF_PASSWORD", "wharf")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = process.stdout.take().unwrap();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once("listening on ") {
                let _ = sender.send(address.trim().to_owned());
            }
        }
    });
    let address = receiver.recv_timeout(Duration::from_secs(30)).expect("the server becomes ready");
    Server { url: format!("postgres://wharf@{address}/wharf"), process: Mutex::new(Some((process, folder))) }
}

/// A connection, and what arrives beside answers.
struct Session {
    client: Client,
    notices: Arc<Mutex<Vec<(String, String)>>>,
}

async fn connect() -> Session {
    let (client, mut connection) = tokio_postgres::connect(&server().url, NoTls).await.unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notices);
    tokio::spawn(async move {
        let messages = stream::poll_fn(move |context| connection.poll_message(context));
        pin_mut!(messages);
        while let Some(Ok(message)) = messages.next().await {
            if let AsyncMessage::Notice(notice) = message {
                kept.lock().unwrap().push((notice.severity().to_owned(), notice.message().to_owned()));
            }
        }
    });
    Session { client, notices }
}

/// Runs a test in a schema of its own, dropped afterwards.
async fn in_schema<F: Future<Output = ()>>(name: &str, test: impl FnOnce(Session, String) -> F) {
    let schema = format!("rust_{name}_{}", std::process::id());
    let admin = connect().await.client;
    admin.batch_execute(&format!("CREATE SCHEMA {schema}")).await.unwrap();
    let session = connect().await;
    session.client.batch_execute(&format!("SET search_path TO {schema}; SET TimeZone TO 'UTC'")).await.unwrap();
    tokio::time::timeout(LIMIT, test(session, schema.clone())).await.expect("the test ends in time");
    admin.batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).await.unwrap();
}

async fn comes_back<T>(client: &Client, ty: &str, value: T)
where
    T: ToSql + for<'a> FromSql<'a> + PartialEq + std::fmt::Debug + Sync,
{
    let statement = client.prepare(&format!("SELECT $1::{ty}, $1::{ty} IS NULL")).await.unwrap();
    for _ in 0..3 {
        let row = client.query_one(&statement, &[&value]).await.unwrap();
        assert_eq!(row.get::<_, T>(0), value, "{ty}");
        assert!(!row.get::<_, bool>(1));
    }
    let row = client.query_one(&statement, &[&None::<T>]).await.unwrap();
    assert_eq!(row.get::<_, Option<T>>(0), None, "{ty}");
    assert!(row.get::<_, bool>(1));
}

async fn parameters() {
    let client = connect().await.client;
    comes_back(&client, "boolean", true).await;
    comes_back(&client, "smallint", i16::MIN).await;
    comes_back(&client, "integer", i32::MAX).await;
    comes_back(&client, "bigint", i64::MIN).await;
    comes_back(&client, "real", 1.5f32).await;
    comes_back(&client, "double precision", f64::NEG_INFINITY).await;
    comes_back(&client, "double precision", 0.1f64).await;
    comes_back(&client, "text", "tab\t, 北京, 🚢".to_owned()).await;
    comes_back(&client, "varchar(20)", "short".to_owned()).await;
    comes_back(&client, "char(5)", "ab   ".to_owned()).await;
    comes_back(&client, "bytea", (0..=255).collect::<Vec<u8>>()).await;
    let moment = SystemTime::UNIX_EPOCH + Duration::from_micros(1_709_209_815_250_001);
    comes_back(&client, "timestamptz", moment).await;
    comes_back(&client, "timestamp", moment).await;
    comes_back(&client, "integer[]", vec![Some(1), None, Some(i32::MAX)]).await;
    comes_back(&client, "text[]", vec![Some("NULL".to_owned()), None, Some("a,b\"".to_owned())]).await;
    comes_back(&client, "double precision[]", Vec::<f64>::new()).await;
    let row = client.query_one("SELECT $1::double precision", &[&f64::NAN]).await.unwrap();
    assert!(row.get::<_, f64>(0).is_nan());
    // Types that this client knows no Rust type for here go as text in both directions.
    for (ty, text) in [
        ("numeric(20,5)", "-12345.67891"),
        ("numeric", "0.125"),
        ("date", "2024-02-29"),
        ("time", "23:59:59.999999"),
        ("uuid", "0188f5e4-5b0e-7c3a-9f64-2f8b5b1c7d21"),
        ("jsonb", "{\"a\": [1, null]}"),
        ("interval", "1 mon 2 days 03:04:05.000006"),
    ] {
        let row = client.query_one(&format!("SELECT $1::text::{ty}::text"), &[&text]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), text, "{ty}");
    }
}

async fn prepared_statements() {
    in_schema("prepared", |session, _| async move {
        let client = session.client;
        client
            .batch_execute("CREATE TABLE t (id integer NOT NULL, name varchar(20), price numeric(10,2))")
            .await
            .unwrap();
        let insert = client.prepare("INSERT INTO t (id, name) VALUES ($1, $2)").await.unwrap();
        assert_eq!(insert.params(), [Type::INT4, Type::VARCHAR]);
        assert!(insert.columns().is_empty());
        for id in 0..20 {
            assert_eq!(client.execute(&insert, &[&id, &format!("name {id}")]).await.unwrap(), 1);
        }
        let select = client.prepare("SELECT id, name, price FROM t WHERE id >= $1 ORDER BY id LIMIT $2").await.unwrap();
        assert_eq!(select.params(), [Type::INT4, Type::INT8]);
        let types: Vec<&Type> = select.columns().iter().map(tokio_postgres::Column::type_).collect();
        assert_eq!(types, [&Type::INT4, &Type::VARCHAR, &Type::NUMERIC]);
        assert!(select.columns()[0].table_oid().is_some());
        assert_eq!(select.columns()[1].column_id(), Some(2));
        for id in 0..18 {
            let rows = client.query(&select, &[&id, &2i64]).await.unwrap();
            let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
            assert_eq!(ids, [id, id + 1]);
        }
        drop(select);
        assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 20);
    })
    .await;
}

async fn portals() {
    let mut client = connect().await.client;
    let transaction = client.transaction().await.unwrap();
    let first = transaction.bind("SELECT g FROM generate_series(1, $1::integer) AS g(g)", &[&1_000]).await.unwrap();
    let second = transaction.bind("SELECT -g FROM generate_series(1, 5) AS g(g)", &[]).await.unwrap();
    let mut seen = Vec::new();
    loop {
        let rows = transaction.query_portal(&first, 333).await.unwrap();
        if rows.is_empty() {
            break;
        }
        seen.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
        let between = transaction.query_portal(&second, 1).await.unwrap();
        assert!(between.len() <= 1);
    }
    assert_eq!(seen, (1..=1_000).collect::<Vec<i32>>());
    transaction.commit().await.unwrap();
}

async fn copy() {
    in_schema("copy", |session, _| async move {
        let client = session.client;
        client.batch_execute("CREATE TABLE t (id integer, name text)").await.unwrap();
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT csv)").await.unwrap();
        pin_mut!(sink);
        // Lines need not end where messages end.
        for part in ["1,one\n2,\"t", "wo\"\n3", ",\n"] {
            sink.send(Bytes::from(part)).await.unwrap();
        }
        assert_eq!(sink.finish().await.unwrap(), 3);
        let out: Vec<Bytes> =
            client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT").await.unwrap().try_collect().await.unwrap();
        assert_eq!(out.concat(), b"1\tone\n2\ttwo\n3\t\\N\n");

        // Binary in, binary out, by the client's own encoder.
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT binary)").await.unwrap();
        let writer = tokio_postgres::binary_copy::BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]);
        pin_mut!(writer);
        for id in 4..2_000 {
            writer.as_mut().write(&[&id, &Some(format!("binary {id}"))]).await.unwrap();
        }
        assert_eq!(writer.finish().await.unwrap(), 1_996);
        let out = client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT (FORMAT binary)").await.unwrap();
        let rows = tokio_postgres::binary_copy::BinaryCopyOutStream::new(out, &[Type::INT4, Type::TEXT]);
        let rows: Vec<_> = rows.try_collect().await.unwrap();
        assert_eq!(rows.len(), 1_999);
        assert_eq!(rows[2].get::<Option<&str>>(1), None);
        assert_eq!(rows[3].get::<Option<&str>>(1), Some("binary 4"));

        // Given up half way: nothing stays, and the connection goes on.
        {
            let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
            pin_mut!(sink);
            sink.send(Bytes::from("9999\tnever\n")).await.unwrap();
        }
        assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 1_999);
    })
    .await;
}

async fn pipelining() {
    let client = connect().await.client;
    let statement = client.prepare("SELECT $1::integer * 2").await.unwrap();
    // All are sent before the first answer is read.
    let numbers: Vec<i32> = (0..500).collect();
    let answers = future::try_join_all(numbers.iter().map(|number| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[number]).await.map(|row| row.get::<_, i32>(0)) }
    }))
    .await
    .unwrap();
    assert_eq!(answers, numbers.iter().map(|number| number * 2).collect::<Vec<_>>());
    // An error between two Syncs is that one's alone.
    let (first, failing, last) = future::join3(
        client.query_one("SELECT 1", &[]),
        client.query_one("SELECT 1 / 0", &[]),
        client.query_one("SELECT 3", &[]),
    )
    .await;
    assert_eq!(first.unwrap().get::<_, i32>(0), 1);
    assert_eq!(failing.unwrap_err().code(), Some(&SqlState::DIVISION_BY_ZERO));
    assert_eq!(last.unwrap().get::<_, i32>(0), 3);
}

async fn errors() {
    let client = connect().await.client;
    for (sql, code) in [
        ("SELEC 1", SqlState::SYNTAX_ERROR),
        ("SELECT * FROM nope", SqlState::UNDEFINED_TABLE),
        ("SELECT nope", SqlState::UNDEFINED_COLUMN),
        ("SELECT 2147483647 + 1", SqlState::NUMERIC_VALUE_OUT_OF_RANGE),
        ("SELECT 'x'::integer", SqlState::INVALID_TEXT_REPRESENTATION),
        ("SELECT nope(1)", SqlState::UNDEFINED_FUNCTION),
    ] {
        // By both protocols.
        assert_eq!(client.query(sql, &[]).await.unwrap_err().code(), Some(&code), "{sql}");
        assert_eq!(client.batch_execute(sql).await.unwrap_err().code(), Some(&code), "{sql}");
    }
    let error = client.query("SELECT 1 + nope", &[]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "column \"nope\" does not exist");
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(12)));
    assert_eq!(error.parsed_severity(), Some(tokio_postgres::error::Severity::Error));
}

async fn transactions() {
    in_schema("transactions", |session, schema| async move {
        let mut client = session.client;
        client.batch_execute("CREATE TABLE t (id integer)").await.unwrap();
        let count = format!("SELECT count(*) FROM {schema}.t");
        let other = connect().await.client;
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES ($1)", &[&1]).await.unwrap();
        assert_eq!(transaction.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 1);
        assert_eq!(other.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 0);
        transaction.commit().await.unwrap();
        assert_eq!(other.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 1);
        {
            // Dropped without a commit, it is rolled back.
            let transaction = client.transaction().await.unwrap();
            transaction.execute("INSERT INTO t VALUES (2)", &[]).await.unwrap();
        }
        assert_eq!(client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 1);
        // Several statements in one simple query are one transaction.
        let error =
            client.batch_execute("INSERT INTO t VALUES (3); SELECT 1 / 0; INSERT INTO t VALUES (4)").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
        assert_eq!(client.query_one(&count, &[]).await.unwrap().get::<_, i64>(0), 1);
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute("SELECT 1 / 0").await.unwrap_err();
        let error = client.batch_execute("SELECT 1").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
        client.batch_execute("ROLLBACK").await.unwrap();
    })
    .await;
}

async fn cancelling() {
    let client = connect().await.client;
    let token = client.cancel_token();
    let cancelled = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let at = Instant::now();
        token.cancel_query(NoTls).await.unwrap();
        at
    });
    let sql =
        "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c";
    let error = client.query(sql, &[]).await.unwrap_err();
    let stopped = Instant::now();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert!(stopped - cancelled.await.unwrap() < Duration::from_secs(1));
    assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}

async fn notices() {
    let session = connect().await;
    session.client.batch_execute("DROP TABLE IF EXISTS no_such_table; COMMIT").await.unwrap();
    let expected = [
        ("NOTICE".to_owned(), "table \"no_such_table\" does not exist, skipping".to_owned()),
        ("WARNING".to_owned(), "there is no transaction in progress".to_owned()),
    ];
    assert_eq!(*session.notices.lock().unwrap(), expected);
}

/// One test, so that the server is started once and is gone at its end; each part says its name.
#[test]
fn tokio_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    macro_rules! parts {
        ($($part:ident),*) => {
            $(
                println!("{}", stringify!($part));
                let part = runtime.block_on(async { tokio::spawn(tokio::time::timeout(LIMIT, $part())).await });
                let $part = match part {
                    Ok(Ok(())) => None,
                    Ok(Err(_)) => Some("it did not end in time".to_owned()),
                    Err(error) => Some(error.to_string()),
                };
            )*
            let failed: Vec<_> = [$((stringify!($part), $part)),*].into_iter().filter(|(_, why)| why.is_some()).collect();
            if let Some((mut process, _folder)) = server().process.lock().unwrap().take() {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            assert!(failed.is_empty(), "{failed:?}");
        };
    }
    parts!(parameters, prepared_statements, portals, copy, pipelining, errors, transactions, cancelling, notices);
}
