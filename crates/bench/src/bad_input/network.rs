//! Sockets that do not speak the protocol, speak it wrongly, say nothing, or are too many.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use super::raw::{End, Heard, Raw, framed, startup_packet};
use super::{Outcome, Setting, still_serves};
use crate::report::{mebibytes, memory_bytes, processor_ms};
use crate::workloads::wire::{Address, Wire, message, put_text};

/// A server that has something to say about nonsense says it by then.
const PATIENCE: Duration = Duration::from_secs(5);
/// Growth of a server that was only insulted.
const INSULT_LIMIT_BYTES: u64 = 64 << 20;

/// Bytes that are no startup packet: the server closes, with or without an error.
pub(super) fn garbage(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let mut server = setting.start()?;
    let mut packets: Vec<(String, Vec<u8>)> = vec![
        ("HTTP".into(), b"GET / HTTP/1.1\r\nHost: wharf\r\n\r\n".to_vec()),
        ("a TLS hello without SSLRequest".into(), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("a length of 0".into(), vec![0; 8]),
        ("a length of 4".into(), vec![0, 0, 0, 4]),
        ("a negative length".into(), vec![0xff; 8]),
        ("a length of 2 GiB".into(), vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0]),
        ("protocol 2.0".into(), framed(&[0, 2, 0, 0, b'x', 0])),
        ("protocol 4.0".into(), framed(&[0, 4, 0, 0, b'u', b's', b'e', b'r', 0, b'x', 0, 0])),
        ("no user".into(), framed(&[0, 3, 0, 0, 0])),
        ("a name without a value".into(), framed(b"\0\x03\0\0user\0")),
        ("no terminator".into(), framed(b"\0\x03\0\0user\0wharf")),
        ("a user that is not UTF-8".into(), framed(b"\0\x03\0\0user\0\xff\xfe\0\0")),
        ("a cancel request that is too short".into(), framed(&[0x04, 0xd2, 0x16, 0x2e, 0, 0])),
        ("a cancel request for nobody".into(), framed(&[0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2])),
        ("SSLRequest and then garbage".into(), [framed(&[0x04, 0xd2, 0x16, 0x2f]), vec![0xaa; 100]].concat()),
        ("SSLRequest ten times".into(), framed(&[0x04, 0xd2, 0x16, 0x2f]).repeat(10)),
    ];
    for index in 0..200 {
        let mut bytes = vec![0; setting.random.usize(1..2_000)];
        setting.random.fill(&mut bytes);
        packets.push((format!("random bytes {index}"), bytes));
    }
    let before = memory_bytes(server.pid()).unwrap_or(0);
    for (name, packet) in &packets {
        let mut raw = Raw::connect(server.address())?;
        raw.send(packet);
        raw.end_of_input();
        let heard = raw.listen(PATIENCE);
        ensure!(heard.end == End::Closed, "{name}: the connection stays open: {heard:?}");
        ensure!(!heard.kinds.contains('Z'), "{name}: it was let in");
        for error in &heard.errors {
            ensure!(error.code.len() == 5 && !error.message.is_empty(), "{name}: an error without a code: {error:?}");
            ensure!(!error.code.starts_with("XX"), "{name}: {error}");
        }
    }
    still_serves(&mut server)?;
    let grown = memory_bytes(server.pid()).unwrap_or(0).saturating_sub(before);
    ensure!(grown < INSULT_LIMIT_BYTES, "the server grew by {}", mebibytes(grown));
    Ok(Outcome::Passed(format!("{} kinds, each closed", packets.len())))
}

/// One message that is wrong after a good startup: an error with its code, and the session goes on or ends as PostgreSQL's does.
pub(super) fn broken_messages(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let mut server = setting.start()?;
    let messages: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("an unknown type", vec![b'!', 0, 0, 0, 4], &["08P01"]),
        ("a length below 4", vec![b'Q', 0, 0, 0, 3], &["08P01"]),
        ("a negative length", vec![b'Q', 0xff, 0xff, 0xff, 0xff], &["08P01"]),
        ("a query without its terminator", built(b'Q', b"SELECT 1"), &["08P01"]),
        ("a query with bytes after its terminator", built(b'Q', b"SELECT 1\0more"), &["08P01"]),
        ("a query that is not UTF-8", built(b'Q', b"SELECT '\xff\xfe'\0"), &["22021"]),
        ("a Parse that is cut", built(b'P', b"name\0SELECT 1\0\0"), &["08P01"]),
        ("a Parse with too many types", built(b'P', b"\0SELECT 1\0\x7f\xff"), &["08P01"]),
        ("a Bind that is cut", built(b'B', b"\0\0\0\x01"), &["08P01"]),
        ("a Bind of an unknown statement", built(b'B', b"\0nope\0\0\0\0\0\0\0"), &["26000"]),
        ("a Bind with a huge value", built(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"), &["08P01", "26000"]),
        ("an Execute of an unknown portal", built(b'E', b"nope\0\0\0\0\0"), &["34000"]),
        ("a Describe of an unknown kind", built(b'D', b"Zname\0"), &["08P01"]),
        ("a Close of an unknown kind", built(b'C', b"Zname\0"), &["08P01"]),
        ("a function call", built(b'F', b"\0\0\0\x01\0\0\0\0\0\0"), &["08P01", "0A000", "42883"]),
        ("a password that nobody asked for", built(b'p', b"secret\0"), &["08P01"]),
    ];
    for (name, bytes, codes) in &messages {
        let mut raw = Raw::enter(server.address())?;
        raw.send(bytes);
        // An extended message's error is followed by silence until Sync; PostgreSQL has closed by then in some cases.
        raw.send(&built(b'S', b""));
        let heard = raw.listen_until(PATIENCE, |kind| kind == b'Z');
        let Some(error) = heard.errors.first() else { bail!("{name}: no error: {heard:?}") };
        ensure!(codes.contains(&error.code.as_str()), "{name}: {error}, expected {codes:?}");
    }
    // A client that flushes and waits before it sends Sync hears of the error, too.
    let mut raw = Raw::enter(server.address())?;
    raw.send(&[built(b'P', b"\0SELEC 1\0\0\0"), built(b'H', b"")].concat());
    let heard = raw.listen_until(PATIENCE, |kind| kind == b'E');
    ensure!(heard.codes() == ["42601"], "an error that only Sync brings out: {heard:?}");
    // COPY data when there is no COPY is ignored.
    let mut raw = Raw::enter(server.address())?;
    for kind in [b'd', b'c', b'f'] {
        raw.send(&built(kind, if kind == b'f' { b"why\0" } else { b"" }));
    }
    raw.send(&built(b'Q', b"SELECT 1\0"));
    let heard = raw.listen_until(PATIENCE, |kind| kind == b'Z');
    ensure!(heard.kinds == "TDCZ", "COPY messages outside of COPY: {heard:?}");
    random_messages(setting, &mut server)?;
    still_serves(&mut server)?;
    Ok(Outcome::Passed(format!("{} kinds with their codes, and 300 random ones", messages.len() + 1)))
}

/// Well-framed messages of every type with random bodies: any answer but a bug's, a crash or a hang.
fn random_messages(setting: &mut Setting, server: &mut crate::peers::wharf::Wharf) -> anyhow::Result<()> {
    for _ in 0..300 {
        let mut raw = Raw::enter(server.address())?;
        let mut sent = Vec::new();
        for _ in 0..setting.random.usize(1..6) {
            let mut body = vec![0; setting.random.usize(0..60)];
            setting.random.fill(&mut body);
            if setting.random.bool() {
                body.push(0);
            }
            let kind = b"BCDEFHPQSdcf"[setting.random.usize(..12)];
            message(&mut sent, kind, |out| out.extend(&body));
        }
        raw.send(&sent);
        raw.send(&built(b'S', b""));
        raw.end_of_input();
        let heard = raw.listen(PATIENCE);
        ensure!(heard.end == End::Closed, "the connection stays open after {sent:x?}: {heard:?}");
        if let Some(bug) = heard.errors.iter().find(|error| error.code.starts_with("XX")) {
            bail!("{sent:x?} gave {bug}");
        }
        ensure!(server.is_running(), "the server died of {sent:x?}: {}", server.log_tail(5));
    }
    Ok(())
}

fn built(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, kind, |buffer| buffer.extend(body));
    out
}

/// A message longer than the limit is refused before its body is read; one below it is answered.
pub(super) fn oversized_messages(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let limit = 8usize << 20;
    let mut server = setting.launch().environment("WHARF_POSTGRES__MAX_MESSAGE_BYTES", &limit.to_string()).start()?;
    let before = memory_bytes(server.pid()).unwrap_or(0);
    let mut said = Vec::new();
    for length in [limit + 5, 1 << 30, 0x7fff_ffff] {
        let mut raw = Raw::enter(server.address())?;
        let mut head = vec![b'Q'];
        head.extend(u32::try_from(length)?.to_be_bytes());
        raw.send(&head);
        raw.send(&[b' '; 1000]);
        let heard = raw.listen(PATIENCE);
        let codes = heard.codes();
        ensure!(matches!(codes[..], ["08P01" | "54000" | "53200" | "0A000"]), "{length} bytes: {heard:?}");
        ensure!(heard.end == End::Closed, "{length} bytes: the connection cannot be in step any more: {heard:?}");
        said.push(format!("{} {}", heard.errors[0].code, heard.errors[0].message));
    }
    // Many at once, and each sends a good part of its body.
    let mut crowd = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::enter(server.address())?;
        let mut head = vec![b'Q'];
        head.extend(u32::try_from(limit)?.to_be_bytes());
        raw.send(&head);
        crowd.push(raw);
    }
    let grown = memory_bytes(server.pid()).unwrap_or(0).saturating_sub(before);
    ensure!(grown < INSULT_LIMIT_BYTES, "announced bodies alone took {}", mebibytes(grown));
    drop(crowd);

    let mut wire = Wire::connect(&Address::parse(&server.url())?)?;
    let text = "x".repeat(limit - 1000);
    let (_, rows) = wire.rows(&format!("SELECT length('{text}')"))?;
    ensure!(rows == [[Some(text.len().to_string())]], "a query below the limit gives {rows:?}");
    let mut nested = "(".repeat(100_000);
    nested.push('1');
    nested.push_str(&")".repeat(100_000));
    let error = wire.simple(&format!("SELECT {nested}")).expect_err("nobody parses this deep");
    still_serves(&mut server)?;
    said.push(format!("100,000 parentheses: {error:#}"));
    Ok(Outcome::Passed(said.join("; ")))
}

/// Clients that stop in the middle of the startup, or say nothing at all: others get in, and these are closed in time.
pub(super) fn half_open(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let timeout = Duration::from_secs(3);
    let milliseconds = timeout.as_millis().to_string();
    let mut server =
        setting.launch().environment("WHARF_POSTGRES__AUTHENTICATION_TIMEOUT_MS", &milliseconds).start()?;
    let packet = startup_packet();
    let begun = Instant::now();
    let mut stuck = Vec::new();
    for index in 0..100 {
        let mut raw = Raw::connect(server.address())?;
        // None of it, a part of its length, a part of its body, or all of an SSLRequest.
        match index % 4 {
            0 => {}
            1 => raw.send(&packet[..2]),
            2 => raw.send(&packet[..packet.len() / 2]),
            _ => raw.send(&framed(&[0x04, 0xd2, 0x16, 0x2f])),
        }
        stuck.push(raw);
    }
    still_serves(&mut server)?;
    // In the middle of a message, after the startup, nobody is hurried; but the end of the client is noticed.
    let mut raw = Raw::enter(server.address())?;
    raw.send(&[b'Q', 0, 0, 1, 0, b'S']);
    raw.end_of_input();
    ensure!(raw.listen(PATIENCE).end == End::Closed, "a client that has gone in the middle of a message is kept");
    let mut slowest = Duration::ZERO;
    for (index, raw) in stuck.iter_mut().enumerate() {
        let left = (timeout + PATIENCE).saturating_sub(begun.elapsed()).max(Duration::from_millis(100));
        let heard = raw.listen(left);
        // The answer to an SSLRequest is one byte that is no message.
        ensure!(heard.end == End::Closed, "connection {index} is open after {:?}: {heard:?}", begun.elapsed());
        slowest = slowest.max(begun.elapsed());
    }
    ensure!(slowest >= timeout / 2, "closed after {slowest:?}, before a slow client had its time");
    still_serves(&mut server)?;
    Ok(Outcome::Passed(format!("100 closed within {:.1} s, others were served meanwhile", slowest.as_secs_f64())))
}

/// A thousand sessions that do nothing.
pub(super) fn idle_connections(setting: &mut Setting) -> anyhow::Result<Outcome> {
    const COUNT: usize = 1_000;
    let limits = std::fs::read_to_string("/proc/self/limits")?;
    let files = limits.lines().find(|line| line.starts_with("Max open files"));
    let files: usize = files.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(0);
    if files < COUNT + 100 {
        return Ok(Outcome::Skipped(format!("only {files} open files are allowed (ulimit -n)")));
    }
    let mut server = setting.start()?;
    let address = Address::parse(&server.url())?;
    let mut first = Wire::connect(&address)?;
    first.simple("SELECT 1")?;
    let before = memory_bytes(server.pid()).unwrap_or(0);
    let begun = Instant::now();
    let mut idle: Vec<Wire> = (0..COUNT).map(|_| Wire::connect(&address)).collect::<Result<_, _>>()?;
    let connected = begun.elapsed();
    let after = memory_bytes(server.pid()).unwrap_or(0);
    // The newest, the oldest and a newcomer are all answered.
    for index in [0, COUNT / 2, COUNT - 1] {
        ensure!(idle[index].simple("SELECT 1")?.rows == 1);
    }
    still_serves(&mut server)?;
    drop(idle);
    let each = after.saturating_sub(before) / COUNT as u64;
    ensure!(each < 256 << 10, "{} KiB for each idle connection", each >> 10);
    // Their places are free again.
    let again: Vec<Wire> = (0..COUNT).map(|_| Wire::connect(&address)).collect::<Result<_, _>>()?;
    drop(again);
    still_serves(&mut server)?;
    Ok(Outcome::Passed(format!(
        "in {:.1} s; {} before, {} after, {} KiB each",
        connected.as_secs_f64(),
        mebibytes(before),
        mebibytes(after),
        each >> 10
    )))
}

/// A client that asks for much and reads nothing: the server's memory stays, and the work ends with the client.
pub(super) fn deaf_client(setting: &mut Setting) -> anyhow::Result<Outcome> {
    let mut server = setting.start()?;
    let before = memory_bytes(server.pid()).unwrap_or(0);
    let mut raw = Raw::enter(server.address())?;
    let mut query = Vec::new();
    message(&mut query, b'Q', |body| {
        put_text(body, "SELECT a, repeat('x', 200) FROM generate_series(1, 20000000) AS g(a)");
    });
    raw.send(&query);
    std::thread::sleep(Duration::from_secs(3));
    let grown = memory_bytes(server.pid()).unwrap_or(0).saturating_sub(before);
    ensure!(grown < 512 << 20, "rows that nobody reads took {}", mebibytes(grown));
    still_serves(&mut server)?;
    let heard = raw.listen_until(PATIENCE, |kind| kind == b'D');
    ensure!(heard.kinds == "TD", "there were no rows to read: {heard:?}");
    drop(raw);
    // Its work stops: the processor time of the server comes to rest.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let used = processor_ms(server.pid());
        std::thread::sleep(Duration::from_millis(500));
        if processor_ms(server.pid()).saturating_sub(used) <= 50 {
            break;
        }
        ensure!(Instant::now() < deadline, "the server still works for a client that has gone");
    }
    // More statements than the server reads ahead, from a client that does not read their answers.
    let mut raw = Raw::enter(server.address())?;
    let heard: Heard = {
        let mut query = Vec::new();
        message(&mut query, b'Q', |body| put_text(body, "SELECT repeat('y', 10000)"));
        let many = query.repeat(5_000);
        // Its buffers fill up and it cannot send on: that is the back pressure. A small server would read on.
        let _ = raw.try_send(&many[..many.len().min(64 * 1024)]);
        raw.listen(Duration::from_millis(500))
    };
    ensure!(
        heard.kinds.starts_with("TDCZ"),
        "pipelined queries gave {}",
        heard.kinds.chars().take(20).collect::<String>()
    );
    still_serves(&mut server)?;
    Ok(Outcome::Passed(format!("20 M rows unread took {}", mebibytes(grown))))
}
