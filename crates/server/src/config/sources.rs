//! Layers the sources of the configuration over each other and remembers where each value came from.
//!
//! Always holds: every value passes [`Layers::set`], which knows the keys and their types from the serialized
//! defaults; there is no second list of keys. It does not check ranges or rules across keys: that is
//! `Config::validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Value};
use toml::de::{DeTable, DeValue};

use super::Config;
use crate::failure::Failure;

/// The prefix of our variables in the environment.
const PREFIX: &str = "WHARF_";

/// What the command line says: the configuration file, and keys set by flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    /// `--config`
    pub(crate) config_file: Option<PathBuf>,
    /// Flag, key, value.
    pub(crate) values: Vec<(&'static str, &'static str, String)>,
}

/// The configuration of this start: `defaults`, then the file, then `environment`, then `flags`; validated.
///
/// # Errors
/// A file that cannot be read or is not TOML, an unknown key, a value of the wrong type, or a broken rule.
pub(crate) fn load(
    defaults: &Config,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &Flags,
) -> Result<Config, Failure> {
    let mut layers = Layers::new(defaults);
    if let Some(path) = &flags.config_file {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Failure::from_io(
                "read",
                path,
                &error,
                "name an existing file with --config; conf/wharf.toml is a complete one",
            )
        })?;
        layers.file(path, &text)?;
    }
    layers.environment(environment)?;
    for (flag, key, value) in &flags.values {
        layers.set_text(key, value, flag)?;
    }
    let config = layers.extract()?;
    config.validate()?;
    Ok(config)
}

/// The merged values, and for each the source that had the last word.
struct Layers {
    figment: Figment,
    /// Every key, with its default.
    known: BTreeMap<String, Value>,
    origins: BTreeMap<String, String>,
}

impl Layers {
    fn new(defaults: &Config) -> Self {
        let serialized = Value::serialize(defaults).expect("a configuration serializes to a table");
        let mut known = BTreeMap::new();
        flatten("", serialized, &mut known);
        let figment = Figment::from(Serialized::defaults(defaults));
        Layers { figment, known, origins: BTreeMap::new() }
    }

    /// Takes the keys of a TOML file.
    fn file(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let at = |offset: usize| format!("{}:{}", path.display(), line_of(text, offset));
        let document = DeTable::parse(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            Failure::new(format!("{}: {}", at(start), error.message()), "correct this line of the configuration file")
        })?;
        self.table("", document.get_ref(), &at)
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, at: &dyn Fn(usize) -> String) -> Result<(), Failure> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let name = join(prefix, key.get_ref());
            let origin = at(key.span().start);
            match value.get_ref() {
                DeValue::Table(inner) => {
                    if !self.is_section(&name) {
                        return Err(self.unknown(&name, &origin));
                    }
                    self.table(&name, inner, at)?;
                }
                DeValue::String(text) => self.set(&name, Value::from(text.as_ref()), &origin)?,
                DeValue::Boolean(flag) => self.set(&name, Value::from(*flag), &origin)?,
                DeValue::Integer(number) => {
                    let parsed = u64::from_str_radix(number.as_str(), number.radix());
                    let value = parsed.map_or_else(|_| unfit(), Value::from);
                    self.set(&name, value, &origin)?;
                }
                DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) => self.set(&name, unfit(), &origin)?,
            }
        }
        Ok(())
    }

    /// Takes `WHARF_SECTION__KEY` variables. Others that begin with the prefix are left alone (an orchestrator sets
    /// `WHARF_PORT` and the like for a service of that name), except one that only lacks an underscore.
    fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), Failure> {
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let rest = rest.to_ascii_lowercase();
            if rest.contains("__") {
                self.set_text(&rest.replace("__", "."), &value, &name)?;
            } else if let Some(key) = self.known.keys().find(|key| key.replace('.', "_") == rest) {
                return Err(Failure::new(
                    format!("{name} sets nothing: section and key are parted by two underscores"),
                    format!("write {} instead", variable_of(key)),
                ));
            }
        }
        Ok(())
    }

    /// Sets a key from text, read as the type of its default.
    fn set_text(&mut self, key: &str, text: &str, origin: &str) -> Result<(), Failure> {
        let value = match self.known.get(key) {
            Some(Value::Bool(..)) => text.parse::<bool>().map(Value::from).ok(),
            Some(Value::Num(..)) => text.parse::<u64>().map(Value::from).ok(),
            _ => None,
        };
        self.set(key, value.unwrap_or_else(|| Value::from(text)), origin)
    }

    /// The one gate: a key that is known, with a value of its type.
    fn set(&mut self, key: &str, value: Value, origin: &str) -> Result<(), Failure> {
        let Some(default) = self.known.get(key) else { return Err(self.unknown(key, origin)) };
        let expected = match (default, &value) {
            (Value::String(..), Value::String(..))
            | (Value::Bool(..), Value::Bool(..))
            | (Value::Num(..), Value::Num(..)) => None,
            (Value::Bool(..), _) => Some("true or false"),
            (Value::Num(..), _) => Some("a whole number, 0 or more"),
            _ => Some("a text in quotes"),
        };
        if let Some(expected) = expected {
            return Err(Failure::new(
                format!("{origin}: {key} does not take this value"),
                format!("set it to {expected}"),
            ));
        }
        self.origins.insert(key.to_owned(), origin.to_owned());
        self.figment = std::mem::take(&mut self.figment).merge(Serialized::default(key, value));
        Ok(())
    }

    fn is_section(&self, name: &str) -> bool {
        self.known.keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }

    fn unknown(&self, key: &str, origin: &str) -> Failure {
        let nearest = nearest(key, self.known.keys().map(String::as_str));
        Failure::new(
            format!("{origin}: unknown configuration key {key}"),
            format!("did you mean {nearest}? conf/wharf.toml lists every key"),
        )
    }

    fn extract(&self) -> Result<Config, Failure> {
        self.figment.extract::<Config>().map_err(|error| {
            let key = error.path.join(".");
            let origin = self.origins.get(&key).map_or("the configuration", String::as_str);
            match &error.kind {
                Kind::UnknownVariant(found, choices) => Failure::new(
                    format!("{origin}: {key} = \"{found}\" is not known"),
                    format!("choose one of {}", choices.join(", ")),
                ),
                kind => Failure::new(format!("{origin}: {key}: {kind}"), "correct this value"),
            }
        })
    }
}

/// A value that fits no key: what TOML can say and no key takes.
fn unfit() -> Value {
    Value::from(Dict::new())
}

/// The variable that sets a key: `postgres.listen` is `WHARF_POSTGRES__LISTEN`.
fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn flatten(prefix: &str, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Dict(_, dict) => {
            for (key, value) in dict {
                flatten(&join(prefix, &key), value, into);
            }
        }
        leaf => {
            into.insert(prefix.to_owned(), leaf);
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The known key that reads most like `key`: as a whole, or by its last part when the section is wrong or missing.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    let likeness = |candidate: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, candidate);
        let part = strsim::normalized_damerau_levenshtein(&last(key), &last(candidate));
        // The right section breaks ties between keys of the same name.
        whole.max(part) + 0.1 * whole
    };
    known.max_by(|a, b| likeness(a).total_cmp(&likeness(b))).expect("the configuration has at least one key")
}

#[cfg(test)]
pub(super) fn known_keys(defaults: &Config) -> Vec<(String, Value)> {
    Layers::new(defaults).known.into_iter().collect()
}
