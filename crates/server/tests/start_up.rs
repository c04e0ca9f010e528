//! How the process starts, refuses to start, and stops: each test runs the binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

/// Longer than any start or stop takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn wharf(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wharf"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WHARF_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs to the end and expects a refusal: exit code 1 and exactly two lines on standard error, after log lines.
#[track_caller]
pub(crate) fn refused(command: &mut Command) -> (String, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    let mut lines = stderr.lines().skip_while(|line| !line.starts_with("wharf: "));
    let what = lines.next().unwrap_or_else(|| panic!("no reason given: {stderr}"));
    let remedy = lines.next().unwrap();
    assert_eq!(lines.next(), None, "{stderr}");
    (what["wharf: ".len()..].to_owned(), remedy.strip_prefix("hint: ").unwrap().to_owned())
}

/// A server that is up, killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    /// What it printed before `listening on`.
    announced: Vec<String>,
    _stdout: BufReader<ChildStdout>,
}

impl Server {
    /// Starts and waits for `listening on`.
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut announced = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "ended before it listened: {:?}", child.wait());
            match line.trim_end().strip_prefix("listening on ") {
                Some(address) => {
                    return Server { child, address: address.parse().unwrap(), announced, _stdout: stdout };
                }
                None => announced.push(line.trim_end().to_owned()),
            }
        }
    }

    pub(crate) fn serve(folder: &Path) -> Server {
        Server::serve_with(folder, &[])
    }

    /// With some keys of the configuration, as variables of the environment.
    pub(crate) fn serve_with(folder: &Path, variables: &[(&str, &str)]) -> Server {
        let mut command = wharf(folder);
        command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust"]).envs(variables.iter().copied());
        Server::start(&mut command)
    }

    /// What followed these words in a line that was printed before `listening on`.
    #[track_caller]
    pub(crate) fn announced(&self, words: &str) -> String {
        let found = self.announced.iter().find_map(|line| line.strip_prefix(words));
        found.unwrap_or_else(|| panic!("no line \"{words}..\" in {:?}", self.announced)).to_owned()
    }

    /// Reads standard error, which has to be piped, to its end.
    pub(crate) fn stderr(&mut self) -> std::thread::JoinHandle<String> {
        let mut stderr = self.child.stderr.take().unwrap();
        std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "does not stop");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn connect(&self, password: &str) -> Result<Client, tokio_postgres::Error> {
        self.connect_as("wharf", password).await
    }

    pub(crate) async fn connect_as(&self, user: &str, password: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config(user, password).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How to connect.
    pub(crate) fn config(&self, user: &str, password: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.host(self.address.ip().to_string()).port(self.address.port());
        config.user(user).dbname("wharf").password(password);
        config
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn an_unknown_key_is_refused_with_file_line_and_the_nearest() {
    let folder = folder();
    write(&folder, "wharf.toml", "[postgres]\nlisten_address = \"127.0.0.1:0\"\n");
    let (what, remedy) = refused(wharf(folder.path()).args(["serve", "--config", "wharf.toml"]));
    assert_eq!(what, "wharf.toml:2: unknown configuration key postgres.listen_address");
    assert_eq!(remedy, "did you mean postgres.listen? conf/wharf.toml lists every key");
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused() {
    let folder = folder();
    let (what, _) = refused(wharf(folder.path()).args(["serve", "--config", "missing.toml"]));
    assert!(what.starts_with("cannot read missing.toml: "), "{what}");
}

#[test]
fn an_open_address_is_refused_and_nothing_is_created() {
    let folder = folder();
    let (what, remedy) = refused(wharf(folder.path()).args(["serve", "--listen", "0.0.0.0:0"]));
    assert!(what.contains("without TLS"), "{what}");
    assert!(remedy.contains("allow_insecure_listen"), "{remedy}");
    assert!(!folder.path().join("wharf-data").exists());
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (what, remedy) = refused(wharf(folder.path()).args(["serve", "--listen", &address]));
    assert!(what.starts_with(&format!("cannot listen on {address}: ")), "{what}");
    assert!(remedy.contains("--listen"), "{remedy}");
}

#[test]
fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let folder = folder();
    let first = Server::serve(folder.path());
    let (what, _) = refused(wharf(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]));
    assert!(what.ends_with(&format!("is locked by process {}", first.child.id())), "{what}");
    TcpStream::connect(first.address).unwrap();
}

#[test]
fn a_corrupt_catalog_is_refused() {
    let folder = folder();
    drop(Server::serve(folder.path()));
    let catalog = folder.path().join("wharf-data/catalog");
    let spoiled = spoil(&catalog);
    assert!(spoiled > 0, "the catalog has files");
    let (what, remedy) = refused(wharf(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]));
    assert!(what.contains("catalog"), "{what}");
    assert!(remedy.contains("Restore"), "{remedy}");
}

/// Overwrites every file under a folder with bytes that are nobody's format, and counts them.
fn spoil(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += spoil(&path);
        } else {
            let length = std::fs::metadata(&path).unwrap().len().max(64) as usize;
            std::fs::write(&path, vec![0xA5; length]).unwrap();
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn the_first_start_prints_a_password_once_and_asks_for_it() {
    let folder = folder();
    let serve = || Server::start(wharf(folder.path()).args(["serve", "--listen", "127.0.0.1:0"]));
    let mut first = serve();
    let line = first.announced.iter().find(|line| line.contains("password")).expect("a password is printed").clone();
    let password = line.split_whitespace().skip_while(|word| *word != "password").nth(1).unwrap().to_owned();
    assert!(password.len() >= 20, "{line}");

    let refused = first.connect("not the password").await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code().to_owned()).as_deref(), Some("28P01"));
    let client = first.connect(&password).await.unwrap();
    let row = client.query_one("SELECT current_user::text, current_database()::text", &[]).await.unwrap();
    assert_eq!((row.get::<_, String>(0), row.get::<_, String>(1)), ("wharf".to_owned(), "wharf".to_owned()));
    drop(client);
    first.signal("-TERM");
    assert!(first.wait().success());

    let second = serve();
    let [catalog] = second.announced.as_slice() else { panic!("{:?}", second.announced) };
    assert!(catalog.starts_with("Iceberg catalog on http://127.0.0.1:"), "{catalog}");
    second.connect(&password).await.unwrap();
}

#[tokio::test]
async fn the_first_password_can_be_given() {
    let folder = folder();
    let mut command = wharf(folder.path());
    let server = Server::start(command.args(["serve", "--listen", "127.0.0.1:0"]).env("WHARF_PASSWORD", "tell nobody"));
    assert!(server.announced.iter().all(|line| !line.contains("tell nobody")), "{:?}", server.announced);
    server.connect("tell nobody").await.unwrap();
    server.connect("something else").await.unwrap_err();
}

#[test]
fn trust_is_said_loudly() {
    let folder = folder();
    let stderr = folder.path().join("stderr");
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust"]);
    let server = Server::start(command.stderr(std::fs::File::create(&stderr).unwrap()));
    drop(server);
    let said = std::fs::read_to_string(&stderr).unwrap();
    assert!(said.contains("WARN") && said.contains("without a password"), "{said}");
}

#[tokio::test]
async fn sigterm_lets_a_running_statement_end() {
    let folder = folder();
    let mut server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    let running = tokio::spawn(async move { client.query_one("SELECT 1 WHERE pg_sleep(2) IS NOT NULL", &[]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal("-TERM");
    let row = running.await.unwrap().unwrap();
    assert_eq!(row.get::<_, i32>(0), 1);
    assert!(server.wait().success());
}

#[tokio::test]
async fn a_statement_that_outlasts_the_shutdown_timeout_is_cancelled() {
    let folder = folder();
    let mut command = wharf(folder.path());
    command.args(["serve", "--listen", "127.0.0.1:0", "--auth", "trust"]);
    let mut server = Server::start(command.env("WHARF_SERVER__SHUTDOWN_TIMEOUT_MS", "300"));
    let client = server.connect("").await.unwrap();
    let running = tokio::spawn(async move { client.query("SELECT pg_sleep(600)", &[]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.signal("-INT");
    assert!(server.wait().success());
    running.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_kill() {
    let folder = folder();
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    client.batch_execute("CREATE TABLE kept (a integer); INSERT INTO kept VALUES (1), (2)").await.unwrap();
    // Dropping kills as kill -9 does.
    drop(server);
    let server = Server::serve(folder.path());
    let client = server.connect("").await.unwrap();
    let row = client.query_one("SELECT count(*), sum(a) FROM kept", &[]).await.unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (2, 3));
}

#[test]
fn failpoints_are_listed_and_only_known_ones_are_armed() {
    let folder = folder();
    let listed = wharf(folder.path()).arg("failpoints").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().count() > 3, "{listed}");
    let mut command = wharf(folder.path());
    let (what, _) =
        refused(command.args(["serve", "--listen", "127.0.0.1:0"]).env("WHARF_FAILPOINTS", "nowhere=abort"));
    assert_eq!(what, "WHARF_FAILPOINTS: unknown failpoint nowhere");
}

#[test]
fn tls_is_offered_when_it_is_configured() {
    let folder = folder();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = write(&folder, "certificate.pem", &certified.cert.pem());
    let key = write(&folder, "key.pem", &certified.signing_key.serialize_pem());
    let offered = |server: &Server| {
        let mut socket = TcpStream::connect(server.address).unwrap();
        // SSLRequest
        socket.write_all(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]).unwrap();
        let mut answer = [0];
        socket.read_exact(&mut answer).unwrap();
        answer[0]
    };
    let mut command = wharf(folder.path());
    // With TLS an address that others can reach is no longer refused.
    command.args(["serve", "--listen", "0.0.0.0:0"]);
    command.env("WHARF_POSTGRES__TLS_CERTIFICATE_FILE", &certificate).env("WHARF_POSTGRES__TLS_KEY_FILE", &key);
    let mut server = Server::start(&mut command);
    server.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(offered(&server), b'S');
    drop(server);
    assert_eq!(offered(&Server::serve(folder.path())), b'N');

    std::fs::write(&key, "no key").unwrap();
    let (what, _) = refused(&mut command);
    assert!(what.contains("key.pem"), "{what}");
}

#[test]
fn the_demo_loads_once_and_runs_every_query() {
    let folder = folder();
    let demo = |scale: &str| {
        let mut command = wharf(folder.path());
        command.args(["demo", "--exit", "--listen", "127.0.0.1:0", "--scale", scale]);
        command
    };
    let run = |scale: &str| {
        let output = demo(scale).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run("0.01");
    for query in 1..=22 {
        assert!(first.lines().any(|line| line.starts_with(&format!("q{query:02} "))), "{first}");
    }
    // The sizes that do not depend on the scale: Q1 has four groups, Q4 five, Q22 seven.
    for (query, rows) in [("q01", "4"), ("q04", "5"), ("q22", "7")] {
        let line = first.lines().find(|line| line.starts_with(query)).unwrap();
        assert_eq!(line.split_whitespace().nth(1), Some(rows), "{line}");
    }
    assert!(first.lines().any(|line| line.starts_with("lineitem ") && line.contains(" 60175 rows ")), "{first}");
    assert!(first.contains("psql -h 127.0.0.1 -p "), "{first}");
    assert!(!first.contains("password"), "nobody is asked for one: {first}");

    let second = run("0.01");
    assert!(second.contains("is there already") && !second.contains("lineitem "), "{second}");
    let (what, remedy) = refused(&mut demo("0.02"));
    assert!(what.contains("holds TPC-H at scale 0.01, not 0.02"), "{what}");
    assert!(remedy.contains("--scale 0.01"), "{remedy}");
}
