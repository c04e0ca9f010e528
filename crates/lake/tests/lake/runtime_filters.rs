//! Rows are held against the filters of joins where that pays, and the answers are the same.

use datafusion::execution::session_state::SessionStateBuilder;
use wharf_lake::{PlaceRuntimeFilters, WriteOptions, commit};

use super::*;

const METRIC: &str = "rows_left_out_by_dynamic_filters=";

/// The sessions that do and do not hold rows against filters, over `t (k, v)` with 200,000 rows, where `k` is 0 to 9,999 or null and
/// every key is in every row group, and `few (k)` with three keys and a null.
async fn sessions(lake: &Lake) -> [SessionContext; 2] {
    let columns = [column("k", SqlType::BigInt, 1), column("v", SqlType::BigInt, 2)];
    let table = lake.table(&columns).await;
    let keys = (0..200_000).map(|i| (i % 1000 != 7).then_some(i % 10_000));
    let rows = batch([
        ("k", Arc::new(Int64Array::from_iter(keys)) as _),
        ("v", Arc::new(Int64Array::from_iter_values(0..200_000)) as _),
    ]);
    let options = WriteOptions { row_group_rows: 50_000, ..WriteOptions::default() };
    let files = write(&lake.warehouse, &table, [rows], options).await;
    let location = commit::append(&lake.warehouse, &table, files).await.unwrap();
    let table = lake.warehouse.load(&location).await.unwrap();
    let few = lake.table(&[column("k", SqlType::BigInt, 1)]).await;
    let keys = batch([("k", Arc::new(Int64Array::from(vec![Some(3), Some(5000), Some(9999), None])) as _)]);
    let few = append(&lake.warehouse, &few, keys).await.unwrap();
    let plain = session(&lake.warehouse, &table).await;
    plain.register_table("few", few.provider().await.unwrap()).unwrap();
    let filtering = SessionStateBuilder::new_from_existing(plain.state())
        .with_physical_optimizer_rule(Arc::new(PlaceRuntimeFilters::default()))
        .build();
    [SessionContext::new_with_state(filtering), plain]
}

async fn rows(session: &SessionContext, sql: &str) -> String {
    arrow::util::pretty::pretty_format_batches(&query(session, sql).await).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_far_above_leaves_out_rows_and_no_answer_changes() {
    let lake = Lake::new();
    let [filtering, plain] = sessions(&lake).await;
    let grouped = "(SELECT k, count(*) AS c, sum(v) AS s FROM t GROUP BY k)";
    let cases = [
        // Below an aggregation: all rows but sixty are left out, whatever else is asked of them.
        (format!("SELECT few.k, c, s FROM few JOIN {grouped} g ON g.k = few.k ORDER BY 1"), true),
        (format!("SELECT few.k, c, s FROM few JOIN {grouped} g ON g.k = few.k WHERE g.k > 4 ORDER BY 1"), true),
        // Below another join.
        ("SELECT count(*), sum(a.v) FROM t a JOIN t b ON a.v = b.v WHERE a.k IN (SELECT k FROM few)".to_owned(), true),
        // Right above the scan the join does it.
        ("SELECT few.k, sum(v) FROM few JOIN t ON t.k = few.k GROUP BY 1 ORDER BY 1".to_owned(), false),
        // Rows without a partner, and nulls, are wanted.
        (format!("SELECT count(*), sum(c), sum(few.k) FROM {grouped} g LEFT JOIN few ON g.k = few.k"), false),
        (format!("SELECT count(*), sum(c) FROM {grouped} g JOIN few ON g.k IS NOT DISTINCT FROM few.k"), true),
        (format!("SELECT count(*), sum(c) FROM {grouped} g WHERE k NOT IN (SELECT k FROM few)"), false),
    ];
    for (sql, left_out) in cases {
        assert_eq!(rows(&filtering, &sql).await, rows(&plain, &sql).await, "{sql}");
        let report = rows(&filtering, &format!("EXPLAIN ANALYZE {sql}")).await;
        let counted = report.split(METRIC).skip(1).any(|rest| !rest.starts_with("0,") && !rest.starts_with("0]"));
        assert_eq!(counted, left_out, "{sql}\n{report}");
    }
}
