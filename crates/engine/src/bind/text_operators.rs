//! Operators on text that DataFusion has with another meaning: patterns by PostgreSQL's rules, and `char(n)`, which is
//! held without its blanks but compares and matches as if it had them.

use datafusion::common::ScalarValue;
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{Expr, Operator};
use wharf_catalog::SqlType;

use super::resolve::{Known, Resolver};

impl Resolver<'_> {
    /// `~` and its kin, `~~` and its kin, whose operands are text; `None` for other operators.
    pub(super) fn pattern_match(&self, op: Operator, left: &Expr, right: &Expr) -> DfResult<Option<Expr>> {
        let function = match op {
            Operator::RegexMatch => "textregexeq",
            Operator::RegexIMatch => "texticregexeq",
            Operator::RegexNotMatch => "textregexne",
            Operator::RegexNotIMatch => "texticregexne",
            Operator::LikeMatch | Operator::NotLikeMatch | Operator::ILikeMatch | Operator::NotILikeMatch => {
                let negated = matches!(op, Operator::NotLikeMatch | Operator::NotILikeMatch);
                let case_insensitive = matches!(op, Operator::ILikeMatch | Operator::NotILikeMatch);
                let (expr, pattern) = (Box::new(left.clone()), Box::new(right.clone()));
                return self.like(Like::new(negated, expr, pattern, None, case_insensitive)).map(Some);
            }
            _ => return Ok(None),
        };
        let symbol = op.to_string();
        let left = self.padded(self.text_operand(left.clone(), &symbol)?)?;
        let right = self.text_operand(right.clone(), &symbol)?;
        self.context.call(function, vec![left, right]).map(Some)
    }

    /// `LIKE`: DataFusion's, but for patterns that may end in the escape character, which is an error.
    pub(super) fn like(&self, like: Like) -> DfResult<Expr> {
        let Like { negated, expr, pattern, escape_char, case_insensitive } = like;
        let (symbol, function) = match (case_insensitive, negated) {
            (false, false) => ("~~", "like"),
            (false, true) => ("!~~", "notlike"),
            (true, false) => ("~~*", "texticlike"),
            (true, true) => ("!~~*", "texticnlike"),
        };
        let expr = self.padded(self.text_operand(*expr, symbol)?)?;
        let pattern = self.text_operand(*pattern, symbol)?;
        let plain = match &pattern {
            Expr::Literal(value, _) => {
                value.try_as_str().flatten().is_none_or(|text| !text.ends_with('\\') || text.ends_with(r"\\"))
            }
            _ => false,
        };
        if plain && escape_char.is_none() {
            return Ok(Expr::Like(Like::new(negated, Box::new(expr), Box::new(pattern), None, case_insensitive)));
        }
        let pattern = match escape_char {
            None => pattern,
            Some(escape) => {
                let escape = Expr::Literal(ScalarValue::Utf8View(Some(escape.to_string())), None);
                self.context.call("like_escape", vec![pattern, escape])?
            }
        };
        self.context.call(function, vec![expr, pattern])
    }

    /// A value of `char(n)` with the blanks it has where it is taken for text without a cast.
    pub(super) fn padded(&self, expr: Expr) -> DfResult<Expr> {
        match self.known(&expr)? {
            Known::Type(SqlType::Char(length)) if length > 0 => {
                let length = Expr::Literal(ScalarValue::Int32(i32::try_from(length).ok()), None);
                self.context.call("rpad", vec![expr, length])
            }
            _ => Ok(expr),
        }
    }

    /// What is compared with a `char(n)` as one: a literal, a parameter or a `varchar`, without blanks at its end. Text
    /// keeps them.
    pub(super) fn beside_char(&self, expr: Expr, other: &Known) -> DfResult<Expr> {
        let Known::Type(SqlType::Char(_)) = other else { return Ok(expr) };
        match self.known(&expr)? {
            Known::Unknown | Known::Type(SqlType::Varchar(_)) => {
                let text = self.coerce(expr, &SqlType::Text)?;
                match text {
                    Expr::Literal(ScalarValue::Utf8View(Some(text)), metadata) => {
                        let trimmed = text.trim_end_matches(' ').to_owned();
                        Ok(Expr::Literal(ScalarValue::Utf8View(Some(trimmed)), metadata))
                    }
                    text => self.context.call("rtrim", vec![text]),
                }
            }
            _ => Ok(expr),
        }
    }
}
