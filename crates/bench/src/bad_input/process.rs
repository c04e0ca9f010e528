//! Two processes on one folder, and a server that is asked to end while it works.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::{Outcome, Setting, still_serves};
use crate::peers::wharf::Started;
use crate::workloads::wire::{Address, Wire};

/// The second process is refused and says why; the first does not notice.
pub(super) fn second_process(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let mut server = setting.start()?;
    let address = Address::parse(&server.url())?;
    let mut wire = Wire::connect(&address)?;
    wire.simple("CREATE TABLE t AS SELECT 1 AS one")?;
    let begun = Instant::now();
    let (status, output) = match setting.launch().data(server.data()).attempt()? {
        Started::Ended(status, output) => (status, output),
        Started::Ready(_) => bail!("it serves the same folder"),
    };
    ensure!(!status.success(), "it ended with {status}");
    ensure!(status.code().is_some(), "it crashed: {status}");
    ensure!(begun.elapsed() < Duration::from_secs(5), "it took {:?} to say so", begun.elapsed());
    let folder = server.data().display().to_string();
    ensure!(output.contains(&folder) && output.contains("lock"), "it does not say which folder is locked: {output:?}");
    ensure!(!output.contains("panicked"), "it panicked: {output}");
    wire.simple("INSERT INTO t VALUES (2)")?;
    still_serves(&mut server)?;
    // The refusal must not have freed what it did not own.
    ensure!(matches!(setting.launch().data(server.data()).attempt()?, Started::Ended(..)), "the third serves it");
    Ok(Outcome::Passed(output.lines().next().unwrap_or_default().trim().to_owned()))
}

/// A running query is answered after SIGTERM, newcomers are turned away, and the server ends cleanly.
pub(super) fn drain(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let server = setting.start()?;
    let address = Address::parse(&server.url())?;
    let mut wire = Wire::connect(&address)?;
    wire.simple("CREATE TABLE t (n integer)")?;
    // A query that runs for a while on this machine.
    let mut size: u64 = 1_000;
    let (sql, expected, alone) = loop {
        let sql = format!("SELECT count(*) FROM generate_series(1, {size}) a, generate_series(1, {size}) b");
        let begun = Instant::now();
        wire.simple(&sql)?;
        if begun.elapsed() > Duration::from_millis(1_500) {
            break (sql, size * size, begun.elapsed());
        }
        ensure!(size < 1 << 20, "no query takes long here");
        size = size * 3 / 2;
    };
    let mut idle = Wire::connect(&address)?;
    idle.simple("SELECT 1")?;
    let query = std::thread::spawn(move || wire.rows(&sql));
    std::thread::sleep(Duration::from_millis(400));
    let begun = Instant::now();
    server.ask_to_end();
    std::thread::sleep(Duration::from_millis(300));
    let newcomer = Wire::connect(&address);
    ensure!(newcomer.is_err(), "a newcomer is let in while the server ends");
    let answer = query.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
    let answered = begun.elapsed();
    ensure!(answer.1 == [[Some(expected.to_string())]], "the answer is {:?}, not {expected}", answer.1);
    let mut server = server;
    let Some(status) = server.wait(Duration::from_secs(10)) else {
        bail!("it has not ended 10 s after its last query: {}", server.log_tail(5));
    };
    ensure!(status.success(), "it ended with {status}: {}", server.log_tail(5));
    ensure!(idle.simple("SELECT 1").is_err(), "an idle session outlives the server");
    ensure!(TcpStream::connect(address.socket).is_err(), "the port is open after the end");
    Ok(Outcome::Passed(format!(
        "a query of {} ms was answered {} ms after SIGTERM, the process ended {} ms after it",
        alone.as_millis(),
        answered.as_millis(),
        begun.elapsed().as_millis()
    )))
}
