//! Golden scripts for the catalog: every `tests/golden/*.txt` is run and must answer what it says.
//!
//! A script is blocks of command lines, `---`, and what they print, with an empty line between blocks. `WHARF_UPDATE_GOLDEN=1 cargo
//! test` writes what was printed into the files; a person reads the diff. The wording of errors and notices there was
//! compared with a real PostgreSQL 15. After every command the runner also holds what is true of all states: the invariants, that
//! encoding gives the state back, and that applying again gives the same.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;
use wharf_catalog::{
    Column, Command, CommentTarget, Effect, Envelope, ForeignOption, ForeignSource, ForeignValue, Relation,
    RelationKind, RelationName, State, TableChange, View, ViewText, apply, decode_envelope, decode_state,
    encode_envelope, encode_state, oids, state_hash,
};

#[test]
fn golden_scripts() {
    // Cargo runs tests in the folder of their package, wherever they were compiled.
    let folder = Path::new("tests/golden");
    let update = std::env::var_os("WHARF_UPDATE_GOLDEN").is_some();
    let mut paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    paths.sort();
    assert!(!paths.is_empty());
    let mut wrong = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let printed = run_script(&expected);
        if update {
            std::fs::write(&path, &printed).unwrap();
        } else if printed != expected {
            wrong.push(format!("{}:\n{}", path.display(), first_difference(&expected, &printed)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first_difference(expected: &str, printed: &str) -> String {
    let lines = expected.lines().zip(printed.lines()).enumerate();
    let Some((line, (expected, printed))) = lines.into_iter().find(|(_, (expected, printed))| expected != printed)
    else {
        return "one is longer than the other".to_owned();
    };
    format!("line {}\n  expected {expected}\n  printed  {printed}", line + 1)
}

/// Runs the commands of a script and returns it with what they printed.
fn run_script(script: &str) -> String {
    let mut runner = Runner::default();
    let mut out = String::new();
    let blocks = script.trim_end().split("\n\n");
    for (number, block) in blocks.enumerate() {
        let commands = block.split("\n---").next().unwrap_or_default();
        if number > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "{commands}");
        let lines = commands.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect::<Vec<_>>();
        if lines.is_empty() {
            continue;
        }
        out.push_str("---\n");
        for line in lines {
            out.push_str(&runner.run(line));
        }
    }
    out
}

#[derive(Default)]
struct Runner {
    state: State,
    requests: u128,
    database: u32,
    search_path: Vec<String>,
    last: Option<Envelope>,
    batch: Option<Vec<Command>>,
}

impl Runner {
    fn run(&mut self, line: &str) -> String {
        let words = line.split(' ').collect::<Vec<_>>();
        match words.as_slice() {
            ["search-path", path] => {
                self.search_path = path.split(',').map(str::to_owned).collect();
                String::new()
            }
            ["state"] => self.print_state(),
            ["hash"] => {
                state_hash(&self.state).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")) + "\n"
            }
            ["definitions"] => format!("definitions {}\n", self.state.definitions()),
            ["retry"] => {
                let last = self.last.clone().unwrap();
                self.apply(&last)
            }
            ["batch"] => {
                self.batch = Some(Vec::new());
                String::new()
            }
            ["end"] => {
                let commands = self.batch.take().unwrap();
                self.propose(Command::Batch(commands))
            }
            _ => {
                let command = self.command(&words);
                match &mut self.batch {
                    Some(batch) => {
                        batch.push(command);
                        String::new()
                    }
                    None => self.propose(command),
                }
            }
        }
    }

    fn propose(&mut self, command: Command) -> String {
        self.requests += 1;
        let envelope = Envelope {
            request_id: Uuid::from_u128(self.requests),
            now_ms: i64::try_from(self.requests).unwrap() * 1000,
            command,
        };
        self.last = Some(envelope.clone());
        self.apply(&envelope)
    }

    fn apply(&mut self, envelope: &Envelope) -> String {
        assert_eq!(&decode_envelope(&encode_envelope(envelope)).unwrap(), envelope);
        let (next, answer) = apply(&self.state, envelope);
        assert_eq!((next.clone(), answer.clone()), apply(&self.state, envelope), "apply is not a function");
        assert_eq!(next.check(), Ok(()));
        assert_eq!(decode_state(&encode_state(&next)).unwrap(), next);
        self.state = next;
        let mut out = String::new();
        match answer {
            Ok(answer) => {
                for notice in &answer.notices {
                    let _ = writeln!(out, "NOTICE {}: {}", notice.sqlstate, notice.message);
                    print_lines(&mut out, "DETAIL", notice.detail.as_deref());
                }
                if let (Effect::Created { oid }, 0) = (&answer.effect, self.database) {
                    self.database = *oid;
                }
                let _ = writeln!(out, "ok {}", print_effect(&answer.effect));
            }
            Err(error) => {
                let _ = writeln!(out, "ERROR {}: {error}", error.sqlstate());
                print_lines(&mut out, "DETAIL", error.detail().as_deref());
                print_lines(&mut out, "HINT", error.hint().as_deref());
            }
        }
        out
    }

    /// New texts of all views, as a rename brings them; none without the flag.
    fn view_texts(&self, wanted: bool) -> Vec<ViewText> {
        let namespaces = self.state.namespaces(self.database).filter(|_| wanted);
        let relations = namespaces.flat_map(|namespace| self.state.relations_in(namespace.oid));
        let views = relations.filter_map(|relation| relation.as_view());
        let text = |view: &Arc<View>| ViewText {
            oid: view.oid,
            expected: view.definition.clone(),
            definition: format!("{} renamed", view.definition),
        };
        views.map(text).collect()
    }

    fn command(&mut self, words: &[&str]) -> Command {
        let flag = |name: &str| words.contains(&name);
        let (if_exists, if_not_exists, cascade) = (flag("if-exists"), flag("if-not-exists"), flag("cascade"));
        let owner = words.iter().find_map(|word| word.strip_prefix("owner="));
        let owner = owner.map_or(oids::BOOTSTRAP_SUPERUSER, |name| {
            name.parse().unwrap_or_else(|_| self.state.role_by_name(name).unwrap().oid)
        });
        let flags =
            ["if-exists", "if-not-exists", "cascade", "or-replace", "login", "superuser", "with-views", "purge"];
        let named =
            |word: &str| ["owner=", "id=", "reads=", "definitions=", "head="].iter().any(|name| word.starts_with(name));
        let plain = words[1..].iter().filter(|word| !flags.contains(word) && !named(word)).collect::<Vec<_>>();
        let strings = |skip: usize| plain.iter().skip(skip).map(|word| (**word).to_owned()).collect::<Vec<_>>();
        let (database, search_path) = (self.database, self.search_path.clone());
        match words[0] {
            "bootstrap" => {
                Command::Bootstrap { database: strings(0)[0].clone(), superuser: strings(0)[1].clone(), verifier: None }
            }
            "create-schema" => Command::CreateSchema { database, name: strings(0)[0].clone(), owner, if_not_exists },
            "drop-schema" => Command::DropSchemas { database, names: strings(0), if_exists, cascade, search_path },
            "rename-schema" => {
                let views = self.view_texts(flag("with-views"));
                let (name, new_name) = (strings(0)[0].clone(), strings(0)[1].clone());
                Command::RenameSchema { database, name, new_name, views }
            }
            "create-table" => {
                let id = match words.iter().find_map(|word| word.strip_prefix("id=")) {
                    Some(number) => number.parse().unwrap(),
                    None => 1000 + self.requests,
                };
                Command::CreateTable {
                    constraints: Vec::new(),
                    database,
                    id: Uuid::from_u128(id),
                    name: relation_name(plain[0]),
                    columns: columns(&plain[1..]),
                    metadata_location: format!("memory://{}/0.json", plain[0]),
                    owner,
                    if_not_exists,
                }
            }
            "create-foreign" => {
                let value = ForeignValue::Text("true".to_owned());
                let source = ForeignSource {
                    locations: vec![format!("s3://bucket/{}/*.csv", plain[0])],
                    format: "csv".to_owned(),
                    options: vec![ForeignOption { name: "header".to_owned(), value }],
                };
                let (name, columns) = (relation_name(plain[0]), columns(&plain[1..]));
                Command::CreateForeignTable { database, name, columns, source, owner, if_not_exists }
            }
            "create-view" => Command::CreateView {
                database,
                name: relation_name(plain[0]),
                columns: columns(&plain[1..]),
                definition: format!("SELECT /* {} */", self.requests),
                depends_on: words
                    .iter()
                    .find_map(|word| word.strip_prefix("reads="))
                    .map(|names| names.split(',').map(|name| self.oid(name)).collect())
                    .unwrap_or_default(),
                owner,
                or_replace: flag("or-replace"),
            },
            "drop" => Command::DropRelations {
                database,
                kind: kind(plain[0]),
                names: plain[1..].iter().map(|name| relation_name(name)).collect(),
                if_exists,
                cascade,
                search_path,
                purge: flag("purge"),
            },
            "undrop" => Command::UndropTable { database, name: relation_name(plain[0]), owner },
            "forget" => {
                Command::ForgetDropped { ids: plain.iter().map(|id| Uuid::from_u128(id.parse().unwrap())).collect() }
            }
            "clone" => {
                let source = self.find(plain[0]).unwrap();
                let source = source.as_table().unwrap();
                let head = words.iter().find_map(|word| word.strip_prefix("head="));
                let create = Command::CreateTable {
                    database,
                    id: Uuid::from_u128(1000 + self.requests),
                    name: relation_name(plain[1]),
                    columns: source.columns.clone(),
                    metadata_location: format!("memory://{}/0.json", plain[1]),
                    owner,
                    if_not_exists,
                    constraints: Vec::new(),
                };
                Command::CloneTable {
                    create: Box::new(create),
                    source: source.id,
                    source_head: head.unwrap_or(&source.metadata_location).to_owned(),
                }
            }
            "rename" => Command::RenameRelation {
                database,
                kind: kind(plain[0]),
                name: relation_name(plain[1]),
                new_name: strings(2)[0].clone(),
                if_exists,
                views: self.view_texts(flag("with-views")),
            },
            "rename-column" => {
                let name = relation_name(plain[0]);
                let table = self.find(plain[0]).and_then(|relation| relation.as_table().cloned());
                let change = table.map(|table| TableChange {
                    id: table.id,
                    expected: table.metadata_location.clone(),
                    new: format!("{}+renamed", table.metadata_location),
                    columns: None,
                });
                let (column, new_column) = (strings(1)[0].clone(), strings(1)[1].clone());
                let views = self.view_texts(flag("with-views"));
                Command::RenameColumn { database, name, column, new_column, change, if_exists, views }
            }
            "comment" => {
                let on = match *plain[0] {
                    "database" => CommentTarget::Database(strings(1)[0].clone()),
                    "role" => CommentTarget::Role(strings(1)[0].clone()),
                    "schema" => CommentTarget::Schema(strings(1)[0].clone()),
                    "column" => {
                        let (relation, column) = plain[1].rsplit_once('.').unwrap();
                        CommentTarget::Column { relation: relation_name(relation), column: column.to_owned() }
                    }
                    other => CommentTarget::Relation { kind: kind(other), name: relation_name(plain[1]) },
                };
                let text = strings(2).join(" ");
                Command::Comment { database, on, text: (!text.is_empty()).then_some(text) }
            }
            "create-role" => Command::CreateRole {
                name: strings(0)[0].clone(),
                superuser: flag("superuser"),
                login: flag("login"),
                verifier: None,
            },
            "password" => {
                Command::AlterRolePassword { name: strings(0)[0].clone(), verifier: strings(1).first().cloned() }
            }
            "drop-role" => Command::DropRoles { names: strings(0), if_exists, database, search_path },
            "commit" => {
                let changes = plain.iter().map(|change| {
                    let parts = change.split('>').collect::<Vec<_>>();
                    let id = self.find(parts[0]).map(|relation| relation.as_table().unwrap().id);
                    let new = parts[2].trim_end_matches(')').split_once('(');
                    let columns =
                        new.map(|(_, list)| columns(&list.split(',').collect::<Vec<_>>().iter().collect::<Vec<_>>()));
                    let new = new.map_or(parts[2], |(new, _)| new).to_owned();
                    TableChange { id: id.unwrap_or(Uuid::nil()), expected: parts[1].to_owned(), new, columns }
                });
                Command::CommitTables { changes: changes.collect() }
            }
            "expect" => {
                let definitions = words.iter().find_map(|word| word.strip_prefix("definitions="));
                let heads = plain.iter().filter_map(|head| head.split_once('>'));
                let heads =
                    heads.map(|(name, head)| (self.find(name).unwrap().as_table().unwrap().id, head.to_owned()));
                Command::Expect {
                    definitions: definitions.map(|number| number.parse().unwrap()),
                    heads: heads.collect(),
                }
            }
            other => panic!("unknown command {other}"),
        }
    }

    fn find(&self, name: &str) -> Option<&Relation> {
        let name = relation_name(name);
        let namespace = self.state.namespace_by_name(self.database, &name.schema)?;
        self.state.relation(namespace.oid, &name.name)
    }

    /// The oid of a relation, or the number itself.
    fn oid(&self, name: &str) -> u32 {
        name.parse().unwrap_or_else(|_| self.find(name).unwrap().oid())
    }

    fn print_state(&self) -> String {
        let mut out = String::new();
        for database in self.state.databases() {
            let _ = writeln!(out, "database {} {} {:?}", database.oid, database.name, database.comment);
            for schema in self.state.namespaces(database.oid) {
                let _ = writeln!(
                    out,
                    "  schema {} {} owner {} {:?}",
                    schema.oid, schema.name, schema.owner, schema.comment
                );
                for relation in self.state.relations_in(schema.oid) {
                    let (kind, name, owner) = (relation.kind().noun(), relation.name(), relation.owner());
                    let _ = write!(out, "    {kind} {} {name} owner {owner}", relation.oid());
                    let _ = match relation {
                        Relation::Table(table) => {
                            let borrows = table.borrows.iter().map(|id| format!(" borrows {}", id.as_u128()));
                            let borrows = borrows.collect::<String>();
                            write!(out, " version {} head {}{borrows}", table.version, table.metadata_location)
                        }
                        Relation::View(view) => {
                            write!(out, " reads {:?} as {}", view.depends_on, view.definition)
                        }
                        Relation::Foreign(table) => {
                            write!(out, " over {} {}", table.source.format, table.source.locations.join(","))
                        }
                    };
                    let _ = writeln!(out, " {:?}", relation.comment());
                    for column in relation.columns() {
                        let Column { name, ty, field_id, comment, .. } = column;
                        let _ = writeln!(out, "      {field_id} {name} {ty} {comment:?}");
                    }
                }
            }
        }
        for dropped in self.state.dropped() {
            let (number, table) = (dropped.table.id.as_u128(), &dropped.table);
            let _ = writeln!(
                out,
                "dropped {number} {} {}.{} at {} head {}",
                table.oid, dropped.schema, table.name, dropped.dropped_ms, table.metadata_location
            );
        }
        for role in self.state.roles() {
            let rights = (role.superuser, role.login, role.password.as_deref());
            let _ = writeln!(out, "role {} {} {rights:?} {:?}", role.oid, role.name, role.comment);
        }
        let _ = writeln!(out, "revision {}", self.state.revision());
        out
    }
}

fn relation_name(text: &str) -> RelationName {
    let (schema, name) = text.split_once('.').unwrap();
    RelationName::new(schema, name)
}

fn kind(text: &str) -> RelationKind {
    match text {
        "table" => RelationKind::Table,
        "view" => RelationKind::View,
        "foreign" => RelationKind::Foreign,
        other => panic!("unknown kind {other}"),
    }
}

fn columns(words: &[&&str]) -> Vec<Column> {
    let columns = words.iter().zip(1..).map(|(word, field_id)| {
        let (name, ty) = word.split_once(':').unwrap();
        let ty = ty.parse().unwrap();
        Column { name: name.to_owned(), ty, nullable: true, field_id, comment: None, default: None }
    });
    columns.collect()
}

fn print_effect(effect: &Effect) -> String {
    match effect {
        Effect::Nothing => "nothing".to_owned(),
        Effect::Created { oid } => format!("created {oid}"),
        Effect::Changed { oid } => format!("changed {oid}"),
        Effect::Committed { versions } => format!("committed {versions:?}"),
        Effect::Batch(effects) => format!("[{}]", effects.iter().map(print_effect).collect::<Vec<_>>().join(", ")),
        Effect::Dropped { relations } => {
            let names = relations.iter().map(|relation| {
                let table = relation.table.as_ref().map(|(_, head)| format!(" ({head})")).unwrap_or_default();
                format!("{} {}.{}{table}", relation.kind.noun(), relation.name.schema, relation.name.name)
            });
            format!("dropped [{}]", names.collect::<Vec<_>>().join(", "))
        }
    }
}

fn print_lines(out: &mut String, label: &str, text: Option<&str>) {
    for line in text.into_iter().flat_map(str::lines) {
        let _ = writeln!(out, "  {label} {line}");
    }
}
