//! One statement of a client's text, with what is known of it before it is bound.

use std::sync::Arc;

use sqlparser::ast;
use wharf_values::SqlError;

use crate::copy::OptionItem;
use crate::queries::{Listing, has_secrets};
use crate::syntax::{self, Clauses, Own, TableClauses};

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Statement {
    pub(crate) ast: Arc<ast::Statement>,
    /// What it says when the parser has no tree for it; the tree then names its table.
    pub(crate) own: Option<Arc<Own>>,
    /// What CREATE TABLE says of the layout of its rows.
    pub(crate) layout: Option<Arc<TableClauses>>,
    /// What the syntax tree does not say.
    pub(crate) clauses: Clauses,
    /// The options of a COPY, for which the syntax tree has no room.
    pub(crate) copy_options: Arc<[OptionItem]>,
    /// The whole text it came in, which positions count in.
    pub(crate) text: Arc<str>,
    /// It is what PREPARE was given.
    pub(crate) from_sql: bool,
    /// It is the only one of its text.
    pub(crate) alone: bool,
    /// What the client is told when it is prepared.
    pub(crate) notices: Arc<[SqlError]>,
    /// How it is shown to those who ask what runs.
    pub(crate) listing: Listing,
}

/// Parses a text that comes from within: a view's query, a default.
///
/// # Errors
/// `42601`, without a position: the client did not send this text.
pub(crate) fn parse(sql: &str) -> Result<Vec<ast::Statement>, SqlError> {
    let parsed = syntax::parse(sql).map_err(|error| SqlError { position: None, ..error })?;
    Ok(parsed.into_iter().map(|statement| statement.ast).collect())
}

/// Parses a client's text.
pub(crate) fn split(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let parsed = syntax::parse(sql)?;
    let (alone, text) = (parsed.len() == 1, Arc::<str>::from(sql));
    let hides_text =
        parsed.iter().any(|statement| has_secrets(&statement.ast, statement.own.as_ref(), &statement.copy_options));
    Ok(parsed
        .into_iter()
        .map(|statement| Statement {
            listing: Listing::new(&statement.ast, sql, hides_text),
            ast: Arc::new(statement.ast),
            own: statement.own.map(Arc::new),
            layout: statement.layout.map(Arc::new),
            clauses: statement.clauses,
            copy_options: statement.copy_options.into(),
            text: Arc::clone(&text),
            from_sql: false,
            alone,
            notices: statement.notices.into(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use wharf_values::SqlState;

    use super::*;

    #[test]
    fn a_syntax_error_names_the_token_and_its_place() {
        let error = split("select 1\nfrom where").unwrap_err();
        assert_eq!(error.code, SqlState::SYNTAX_ERROR);
        assert_eq!(error.message, "syntax error at or near \"where\"");
        assert_eq!(error.position, Some(15));
    }

    #[test]
    fn the_place_is_counted_in_characters_of_the_whole_text() {
        let place = |sql: &str| {
            let error = split(sql).unwrap_err();
            (error.message, error.position)
        };
        let near = |word: &str, at| (format!("syntax error at or near \"{word}\""), Some(at));
        assert_eq!(place("select 'é'; selec 2"), near("selec", 13));
        assert_eq!(place("select 1 +"), ("syntax error at end of input".to_owned(), Some(11)));
        assert_eq!(place("select (1; select 2"), near(";", 10));
        assert_eq!(place("select 1 < 2 < 3"), near("<", 14));
        assert_eq!(place("select 'a' 'b'"), near("'b'", 12));
        assert_eq!(
            place("select 12abc"),
            ("trailing junk after numeric literal at or near \"12a\"".to_owned(), Some(8))
        );
        assert_eq!(place("select 'a"), ("unterminated quoted string at or near \"'a\"".to_owned(), Some(8)));
    }

    #[test]
    fn comments_and_blanks_are_no_statements() {
        assert!(split(" ; -- nothing\n;").unwrap().is_empty());
        assert_eq!(split("select 1; select 2;").unwrap().len(), 2);
    }

    #[test]
    fn text_of_a_tree_reads_back_as_the_tree() {
        let sql = r#"SELECT 'a''''b', '\''x', 'it''s', '\', E'\'\''"#;
        let mut tree = parse(sql).unwrap().remove(0);
        syntax::make_printable(&mut tree);
        let again = format!("{:?}", parse(&tree.to_string()).unwrap().remove(0));
        for value in ["a''b", r"\'x", "it's", r"\", "''"] {
            assert!(again.contains(&format!("SingleQuotedString({value:?})")), "{value} in {tree}");
        }
    }

    #[test]
    fn names_are_cut_to_63_bytes_with_a_notice() {
        let long = "é".repeat(40);
        let statement = split(&format!("SELECT {long}")).unwrap().remove(0);
        assert_eq!(statement.ast.to_string(), format!("SELECT {}", "é".repeat(31)));
        assert_eq!(statement.notices[0].code, SqlState::NAME_TOO_LONG);
    }
}
