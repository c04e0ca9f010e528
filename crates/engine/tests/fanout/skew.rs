//! A join most of whose rows are of one key, or of none.

use wharf_engine::Session;

use super::{count, engine, lines, number, run, session};

/// Nodes.
const WORKERS: usize = 4;
/// Rows of the larger side.
const ROWS: i64 = 300_000;

/// Of `f`, eight of ten rows have the key 7, one has none, and one has a key of its own; `d` has 7 three times, a row without a key, and every
/// key of `f`. It is large enough not to be sent to every node.
const TABLES: &str = "CREATE TABLE f (k bigint, v bigint); CREATE TABLE d (k bigint, w bigint); \
    INSERT INTO f SELECT CASE WHEN g % 10 < 8 THEN 7 WHEN g % 10 = 9 THEN g % 100000 END, g FROM generate_series(1, 150000) AS g(g); \
    INSERT INTO f SELECT CASE WHEN g % 10 < 8 THEN 7 WHEN g % 10 = 9 THEN g % 100000 END, g \
        FROM generate_series(150001, 300000) AS g(g); \
    INSERT INTO d SELECT g, g * 2 FROM generate_series(1, 110000) AS g(g); \
    INSERT INTO d VALUES (7, 1), (7, 2), (NULL, 5)";

const JOIN: &str = "SELECT count(*) FROM f JOIN d ON f.k = d.k";

async fn tables() -> (Session, impl Sized) {
    let (engine, folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(WORKERS));
    let mut session = session(&engine).await;
    run(&mut session, TABLES).await.unwrap();
    (session, (engine, folder))
}

async fn set(session: &mut Session, distribute: &str, split: &str) {
    let settings = format!("SET wharf.distribute = '{distribute}'; SET wharf.split_hot_keys = {split}");
    run(session, &settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_with_a_hot_key_has_the_rows_it_has_on_one_node() {
    let (mut session, _kept) = tables().await;
    let known = [
        (JOIN, 750_000),
        ("SELECT count(*) FROM f LEFT JOIN d ON f.k = d.k", 780_000),
        ("SELECT count(*) FROM f LEFT JOIN d ON f.k = d.k WHERE d.k IS NULL", 30_000),
        ("SELECT count(*) FROM f LEFT JOIN d ON f.k = d.k AND d.w > 2", 300_000),
        ("SELECT count(*) FROM f WHERE EXISTS (SELECT FROM d WHERE d.k = f.k)", 270_000),
        ("SELECT count(*) FROM f WHERE NOT EXISTS (SELECT FROM d WHERE d.k = f.k)", 30_000),
        ("SELECT count(*) FROM f JOIN d ON f.k IS NOT DISTINCT FROM d.k", 780_000),
        ("SELECT count(*) FROM (SELECT f.k, count(*) AS n FROM f JOIN d ON f.k = d.k GROUP BY f.k) AS s", 10_001),
    ];
    for (distribute, split) in [("off", "on"), ("on", "on"), ("on", "off")] {
        set(&mut session, distribute, split).await;
        for (sql, rows) in known {
            assert_eq!(number(&mut session, sql).await, rows, "{sql}, {distribute}, {split}");
        }
    }
    // Values, and not only how many: of all columns, of one side, and of rows without a partner.
    for sql in [
        "SELECT sum(f.v * 3 + d.w)::bigint FROM f JOIN d ON f.k = d.k",
        "SELECT sum(v)::bigint FROM f WHERE EXISTS (SELECT FROM d WHERE d.k = f.k AND d.w > f.v % 3)",
        "SELECT sum(f.v + coalesce(d.w, -1))::bigint FROM f LEFT JOIN d ON f.k = d.k",
        "SELECT sum(f.v + d.w)::bigint FROM f JOIN d ON f.k = d.k WHERE f.v % 7 = d.w % 7",
    ] {
        set(&mut session, "off", "on").await;
        let whole = number(&mut session, sql).await;
        set(&mut session, "on", "on").await;
        assert_eq!(number(&mut session, sql).await, whole, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_hot_key_are_spread_over_all_nodes() {
    let (mut session, _kept) = tables().await;
    set(&mut session, "on", "off").await;
    let whole = lines(&mut session, &format!("EXPLAIN {JOIN}")).await;
    assert!(whole.iter().any(|line| line.contains("mode=Partitioned")), "{whole:#?}");
    assert!(!whole.iter().any(|line| line.contains("SaltExec")), "{whole:#?}");
    let busiest = busiest(&mut session).await;
    assert!(busiest > 2.0, "{busiest}");

    set(&mut session, "on", "on").await;
    let split = lines(&mut session, &format!("EXPLAIN {JOIN}")).await;
    for (begins, ends) in [("SaltExec: deal, key=k", "hot=2, ways=8"), ("SaltExec: copy, key=k", "hot=1, ways=8")] {
        let is_there = split.iter().any(|line| line.contains(begins) && line.ends_with(ends));
        assert!(is_there, "no {begins}, {ends} in {split:#?}");
    }
    let busiest = self::busiest(&mut session).await;
    assert!(busiest <= 1.5, "{busiest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_of_a_join_has_the_rows_it_has_on_one_node() {
    let (mut session, _kept) = tables().await;
    let again = "SELECT count(*) FROM f JOIN d ON f.k = d.k JOIN d AS e ON d.k = e.k";
    set(&mut session, "off", "on").await;
    let whole = number(&mut session, again).await;
    set(&mut session, "on", "on").await;
    assert_eq!(number(&mut session, again).await, whole);
    // Three times three partners of 240000, one of 30000.
    assert_eq!(whole, 240_000 * 9 + 30_000);
}

/// How many rows of the second side the busiest task of the join had, by how many it had had if all had had the same.
async fn busiest(session: &mut Session) -> f64 {
    let lines = lines(session, &format!("EXPLAIN (ANALYZE, VERBOSE) {JOIN}")).await;
    let join = lines.iter().find(|line| line.contains("HashJoinExec")).unwrap_or_else(|| panic!("{lines:#?}"));
    let (_, by_task) = join.split_once(" input_rows={").unwrap_or_else(|| panic!("{join}"));
    let (by_task, _) = by_task.split_once('}').unwrap();
    let rows: Vec<f64> = by_task.split(", ").map(|task| count(task.split_once(':').unwrap().1)).collect();
    assert_eq!(rows.len(), WORKERS, "{join}");
    let all: f64 = rows.iter().sum();
    // Rows without a key, one of ten, may be left out before.
    assert!((0.89 * ROWS as f64..1.01 * ROWS as f64).contains(&all), "{all}: {join}");
    rows.iter().copied().fold(0.0, f64::max) * WORKERS as f64 / all
}
