//! How a statement is listed: at once or when it first waits, and with its text or without.

use sqlparser::ast::{CopyTarget, Statement as Ast};

use crate::copy::{OptionItem, OptionValue};
use crate::files::options::{names_secret, names_store};
use crate::syntax::Own;

/// The tables that show the list, in which a statement that reads them looks for itself.
const SHOWN_BY: [&str; 2] = ["wharf.queries", "pg_stat_activity"];

/// How a statement is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Before it waits for anything.
    pub(crate) at_once: bool,
    /// Its text may have secrets.
    pub(crate) hides_text: bool,
}

impl Listing {
    /// Of a statement of a text. `hides_text` is about the whole text, since that is what is shown.
    pub(crate) fn new(ast: &Ast, text: &str, hides_text: bool) -> Listing {
        let reads_list = || SHOWN_BY.iter().any(|name| text.contains(name));
        Listing { at_once: !matches!(ast, Ast::Query(_)) || reads_list(), hides_text }
    }
}

/// Whether a statement's text may have secrets: passwords of roles, keys of object stores. Told by what it is and not by what it
/// says, so that a word of a string makes no difference.
pub(crate) fn has_secrets(ast: &Ast, own: Option<&Own>, copy_options: &[OptionItem]) -> bool {
    let options = |items: &[OptionItem]| items.iter().any(|item| names_store(&item.name) || names_secret(&item.name));
    // `https://user:password@host/..`, and the signatures of URLs that were signed.
    let location = |name: &str| name.contains("://") && name.contains(['@', '?']);
    if let Some(Own::FromFiles(files) | Own::External(files)) = own
        && (options(&files.options) || files.locations.iter().any(|name| location(name)))
    {
        return true;
    }
    match ast {
        Ast::CreateRole(_) | Ast::AlterRole { .. } | Ast::CreateUser(_) | Ast::AlterUser(_) => true,
        Ast::Copy { target, .. } => {
            let more = copy_options.iter().any(|item| match &item.value {
                OptionValue::List(names) => names.iter().any(|name| location(name)),
                OptionValue::None | OptionValue::Text(_) | OptionValue::Star => false,
            });
            more || options(copy_options) || matches!(target, CopyTarget::File { filename } if location(filename))
        }
        Ast::Explain { statement, .. } | Ast::Prepare { statement, .. } => has_secrets(statement, None, copy_options),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::statement;

    fn listings(sql: &str) -> Vec<(bool, bool)> {
        let statements = statement::split(sql).unwrap();
        statements.iter().map(|statement| (statement.listing.at_once, statement.listing.hides_text)).collect()
    }

    #[test]
    fn text_with_secrets_is_not_shown() {
        for sql in [
            "ALTER ROLE r PASSWORD 'geheim'",
            "CREATE ROLE r LOGIN PASSWORD 'geheim'",
            "COPY t FROM 's3://b/f.csv' WITH (aws_secret_access_key 'geheim')",
            "COPY t FROM 'https://r:geheim@h/f.csv'",
            "COPY t TO 's3://b/f' (FORMAT parquet, s3_session_token 'geheim')",
            "CREATE TABLE t FROM 's3://b/f.csv' WITH (aws_secret_access_key 'geheim')",
        ] {
            assert_eq!(listings(sql), [(true, true)], "{sql}");
            // The text of one statement is that of all that came with it.
            assert_eq!(listings(&format!("{sql}; SELECT 1")), [(true, true), (false, true)], "{sql}");
        }
        for sql in ["COPY t FROM 's3://b/f.csv' WITH (HEADER)", "INSERT INTO t VALUES ('password')"] {
            assert_eq!(listings(sql), [(true, false)], "{sql}");
        }
    }

    #[test]
    fn a_query_is_listed_when_it_waits_unless_it_reads_the_list() {
        assert_eq!(listings("SELECT 1"), [(false, false)]);
        assert_eq!(listings("SELECT * FROM pg_catalog.pg_stat_activity"), [(true, false)]);
    }
}
