//! One row in a hundred of lineitem deleted, updated and merged: rows all over the table, and rows that stand together.
//!
//! In each round every peer makes a copy of lineitem, unmeasured, and then runs all statements on it, each about other rows.

use super::Run;
use super::results::Results;
use super::tpch::{Competitor, changing_competitors};

/// A statement, and what it is called.
struct Change {
    name: &'static str,
    sql: &'static str,
}

/// TPC-H's order keys are the first 8 of every 32 numbers: 200 of every 800, of which 2 are one in a hundred.
const CHANGES: [Change; 5] = [
    Change {
        name: "delete-scattered",
        sql: "DELETE FROM changed WHERE l_orderkey % 800 < 2 AND l_shipdate < '1999-01-01'",
    },
    Change {
        name: "update-scattered",
        sql: "UPDATE changed SET l_quantity = l_quantity + 1, l_comment = 'changed' WHERE l_orderkey % 800 BETWEEN 96 AND 97",
    },
    Change {
        name: "merge",
        sql: "MERGE INTO changed AS t USING new_rows AS s \
              ON t.l_orderkey = s.l_orderkey AND t.l_linenumber = s.l_linenumber \
              WHEN MATCHED AND s.l_tax > 0.07 THEN DELETE \
              WHEN MATCHED THEN UPDATE SET l_quantity = s.l_quantity, l_comment = s.l_comment \
              WHEN NOT MATCHED THEN INSERT VALUES (s.l_orderkey, s.l_partkey, s.l_suppkey, s.l_linenumber, s.l_quantity, \
              s.l_extendedprice, s.l_discount, s.l_tax, s.l_returnflag, s.l_linestatus, s.l_shipdate, s.l_commitdate, \
              s.l_receiptdate, s.l_shipinstruct, s.l_shipmode, s.l_comment)",
    },
    Change {
        name: "delete-range",
        sql: "DELETE FROM changed WHERE l_orderkey BETWEEN (SELECT max(l_orderkey) / 100 * 20 FROM lineitem) \
              AND (SELECT max(l_orderkey) / 100 * 21 FROM lineitem)",
    },
    Change {
        name: "update-range",
        sql: "UPDATE changed SET l_discount = 0 WHERE l_orderkey BETWEEN (SELECT max(l_orderkey) / 100 * 70 FROM lineitem) \
              AND (SELECT max(l_orderkey) / 100 * 71 FROM lineitem)",
    },
];

/// The source of the MERGE: half of it is in the table, half of it is new.
const SOURCE: &str = "CREATE TABLE new_rows AS SELECT CASE WHEN l_orderkey % 800 = 192 THEN l_orderkey \
    ELSE l_orderkey + 100000000 END AS l_orderkey, l_partkey, l_suppkey, l_linenumber, l_quantity + 1 AS l_quantity, \
    l_extendedprice, l_discount, l_tax, l_returnflag, l_linestatus, l_shipdate, l_commitdate, l_receiptdate, \
    l_shipinstruct, l_shipmode, l_comment FROM lineitem WHERE l_orderkey % 800 BETWEEN 192 AND 193";

/// Measures the statements.
pub(super) fn measure(run: &Run, results: &mut Results) -> anyhow::Result<()> {
    let mut competitors = changing_competitors(run, results)?;
    for competitor in &mut competitors {
        competitor.run("DROP TABLE IF EXISTS new_rows")?;
        competitor.run(SOURCE)?;
    }
    for round in 0..=usize::from(run.arguments.rounds) {
        for index in Run::turns(round, competitors.len()) {
            let competitor = &mut competitors[index];
            prepare(competitor)?;
            for change in &CHANGES {
                match competitor.run(change.sql) {
                    Ok((milliseconds, _)) if round > 0 => results.time(change.name, &competitor.name, milliseconds),
                    Ok(_) => {}
                    Err(error) => results.disagree(format!("{}: {} failed: {error:#}", change.name, competitor.name)),
                }
            }
        }
    }
    let mut rows = Vec::with_capacity(competitors.len());
    for competitor in &mut competitors {
        // Only the rows of this answer are counted, so it has as many rows as the table has kinds of rows.
        let left = "SELECT l_orderkey, l_linenumber FROM changed WHERE l_orderkey % 100 < 10 OR l_orderkey > 100000000";
        rows.push((competitor.name.clone(), competitor.run(left)?.1));
        results.memory(&competitor.name, "dml", competitor.watch.peak());
    }
    for pair in rows.windows(2) {
        let [(first, expected), (name, count)] = pair else { continue };
        if count != expected {
            results.disagree(format!("dml: {name} has {count} rows, {first} has {expected}"));
        }
    }
    for change in &CHANGES {
        eprintln!("{}: {}", change.name, results.line(change.name));
    }
    Ok(())
}

fn prepare(competitor: &mut Competitor) -> anyhow::Result<()> {
    competitor.run("DROP TABLE IF EXISTS changed")?;
    competitor.run("CREATE TABLE changed AS SELECT * FROM lineitem")?;
    if competitor.name == "postgres" {
        competitor.run("VACUUM ANALYZE changed")?;
    }
    Ok(())
}
