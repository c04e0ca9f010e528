#![allow(clippy::unwrap_used)]
use super::*;

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_file(
    text: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Config, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wharf.toml");
    std::fs::write(&path, text).unwrap();
    let values = flags.iter().map(|(flag, key, value)| (*flag, *key, (*value).to_owned())).collect();
    let flags = Flags { config_file: Some(path), values };
    load(&Config::default(), environment(variables), &flags).map_err(|failure| {
        Failure::new(failure.what().replace(&folder.path().display().to_string(), ""), failure.remedy())
    })
}

#[track_caller]
fn refused(text: &str, variables: &[(&str, &str)], what: &str, remedy: &str) {
    let failure = with_file(text, variables, &[]).unwrap_err();
    assert_eq!((failure.what(), failure.remedy()), (what, remedy));
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

#[test]
fn the_checked_in_file_says_the_defaults_and_every_key() {
    let text = std::fs::read_to_string(repository("conf/wharf.toml")).unwrap();
    let flags = Flags { config_file: Some(repository("conf/wharf.toml")), values: Vec::new() };
    assert_eq!(load(&Config::default(), Vec::new(), &flags).unwrap(), Config::default());

    let document: toml::Table = text.parse().unwrap();
    for (key, default) in sources::known_keys(&Config::default()) {
        let (section, name) = key.split_once('.').expect("every key is in a section");
        let written = document.get(section).and_then(|section| section.get(name));
        let written = written.unwrap_or_else(|| panic!("conf/wharf.toml lacks {key}"));
        let default = toml::Value::try_from(default).unwrap();
        assert_eq!(*written, default, "{key}");
    }
}

#[test]
fn every_key_of_the_checked_in_file_has_a_comment() {
    let text = std::fs::read_to_string(repository("conf/wharf.toml")).unwrap();
    let mut previous = "";
    for line in text.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_key || previous.starts_with('#'), "no comment above: {line}");
        previous = line;
    }
}

#[test]
fn later_sources_win() {
    let file = "[postgres]\nlisten = \"127.0.0.1:1\"\nmax_connections = 7\n[log]\nformat = \"json\"\n";
    let variables = [("WHARF_POSTGRES__LISTEN", "127.0.0.1:2"), ("WHARF_POSTGRES__MAX_CONNECTIONS", "8")];
    let config = with_file(file, &variables, &[("--listen", "postgres.listen", "127.0.0.1:3")]).unwrap();
    assert_eq!(config.postgres.listen, "127.0.0.1:3");
    assert_eq!(config.postgres.max_connections, 8);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.catalog, CatalogConfig::default());
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_and_its_line() {
    refused(
        "[postgres]\n# a comment\nlissten = \"127.0.0.1:1\"\n",
        &[],
        "/wharf.toml:3: unknown configuration key postgres.lissten",
        "did you mean postgres.listen? conf/wharf.toml lists every key",
    );
    refused(
        "max_portals = 5\n",
        &[],
        "/wharf.toml:1: unknown configuration key max_portals",
        "did you mean postgres.max_portals? conf/wharf.toml lists every key",
    );
    refused(
        "[postgresql]\nlisten = \"127.0.0.1:1\"\n",
        &[],
        "/wharf.toml:1: unknown configuration key postgresql",
        "did you mean postgres.listen? conf/wharf.toml lists every key",
    );
    refused(
        "",
        &[("WHARF_LOG__FORMATT", "json")],
        "WHARF_LOG__FORMATT: unknown configuration key log.formatt",
        "did you mean log.format? conf/wharf.toml lists every key",
    );
}

#[test]
fn a_variable_with_one_underscore_is_not_silently_ignored() {
    refused(
        "",
        &[("WHARF_POSTGRES_LISTEN", "127.0.0.1:1")],
        "WHARF_POSTGRES_LISTEN sets nothing: section and key are parted by two underscores",
        "write WHARF_POSTGRES__LISTEN instead",
    );
    // What an orchestrator sets for a service named wharf is none of our business.
    with_file("", &[("WHARF_PORT_5439_TCP", "tcp://10.0.0.1:5439"), ("WHARF_PASSWORD", "x")], &[]).unwrap();
}

#[test]
fn values_of_the_wrong_kind_are_refused_where_they_stand() {
    for wrong in ["\"many\"", "1.5", "-1", "[1]", "true"] {
        refused(
            &format!("[postgres]\nmax_connections = {wrong}\n"),
            &[],
            "/wharf.toml:2: postgres.max_connections does not take this value",
            "set it to a whole number, 0 or more",
        );
    }
    refused(
        "[postgres]\nlisten = 5439\n",
        &[],
        "/wharf.toml:2: postgres.listen does not take this value",
        "set it to a text in quotes",
    );
    refused(
        "",
        &[("WHARF_POSTGRES__ALLOW_INSECURE_LISTEN", "yes")],
        "WHARF_POSTGRES__ALLOW_INSECURE_LISTEN: postgres.allow_insecure_listen does not take this value",
        "set it to true or false",
    );
    refused(
        "[postgres]\nauthentication = \"md5\"\n",
        &[],
        "/wharf.toml:2: postgres.authentication = \"md5\" is not known",
        "choose one of scram-sha-256, trust",
    );
}

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    let failure = with_file("[postgres]\nlisten = \n", &[], &[]).unwrap_err();
    assert!(failure.what().starts_with("/wharf.toml:2: "), "{failure}");
}

#[test]
fn an_address_that_others_reach_wants_tls_and_a_password() {
    let listen = |listen: &str, more: &str| with_file(&format!("[postgres]\nlisten = \"{listen}\"\n{more}"), &[], &[]);
    let tls = "tls_certificate_file = \"c.pem\"\ntls_key_file = \"k.pem\"\n";
    let trust = "authentication = \"trust\"\n";

    for loopback in ["127.0.0.1:5439", "127.1.2.3:1", "[::1]:5439", "localhost:5439"] {
        listen(loopback, "").unwrap();
        listen(loopback, trust).unwrap();
    }
    for open in ["0.0.0.0:5439", "[::]:5439", "192.0.2.7:5439"] {
        assert!(listen(open, "").unwrap_err().what().contains("without TLS"), "{open}");
        assert!(listen(open, &format!("{tls}{trust}")).unwrap_err().what().contains("without a password"), "{open}");
        listen(open, tls).unwrap();
        listen(open, "allow_insecure_listen = true\n").unwrap();
        listen(open, &format!("allow_insecure_listen = true\n{trust}")).unwrap();
    }
    assert!(listen("127.0.0.1", "").unwrap_err().what().contains("is not an address and port"));
}

#[test]
fn a_certificate_needs_its_key() {
    let failure = with_file("[postgres]\ntls_certificate_file = \"c.pem\"\n", &[], &[]).unwrap_err();
    assert_eq!(failure.what(), "postgres.tls_certificate_file is set and postgres.tls_key_file is not");
}

#[test]
fn a_port_for_peers_that_others_reach_wants_certificates() {
    let peers = |text: &str| with_file(&format!("[peers]\nenabled = true\n{text}"), &[], &[]);
    let tls = "tls_authority_file = \"ca.pem\"\ntls_certificate_file = \"n.pem\"\ntls_key_file = \"n.key.pem\"\n";
    let open = "listen = \"192.0.2.7:5442\"\n";
    peers("").unwrap();
    assert!(peers(open).unwrap_err().what().contains("without TLS"));
    peers(&format!("{open}{tls}")).unwrap();
    peers(&format!("{open}allow_insecure_listen = true\n")).unwrap();
    // Not open, not dangerous.
    with_file(&format!("[peers]\n{open}"), &[], &[]).unwrap();

    let everywhere = format!("listen = \"0.0.0.0:5442\"\n{tls}");
    assert!(peers(&everywhere).unwrap_err().remedy().contains("peers.address"));
    peers(&format!("{everywhere}address = \"node1.example.com:5442\"\n")).unwrap();
    assert!(peers("address = \"node1.example.com\"\n").unwrap_err().what().contains("is not a host and port"));
    assert!(peers("max_message_bytes = 1\n").unwrap_err().what().contains("too small"));
}

#[test]
fn certificates_for_peers_come_together() {
    let refused = with_file("[peers]\ntls_key_file = \"k.pem\"\n", &[], &[]).unwrap_err();
    assert_eq!(refused.what(), "peers.tls_key_file is set and peers.tls_authority_file is not");
}

#[test]
fn whoever_joins_can_be_reached() {
    let refused = with_file("[peers]\njoin = \"node1:5442\"\n", &[], &[]).unwrap_err();
    assert_eq!(refused.what(), "peers.join is set and peers.enabled is false");
    let flags = [("--join", "peers.join", "node1:5442"), ("--join", "peers.enabled", "true")];
    assert_eq!(with_file("", &[], &flags).unwrap().peers.join, "node1:5442");
}

#[test]
fn voters_are_few_and_of_an_odd_number() {
    let voters = |number: usize| with_file(&format!("[catalog]\nmax_voters = {number}\n"), &[], &[]);
    for number in [1, 3, 5, 7, 9] {
        assert_eq!(voters(number).unwrap().catalog.max_voters, number);
    }
    for (number, what) in
        [(0, "is too small"), (2, "is an even number"), (8, "is an even number"), (11, "is too large")]
    {
        let refused = voters(number).unwrap_err();
        assert_eq!(refused.what(), format!("catalog.max_voters = {number} {what}"));
    }
    assert!(voters(4).unwrap_err().remedy().starts_with("set it to 1, 3, 5, 7 or 9"));
    let refused = with_file("[catalog]\nreplace_voter_after_ms = 999\n", &[], &[]).unwrap_err();
    assert_eq!(refused.what(), "catalog.replace_voter_after_ms = 999 is too small");
}

#[test]
fn the_warehouse_is_a_folder_of_the_data_unless_a_url_is_set() {
    let mut config = Config::default();
    assert_eq!(config.warehouse_url(Path::new("/data dir")).unwrap(), "file:///data%20dir/warehouse/");
    config.warehouse.url = "s3://bucket/prefix".to_owned();
    assert_eq!(config.warehouse_url(Path::new("/data")).unwrap(), "s3://bucket/prefix");
}

/// The tables of docs/configuration.md, made from conf/wharf.toml: one table a section, one row a key.
fn reference(conf: &str) -> String {
    let mut text = String::new();
    let mut comment = String::new();
    let mut section = String::new();
    for line in conf.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(words);
        } else if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
            text.push_str(&format!("\n### `[{section}]`\n\n| key | default | what it does |\n| --- | --- | --- |\n"));
        } else if let Some((key, value)) = line.split_once(" = ") {
            text.push_str(&format!("| `{section}.{key}` | `{value}` | {comment} |\n"));
        }
        if !line.starts_with("# ") {
            comment.clear();
        }
    }
    text
}

#[test]
fn the_documentation_has_every_key() {
    const BEGIN: &str = "<!-- made from conf/wharf.toml: UPDATE_DOCS=1 cargo test --release -p wharf-server -->\n";
    const END: &str = "\n<!-- end -->";
    let conf = std::fs::read_to_string(repository("conf/wharf.toml")).unwrap();
    let path = repository("docs/configuration.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("docs/configuration.md has the mark");
    let (written, after) = rest.split_once(END).expect("docs/configuration.md has the end mark");
    let expected = reference(&conf);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{expected}{END}{after}")).unwrap();
    } else {
        assert_eq!(written, expected, "run with UPDATE_DOCS=1 and read the difference");
    }
}
