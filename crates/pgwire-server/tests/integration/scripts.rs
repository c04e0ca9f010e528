//! Wire scripts: `tests/wire/*.txt` say what is sent and what must come back, message by message.
//!
//! A script is blocks separated by empty lines; lines that begin with `#` are comments. A first comment `# only: double`
//! or `# only: wharf` keeps a script from servers it is not meant for. The blocks:
//!
//! ```text
//! connect NAME=VALUE ..        begins another session; `protocol=3.2` chooses the protocol
//! send                         one message a line, all in one write
//! cancel                       a cancel request for the session, a moment later
//! until NAME ..                reads until these messages have come, in that order, and compares with what follows
//! ----                         (`closed` stands for the end of the connection; ParameterStatus is left out unless
//! LINES                         it is named)
//! ```
//!
//! By default the server is ours over the scripted engine. `WHARF_TEST_POSTGRES=host:port` runs the scripts against that
//! PostgreSQL, which is where the expectations come from, and `WHARF_TEST_SERVER=host:port` against any other server, such
//! as a whole Wharf. `WHARF_REWRITE=1` writes down what came instead of comparing.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::PgWireFrontendMessage as M;
use pgwire::messages::copy::{CopyData, CopyDone, CopyFail};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Flush, Parse, Sync};
use pgwire::messages::simplequery::Query;
use pgwire::messages::terminate::Terminate;

use crate::support::Server;
use crate::support::client::{Client, PARAMETERS};

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Double,
    Wharf,
    Postgres,
}

impl Target {
    /// Whether a script with `# only: name` is for this server.
    fn is_meant_by(self, name: &str) -> bool {
        match name {
            "double" => self == Target::Double,
            "wharf" => self != Target::Postgres,
            "postgres" => self == Target::Postgres,
            name => panic!("unknown target \"{name}\""),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_gets_the_answers_it_expects() {
    let environment = |name| std::env::var(name).ok().map(|address: String| resolve(&address));
    let (target, address, _server) = if let Some(address) = environment("WHARF_TEST_POSTGRES") {
        (Target::Postgres, address, None)
    } else if let Some(address) = environment("WHARF_TEST_SERVER") {
        (Target::Wharf, address, None)
    } else {
        let server = Server::trusting().await;
        (Target::Double, server.address, Some(server))
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.sort();
    assert!(scripts.len() > 10, "the scripts are there");
    let mut failures = Vec::new();
    for script in scripts {
        failures.extend(run(&script, target, address).await);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn resolve(address: &str) -> SocketAddr {
    address.to_socket_addrs().unwrap().next().unwrap()
}

/// Runs a script; gives what did not match.
async fn run(path: &Path, target: Target, address: SocketAddr) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let only = text.lines().find_map(|line| line.strip_prefix("# only: "));
    if only.is_some_and(|only| !target.is_meant_by(only.trim())) {
        return Vec::new();
    }
    let rewrite = std::env::var_os("WHARF_REWRITE").is_some();
    let mut client = None;
    let mut failures = Vec::new();
    let mut written = Vec::new();
    for block in text.trim_end().split("\n\n") {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let Some(directive) = lines.next() else {
            written.push(block.to_owned());
            continue;
        };
        let (word, arguments) = directive.split_once(' ').unwrap_or((directive, ""));
        if word == "connect" {
            client = Some(connect(address, arguments).await);
            written.push(block.to_owned());
            continue;
        }
        if client.is_none() {
            client = Some(connect(address, "").await);
        }
        let client = client.as_mut().unwrap();
        match word {
            "send" => {
                let mut bytes = BytesMut::new();
                lines.for_each(|line| encode(line, &mut bytes));
                client.send_raw(&bytes).await;
                written.push(block.to_owned());
            }
            "cancel" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                client.cancel().await;
                written.push(block.to_owned());
            }
            "until" => {
                let names: Vec<&str> = arguments.split(' ').collect();
                let mut came = client.until(&names).await;
                if !names.contains(&"ParameterStatus") {
                    came.retain(|line| !line.starts_with("ParameterStatus"));
                }
                let expected: Vec<&str> = block.lines().skip_while(|line| *line != "----").skip(1).collect();
                if came != expected && !rewrite {
                    failures.push(format!(
                        "{name}: {directive}\n expected:\n  {}\n came:\n  {}",
                        expected.join("\n  "),
                        came.join("\n  ")
                    ));
                }
                let head: Vec<&str> = block.lines().take_while(|line| *line != "----").collect();
                written.push(format!("{}\n----\n{}", head.join("\n"), came.join("\n")));
            }
            word => panic!("{name}: unknown directive \"{word}\""),
        }
    }
    if rewrite {
        std::fs::write(path, written.join("\n\n") + "\n").unwrap();
    }
    failures
}

/// Begins a session, and reads its first messages unless the script wants to see them.
async fn connect(address: SocketAddr, arguments: &str) -> Client {
    let mut client = Client::open(address).await;
    let mut parameters: Vec<(&str, &str)> = PARAMETERS.to_vec();
    let (mut minor, mut silent) = (0, true);
    for (name, value) in arguments.split_whitespace().filter_map(|argument| argument.split_once('=')) {
        match name {
            "protocol" => minor = value.strip_prefix("3.").unwrap().parse().unwrap(),
            "show" => silent = false,
            _ => {
                parameters.retain(|(other, _)| *other != name);
                parameters.push((name, value));
            }
        }
    }
    client.start(3, minor, &parameters).await;
    if silent {
        client.until(&["ReadyForQuery"]).await;
    }
    client
}

/// Encodes a line such as `Bind portal statement t:1,b:00000001,null 0,1`. A `-` stands for nothing.
fn encode(line: &str, out: &mut BytesMut) {
    let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut words = rest.split(' ');
    let mut word = || words.next().filter(|word| *word != "-").unwrap_or_default();
    let some = |name: &str| Some(name.to_owned());
    let message = match kind {
        "Query" => M::Query(Query::new(rest.to_owned())),
        "Parse" => {
            let (name, oids) = (some(word()), numbers(word()));
            let sql = rest.splitn(3, ' ').nth(2).unwrap_or_default();
            M::Parse(Parse::new(name, sql.to_owned(), oids))
        }
        "Bind" => {
            let (portal, statement) = (some(word()), some(word()));
            let (codes, values) = parameters(word());
            M::Bind(Bind::new(portal, statement, codes, values, numbers(word())))
        }
        "Describe" => M::Describe(Describe::new(word().as_bytes()[0], some(word()))),
        "Execute" => M::Execute(Execute::new(some(word()), word().parse().unwrap_or(0))),
        "Close" => M::Close(Close::new(word().as_bytes()[0], some(word()))),
        "Flush" => M::Flush(Flush::new()),
        "Sync" => M::Sync(Sync::new()),
        "CopyData" => M::CopyData(CopyData::new(unescape(rest))),
        "CopyDone" => M::CopyDone(CopyDone::new()),
        "CopyFail" => M::CopyFail(CopyFail::new(rest.to_owned())),
        "Terminate" => M::Terminate(Terminate::new()),
        // A call of a function without arguments.
        "FunctionCall" => return out.put_slice(b"F\0\0\0\x0e\0\0\0\x01\0\0\0\0\0\0"),
        // Hexadecimal digits, blanks between them.
        "Raw" => return out.put_slice(&hex(&rest.replace(' ', ""))),
        kind => panic!("unknown message \"{kind}\""),
    };
    message.encode(out).unwrap();
}

fn numbers<N: std::str::FromStr>(list: &str) -> Vec<N> {
    list.split(',').filter_map(|number| number.parse().ok()).collect()
}

/// Reads `t:text,b:hex,null`; the formats are given one each.
fn parameters(list: &str) -> (Vec<i16>, Vec<Option<Bytes>>) {
    let parameter = |text: &str| match text.split_once(':') {
        Some(("b", digits)) => (1, Some(Bytes::from(hex(digits)))),
        Some((_, text)) => (0, Some(unescape(text))),
        None => (0, None),
    };
    list.split(',').filter(|text| !text.is_empty()).map(parameter).unzip()
}

fn hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn unescape(text: &str) -> Bytes {
    Bytes::from(text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\"))
}
