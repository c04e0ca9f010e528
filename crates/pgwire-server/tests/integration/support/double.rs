//! An engine that knows a handful of statements by heart and answers them as PostgreSQL does.
//!
//! It is there to test the protocol: its SQL is what the wire scripts use and nothing more, found by comparing texts.
//! Where PostgreSQL's behaviour shows on the wire (implicit blocks, failed blocks, deferred constraints, cancelling), it
//! behaves alike, so that the scripts can be run against both.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{
    ArrayRef, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray, new_null_array,
};
use arrow::datatypes::Schema;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wharf_catalog::SqlType;
use wharf_pgwire_server::backend::{
    Backend, CopyIn, CopyOut, Notice, Outcome, Prepared, ResultColumn, RowStream, Session, SessionStartup,
    TransactionStatus,
};
use wharf_values::{SqlError, SqlState, TextFormat, mapping};

/// The rows of a table `(a int, b text)`, or of one with a deferred unique constraint on `a`.
#[derive(Clone, Default)]
struct Table {
    rows: Vec<(Option<i32>, Option<String>)>,
    deferred_unique: bool,
}

type Tables = HashMap<String, Table>;

/// The engine.
#[derive(Default)]
pub(crate) struct Double {
    /// How many statements run at this moment.
    pub(crate) running: Arc<AtomicUsize>,
    /// How many sessions are open.
    pub(crate) sessions: Arc<AtomicUsize>,
    /// Verifiers by role.
    pub(crate) verifiers: Mutex<HashMap<String, String>>,
    /// What the sessions were opened with.
    pub(crate) startups: Mutex<Vec<SessionStartup>>,
}

/// Counts up, and down again when dropped.
struct Count(Arc<AtomicUsize>);

impl Count {
    fn new(counter: &Arc<AtomicUsize>) -> Count {
        counter.fetch_add(1, Ordering::SeqCst);
        Count(counter.clone())
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Double {
    type Session = DoubleSession;

    async fn scram_verifier(&self, role: &str) -> Result<Option<String>, SqlError> {
        Ok(self.verifiers.lock().get(role).cloned())
    }

    async fn open_session(self: &Arc<Self>, startup: SessionStartup) -> Result<DoubleSession, SqlError> {
        if startup.database == "missing" {
            return Err(SqlError::new(SqlState::INVALID_CATALOG_NAME, "database \"missing\" does not exist"));
        }
        self.startups.lock().push(startup);
        Ok(DoubleSession {
            engine: self.clone(),
            token: Arc::new(Mutex::new(CancellationToken::new())),
            statements: HashMap::new(),
            notices: Vec::new(),
            changed_settings: vec![
                ("server_version", "15.0 (double)".to_owned()),
                ("client_encoding", "UTF8".to_owned()),
            ],
            tables: Tables::new(),
            before: None,
            block: TransactionStatus::Idle,
            implicit: false,
            _count: Count::new(&self.sessions),
        })
    }
}

/// A session.
pub(crate) struct DoubleSession {
    engine: Arc<Double>,
    token: Arc<Mutex<CancellationToken>>,
    statements: HashMap<String, Option<Arc<DoublePrepared>>>,
    notices: Vec<Notice>,
    changed_settings: Vec<(&'static str, String)>,
    tables: Tables,
    /// The tables as they were when the block began.
    before: Option<Tables>,
    block: TransactionStatus,
    implicit: bool,
    _count: Count,
}

/// A statement the double knows.
#[derive(Clone, Debug)]
enum Known {
    /// `SELECT 1`
    One,
    /// `SELECT 1 AS a, 'two'::text AS b, NULL::int AS c`
    Three,
    /// `SELECT` without columns
    Nothing,
    /// `SELECT $1::type AS v`, or `SELECT $1 AS v`
    Echo(Option<SqlType>),
    /// `SELECT i FROM generate_series(1, n) AS g(i)`
    Series(i32),
    /// The same, failing with a division by zero after so many rows: `SELECT 10/(n - i) ..` is not needed as such
    SeriesThenError(i32),
    /// `SELECT count(*) FROM table`
    Count(String),
    /// `INSERT INTO table VALUES (..)`
    Insert(String, i32),
    /// `CREATE TEMP TABLE table (..)`
    Create(String, bool),
    /// `COPY table FROM STDIN`
    CopyIn(String),
    /// `COPY (..series..) TO STDOUT`
    CopyOut {
        rows: i32,
        format: &'static str,
    },
    /// `SELECT pg_sleep(n)`
    Sleep(f64),
    /// `SELECT 1/0`
    DivisionByZero,
    /// `DROP TABLE IF EXISTS no_such_table`
    DropMissing,
    /// `SET application_name = '..'`
    SetName(String),
    /// `BEGIN`, or its other name; the tag.
    Begin(&'static str),
    Commit,
    Rollback,
}

/// A prepared statement.
pub(crate) struct DoublePrepared {
    known: Known,
    parameters: Vec<SqlType>,
    columns: Option<Arc<[ResultColumn]>>,
}

impl Prepared for DoublePrepared {
    fn parameters(&self) -> &[SqlType] {
        &self.parameters
    }

    fn columns(&self) -> Option<&Arc<[ResultColumn]>> {
        self.columns.as_ref()
    }
}

fn column(name: &str, ty: SqlType) -> ResultColumn {
    let field = Arc::new(mapping::field(name, &ty, true));
    ResultColumn { name: name.to_owned(), ty, table_oid: 0, attribute: 0, field }
}

/// The text between `before` and `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

fn syntax_error(sql: &str) -> SqlError {
    let word = sql.split_whitespace().next().unwrap_or_default();
    SqlError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{word}\"")).with_position(1)
}

impl Known {
    fn parse(sql: &str) -> Result<Known, SqlError> {
        let number = |text: &str| text.trim().parse::<i32>().ok();
        let known = match sql {
            "SELECT 1" => Some(Known::One),
            "SELECT 1 AS a, 'two'::text AS b, NULL::int AS c" => Some(Known::Three),
            "SELECT" => Some(Known::Nothing),
            "SELECT 1/0" => Some(Known::DivisionByZero),
            "SELECT $1 AS v" => Some(Known::Echo(None)),
            "BEGIN" => Some(Known::Begin("BEGIN")),
            "START TRANSACTION" => Some(Known::Begin("START TRANSACTION")),
            "COMMIT" => Some(Known::Commit),
            "ROLLBACK" => Some(Known::Rollback),
            "DROP TABLE IF EXISTS no_such_table" => Some(Known::DropMissing),
            _ => None,
        };
        let known = known
            .or_else(|| Some(Known::Echo(Some(between(sql, "SELECT $1::", " AS v")?.parse().ok()?))))
            .or_else(|| Some(Known::Series(number(between(sql, "SELECT i FROM generate_series(1, ", ") AS g(i)")?)?)))
            .or_else(|| {
                let rows = between(sql, "SELECT 1/(i - ", ") AS q FROM generate_series(1, 100000) AS g(i)")?;
                Some(Known::SeriesThenError(number(rows)?))
            })
            .or_else(|| Some(Known::Count(sql.strip_prefix("SELECT count(*) FROM ")?.to_owned())))
            .or_else(|| Some(Known::Sleep(between(sql, "SELECT pg_sleep(", ")")?.parse().ok()?)))
            .or_else(|| {
                let (table, value) = between(sql, "INSERT INTO ", ")")?.split_once(" VALUES (")?;
                Some(Known::Insert(table.to_owned(), number(value)?))
            })
            .or_else(|| {
                let (table, columns) = sql.strip_prefix("CREATE TEMP TABLE ")?.split_once(' ')?;
                Some(Known::Create(table.to_owned(), columns.contains("DEFERRABLE")))
            })
            .or_else(|| Some(Known::CopyIn(between(sql, "COPY ", " FROM STDIN")?.to_owned())))
            .or_else(|| {
                let rest = sql.strip_prefix("COPY (SELECT i FROM generate_series(1, ")?;
                let (rows, rest) = rest.split_once(") AS g(i)) TO STDOUT")?;
                let format = if rest.contains("binary") { "binary" } else { "text" };
                Some(Known::CopyOut { rows: number(rows)?, format })
            })
            .or_else(|| Some(Known::SetName(between(sql, "SET application_name = '", "'")?.to_owned())));
        known.ok_or_else(|| syntax_error(sql))
    }

    fn columns(&self, parameters: &[SqlType]) -> Option<Vec<ResultColumn>> {
        let int = |name| column(name, SqlType::Integer);
        Some(match self {
            Known::One | Known::DivisionByZero => vec![int("?column?")],
            Known::Three => vec![int("a"), column("b", SqlType::Text), int("c")],
            Known::Nothing => vec![],
            Known::Echo(_) => vec![column("v", parameters[0].clone())],
            Known::Series(_) => vec![int("i")],
            Known::SeriesThenError(_) => vec![int("q")],
            Known::Count(_) => vec![column("count", SqlType::BigInt)],
            Known::Sleep(_) => vec![column("pg_sleep", SqlType::Void)],
            _ => return None,
        })
    }

    /// Statements that may run in a failed block.
    fn ends_block(&self) -> bool {
        matches!(self, Known::Commit | Known::Rollback)
    }
}

/// Statements as they run: `value` after a moment, or the cancellation.
async fn cancellable(token: &CancellationToken, seconds: f64) -> Result<(), SqlError> {
    tokio::select! {
        () = token.cancelled() => {
            Err(SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request"))
        }
        () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => Ok(()),
    }
}

impl DoubleSession {
    fn check_block(&self, known: &Known) -> Result<(), SqlError> {
        if self.block == TransactionStatus::Failed && !known.ends_block() {
            return Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    fn prepare_known(&self, known: Known, oids: &[u32]) -> Result<DoublePrepared, SqlError> {
        self.check_block(&known)?;
        if let Known::Count(table) | Known::Insert(table, _) | Known::CopyIn(table) = &known
            && !self.tables.contains_key(table)
        {
            let message = format!("relation \"{table}\" does not exist");
            return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
        }
        if matches!(known, Known::DivisionByZero) {
            return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero"));
        }
        let given = oids.first().and_then(|oid| SqlType::from_oid(*oid, -1));
        let parameters = match &known {
            Known::Echo(Some(ty)) => vec![ty.clone()],
            Known::Echo(None) => vec![given.unwrap_or(SqlType::Text)],
            _ => vec![],
        };
        let columns = known.columns(&parameters).map(Arc::from);
        Ok(DoublePrepared { known, parameters, columns })
    }

    async fn run_known(
        &mut self,
        prepared: &DoublePrepared,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome<DoubleCopyIn>, SqlError> {
        let known = &prepared.known;
        self.check_block(known)?;
        let token = CancellationToken::new();
        *self.token.lock() = token.clone();
        let count = Count::new(&self.engine.running);
        if self.before.is_none() {
            self.before = Some(self.tables.clone());
        }
        Ok(match known {
            Known::Begin(tag) => {
                self.before.get_or_insert_with(|| self.tables.clone());
                self.block = TransactionStatus::Active;
                self.implicit = false;
                Outcome::Complete((*tag).to_owned())
            }
            Known::Commit if self.block == TransactionStatus::Failed => {
                self.roll_back();
                Outcome::Complete("ROLLBACK".to_owned())
            }
            Known::Commit => {
                self.commit()?;
                Outcome::Complete("COMMIT".to_owned())
            }
            Known::Rollback => {
                self.roll_back();
                Outcome::Complete("ROLLBACK".to_owned())
            }
            Known::Create(table, deferred_unique) => {
                self.tables.insert(table.clone(), Table { rows: Vec::new(), deferred_unique: *deferred_unique });
                Outcome::Complete("CREATE TABLE".to_owned())
            }
            Known::Insert(table, value) => {
                self.tables.get_mut(table).unwrap().rows.push((Some(*value), None));
                Outcome::Complete("INSERT 0 1".to_owned())
            }
            Known::DropMissing => {
                let message = "table \"no_such_table\" does not exist, skipping";
                let error = SqlError::new(SqlState::SUCCESSFUL_COMPLETION, message);
                self.notices.push(Notice { severity: "NOTICE", error });
                Outcome::Complete("DROP TABLE".to_owned())
            }
            Known::SetName(name) => {
                self.changed_settings.push(("application_name", name.clone()));
                Outcome::Complete("SET".to_owned())
            }
            Known::CopyIn(table) => Outcome::CopyIn(DoubleCopyIn {
                table: table.clone(),
                token,
                rest: BytesMut::new(),
                rows: Vec::new(),
                _count: count,
            }),
            Known::CopyOut { rows, format } => Outcome::CopyOut(copy_out(*rows, *format == "binary")),
            _ => Outcome::Rows(self.rows(prepared, parameters, token, count).await?),
        })
    }

    async fn rows(
        &self,
        prepared: &DoublePrepared,
        parameters: Vec<Option<ArrayRef>>,
        token: CancellationToken,
        count: Count,
    ) -> Result<RowStream, SqlError> {
        let columns = prepared.columns.clone().unwrap();
        let schema = Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()));
        let batch = |arrays: Vec<ArrayRef>, rows: usize| {
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
                .map_err(|error| SqlError::internal(error.to_string()))
        };
        let int = |value: i32| Arc::new(Int32Array::from(vec![value])) as ArrayRef;
        let batches = match &prepared.known {
            Known::One => vec![batch(vec![int(1)], 1)],
            Known::Three => {
                let two = Arc::new(StringViewArray::from(vec!["two"])) as ArrayRef;
                let null = Arc::new(Int32Array::from(vec![None])) as ArrayRef;
                vec![batch(vec![int(1), two, null], 1)]
            }
            Known::Nothing => vec![batch(vec![], 1)],
            Known::Echo(_) => {
                let ty = mapping::arrow_type(&prepared.parameters[0]);
                let value = parameters.into_iter().next().unwrap();
                vec![batch(vec![value.unwrap_or_else(|| new_null_array(&ty, 1))], 1)]
            }
            Known::Count(table) => {
                let count = self.tables[table].rows.len() as i64;
                vec![batch(vec![Arc::new(Int64Array::from(vec![count]))], 1)]
            }
            Known::Sleep(seconds) => {
                // PostgreSQL's void is an empty text.
                let schema = Arc::new(Schema::new(vec![mapping::field("pg_sleep", &SqlType::Text, true)]));
                let value = Arc::new(StringViewArray::from(vec![""])) as ArrayRef;
                let batch = RecordBatch::try_new(schema, vec![value]).unwrap();
                let seconds = *seconds;
                // The rows are described before they are there.
                let batches = stream::once(async move {
                    let _count = count;
                    cancellable(&token, seconds).await.map(|()| batch)
                });
                return Ok(RowStream { columns, batches: batches.boxed(), tag: "SELECT".to_owned(), counts: true });
            }
            Known::Series(rows) => return Ok(series(columns, *rows, None, token, count)),
            Known::SeriesThenError(rows) => return Ok(series(columns, *rows, Some(*rows), token, count)),
            known => unreachable!("{known:?} gives no rows"),
        };
        let guarded =
            stream::iter(batches).chain(stream::once(async move { drop(count) }).filter_map(|()| async { None }));
        Ok(RowStream { columns, batches: guarded.boxed(), tag: "SELECT".to_owned(), counts: true })
    }

    fn commit(&mut self) -> Result<(), SqlError> {
        for (name, table) in self.tables.iter().filter(|(_, table)| table.deferred_unique) {
            let mut seen = std::collections::HashSet::new();
            if let Some((Some(double), _)) = table.rows.iter().find(|(a, _)| !seen.insert(*a)) {
                let error = SqlError::new(
                    SqlState::UNIQUE_VIOLATION,
                    format!("duplicate key value violates unique constraint \"{name}_a_key\""),
                )
                .with_detail(format!("Key (a)=({double}) already exists."));
                self.roll_back();
                return Err(error);
            }
        }
        self.before = None;
        self.block = TransactionStatus::Idle;
        self.implicit = false;
        Ok(())
    }

    fn roll_back(&mut self) {
        if let Some(before) = self.before.take() {
            self.tables = before;
        }
        self.block = TransactionStatus::Idle;
        self.implicit = false;
    }
}

/// Batches of a few rows each at first, then larger ones, so that limits fall within and between batches.
fn series(
    columns: Arc<[ResultColumn]>,
    rows: i32,
    fails_after: Option<i32>,
    token: CancellationToken,
    count: Count,
) -> RowStream {
    let schema = Arc::new(Schema::new(columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>()));
    let batches = stream::unfold((1_i32, count), move |(next, count)| {
        let (schema, token) = (schema.clone(), token.clone());
        async move {
            if token.is_cancelled() {
                let error = SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request");
                return Some((Err(error), (i32::MAX, count)));
            }
            let left = rows.saturating_sub(next - 1);
            if next == i32::MAX || left <= 0 {
                let error = SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero");
                return (fails_after.is_some() && next != i32::MAX).then_some((Err(error), (i32::MAX, count)));
            }
            let length = if next < 100 { 3 } else { 8192 }.min(left);
            let values = match fails_after {
                None => Int32Array::from_iter_values(next..next + length),
                Some(zero) => Int32Array::from_iter_values(
                    (next..next + length).map(|i| if i == zero { 0 } else { 1 / (i - zero) }),
                ),
            };
            // The row at which the division fails is not there any more.
            let length_ok = fails_after.map_or(length, |zero| length.min(zero - next));
            let values: ArrayRef = Arc::new(values.slice(0, length_ok as usize));
            // Others get their turn, as they would with a real engine.
            tokio::task::yield_now().await;
            let batch =
                RecordBatch::try_new(schema, vec![values]).map_err(|error| SqlError::internal(error.to_string()));
            Some((batch, (next + length, count)))
        }
    });
    RowStream { columns, batches: batches.boxed(), tag: "SELECT".to_owned(), counts: true }
}

fn copy_out(rows: i32, binary: bool) -> CopyOut {
    let mut chunks: Vec<(Vec<u8>, u64)> = Vec::new();
    if binary {
        chunks.push((b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec(), 0));
    }
    let all: Vec<i32> = (1..=rows).collect();
    for some in all.chunks(4) {
        let mut bytes = Vec::new();
        for i in some {
            match binary {
                true => {
                    bytes.extend_from_slice(b"\0\x01\0\0\0\x04");
                    bytes.extend_from_slice(&i.to_be_bytes());
                }
                false => bytes.extend_from_slice(format!("{i}\n").as_bytes()),
            }
        }
        chunks.push((bytes, some.len() as u64));
    }
    if binary {
        chunks.push((b"\xff\xff".to_vec(), 0));
    }
    let chunks = stream::iter(chunks.into_iter().map(|(bytes, rows)| Ok((Bytes::from(bytes), rows)))).boxed();
    CopyOut { binary, columns: 1, chunks }
}

/// A COPY into a table, as text.
pub(crate) struct DoubleCopyIn {
    table: String,
    token: CancellationToken,
    rest: BytesMut,
    rows: Vec<(Option<i32>, Option<String>)>,
    _count: Count,
}

impl CopyIn for DoubleCopyIn {
    fn binary(&self) -> bool {
        false
    }

    fn columns(&self) -> usize {
        2
    }

    fn has_failed(&self) -> bool {
        false
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SqlError> {
        cancellable(&self.token, 0.0).await?;
        self.rest.extend_from_slice(&bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line = self.rest.split_to(end + 1);
            let line = String::from_utf8(line[..end].to_vec()).unwrap();
            let (a, b) = line.split_once('\t').unwrap_or((&line, "\\N"));
            let context = |what| format!("COPY {}, line {}, column a: {what}", self.table, self.rows.len() + 1);
            let a = match a {
                "\\N" => None,
                a => Some(
                    a.parse()
                        .map_err(|_| SqlError::invalid_text("integer", a).with_context(context(format!("\"{a}\""))))?,
                ),
            };
            self.rows.push((a, Some(b.to_owned()).filter(|b| b != "\\N")));
        }
        Ok(())
    }

    async fn give_up(self, reason: SqlError) -> SqlError {
        reason.with_context(format!("COPY {}, line {}", self.table, self.rows.len() + 1))
    }
}

impl Session for DoubleSession {
    type Statement = String;
    type Prepared = DoublePrepared;
    type CopyIn = DoubleCopyIn;

    fn split(&self, sql: &str) -> Result<Vec<String>, SqlError> {
        let statements: Vec<String> = sql
            .split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty() && !text.starts_with("--"))
            .map(str::to_owned)
            .collect();
        statements.iter().try_for_each(|statement| Known::parse(statement).map(|_| ()))?;
        Ok(statements)
    }

    async fn prepare(&mut self, statement: &String, oids: &[u32]) -> Result<Arc<DoublePrepared>, SqlError> {
        Ok(Arc::new(self.prepare_known(Known::parse(statement)?, oids)?))
    }

    async fn execute(
        &mut self,
        prepared: &Arc<DoublePrepared>,
        parameters: Vec<Option<ArrayRef>>,
    ) -> Result<Outcome<DoubleCopyIn>, SqlError> {
        self.run_known(prepared, parameters).await
    }

    async fn run(&mut self, statement: &String) -> Result<Outcome<DoubleCopyIn>, SqlError> {
        let prepared = self.prepare_known(Known::parse(statement)?, &[])?;
        self.run_known(&prepared, Vec::new()).await
    }

    async fn finish_copy(&mut self, copy: DoubleCopyIn) -> Result<String, SqlError> {
        let rows = copy.rows.len();
        self.tables.get_mut(&copy.table).unwrap().rows.extend(copy.rows);
        Ok(format!("COPY {rows}"))
    }

    fn store_statement(&mut self, name: &str, prepared: Option<Arc<DoublePrepared>>) {
        self.statements.insert(name.to_owned(), prepared);
    }

    fn statement(&self, name: &str) -> Option<Option<Arc<DoublePrepared>>> {
        self.statements.get(name).cloned()
    }

    fn forget_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    fn cursor_columns(&self, _: &str) -> Option<Arc<[ResultColumn]>> {
        None
    }

    fn forget_cursor(&mut self, _: &str) {}

    fn statement_count(&self) -> usize {
        self.statements.len()
    }

    fn transaction_status(&self) -> TransactionStatus {
        self.block
    }

    fn fail(&mut self) {
        if self.block == TransactionStatus::Active {
            self.block = TransactionStatus::Failed;
        }
    }

    fn begin_implicit(&mut self) {
        if self.block == TransactionStatus::Idle {
            self.implicit = true;
        }
    }

    fn end_implicit(&mut self, commit: bool) -> impl Future<Output = Result<(), SqlError>> + Send {
        let result = match (self.block, commit) {
            (TransactionStatus::Idle, true) => self.commit(),
            (TransactionStatus::Idle, false) => {
                self.roll_back();
                Ok(())
            }
            _ => Ok(()),
        };
        std::future::ready(result)
    }

    fn settings_to_report(&mut self) -> Vec<(&'static str, String)> {
        std::mem::take(&mut self.changed_settings)
    }

    fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn text_format(&self) -> TextFormat {
        TextFormat::default()
    }

    fn cancel_token(&self) -> CancellationToken {
        self.token.lock().clone()
    }

    fn ended(&self) -> CancellationToken {
        CancellationToken::new()
    }

    fn canceller(&self) -> Arc<dyn Fn() + Send + Sync> {
        let token = self.token.clone();
        Arc::new(move || token.lock().cancel())
    }
}
