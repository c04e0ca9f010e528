//! What a join on one node spares the scans on others.

use super::{count, engine, lines, number, run, session};

const WORKERS: usize = 3;

/// `f` has 200 rows of each of 1,000 keys, `d` three of the keys and one that is none of them.
const TABLES: &str = "CREATE TABLE f (k bigint NOT NULL, v bigint); CREATE TABLE d (k bigint, name text); \
    INSERT INTO f SELECT g % 1000, g FROM generate_series(1, 200000) AS g(g); \
    INSERT INTO d VALUES (5, 'a'), (77, 'b'), (999, 'b'), (5000, 'b'), (NULL, 'b')";

/// The groups are computed on all nodes, divided by key, before they meet `d`.
const JOIN: &str =
    "SELECT count(*), sum(s.n)::bigint FROM d JOIN (SELECT k, count(*) AS n FROM f GROUP BY k) AS s ON s.k = d.k";

#[tokio::test(flavor = "multi_thread")]
async fn scans_on_other_nodes_read_what_can_find_a_partner() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(WORKERS));
    let mut session = session(&engine).await;
    run(&mut session, TABLES).await.unwrap();
    run(&mut session, "SET wharf.distribute = 'on'").await.unwrap();
    let plan = lines(&mut session, &format!("EXPLAIN ANALYZE {JOIN}")).await;
    assert!(plan.iter().any(|line| line.contains("GatherKeysExec: keys=[k]")), "{plan:#?}");
    let of_partial = plan.iter().position(|line| line.contains("mode=Partial, gby=[k@")).unwrap();
    let scan = plan[of_partial..].iter().find(|line| line.contains("DistributedLeafExec")).unwrap();
    let (_, rows) = scan.split_once("output_rows=").unwrap();
    let rows = count(rows.split_once(',').unwrap().0);
    // Of 200,000.
    assert!(rows <= 600.0, "{scan}");
    // The first time, and from the plan that is kept.
    for _ in 0..3 {
        assert_eq!(number(&mut session, JOIN).await, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn joins_have_the_rows_they_have_on_one_node() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(WORKERS));
    let mut session = session(&engine).await;
    run(&mut session, TABLES).await.unwrap();
    let nothing =
        "SELECT count(*) FROM d JOIN (SELECT k, count(*) AS n FROM f GROUP BY k) AS s ON s.k = d.k WHERE d.name = 'x'";
    let known = [
        (nothing, 0),
        ("SELECT count(*) FROM (SELECT k, max(v) AS v FROM f GROUP BY k) AS s LEFT JOIN d ON s.k = d.k", 1000),
        ("SELECT count(*) FROM d LEFT JOIN (SELECT k, max(v) AS v FROM f GROUP BY k) AS s ON s.k = d.k", 5),
        ("SELECT count(*) FROM d WHERE NOT EXISTS (SELECT FROM f WHERE f.k = d.k)", 2),
        ("SELECT count(*) FROM f WHERE k IN (SELECT k FROM d GROUP BY k HAVING count(*) = 1)", 600),
        ("SELECT count(*) FROM f JOIN (SELECT k, max(v) AS v FROM f GROUP BY k) AS s ON s.k = f.k AND s.v = f.v", 1000),
    ];
    for distribute in ["off", "on"] {
        run(&mut session, &format!("SET wharf.distribute = '{distribute}'")).await.unwrap();
        for (sql, rows) in known {
            assert_eq!(number(&mut session, sql).await, rows, "{sql}, {distribute}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_whole_large_table_are_not_gathered() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(WORKERS));
    let mut session = session(&engine).await;
    let large = "CREATE TABLE large AS SELECT g::bigint AS k, g % 7 AS v FROM generate_series(1, 140000) AS g(g)";
    run(&mut session, &format!("{TABLES}; {large}; SET wharf.distribute = 'on'")).await.unwrap();
    let join = "SELECT count(*) FROM large JOIN (SELECT k, count(*) AS n FROM f GROUP BY k) AS s ON s.k = large.k";
    for (sql, gathers, rows) in [(join, false, 999), (&*format!("{join} WHERE large.v = 3"), true, 143)] {
        let plan = lines(&mut session, &format!("EXPLAIN {sql}")).await;
        assert!(plan.iter().any(|line| line.contains("Stage 1")), "{plan:#?}");
        assert_eq!(plan.iter().any(|line| line.contains("GatherKeysExec: keys=[k]")), gathers, "{plan:#?}");
        assert_eq!(number(&mut session, sql).await, rows, "{sql}");
    }
}
