//! How many nodes read a table.

use super::{ROWS, engine, lines, run, session};

/// Of each stage of a query that has a scan, in the order of EXPLAIN: how many tasks it has, and what the scans give out.
async fn scans(session: &mut wharf_engine::Session, sql: &str) -> Vec<(usize, String)> {
    let (mut tasks, mut found) = (0, Vec::new());
    for line in lines(session, &format!("EXPLAIN {sql}")).await {
        if let Some((_, rest)) = line.split_once(" tasks=") {
            tasks = rest.split_once(',').unwrap().0.parse().unwrap();
        }
        if let (true, Some((_, rest))) = (line.contains(" t0: "), line.split_once("projection=[")) {
            found.push((tasks, rest.split_once(']').unwrap().0.to_owned()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_one_part_is_read_by_one_node_beside_a_larger_one() {
    let (engine, _folder) = engine().await;
    engine.fanout().join(engine.fanout().in_process(3));
    let mut session = session(&engine).await;
    run(&mut session, ROWS).await.unwrap();
    run(&mut session, "CREATE TABLE d AS SELECT 7 AS c; SET wharf.distribute = 'on'").await.unwrap();
    let joined = scans(&mut session, "SELECT count(*) FROM t JOIN d ON a = c").await;
    assert_eq!(joined, [(3, "a".to_owned()), (1, "c".to_owned())]);
    // By itself it is the largest.
    assert_eq!(scans(&mut session, "SELECT count(*) FROM d GROUP BY c").await, [(3, "c".to_owned())]);
}
