//! Which implementation of a function a call means: PostgreSQL's rules for overloaded functions.
//!
//! What always holds: the choice depends on the SQL types of the arguments alone, and is the one PostgreSQL's manual
//! describes ("Function Type Resolution"): an exact match, else the candidates that implicit casts reach, of those the
//! ones with most exact matches, then most preferred types, then the category of the untyped literals. Domains and
//! user-defined casts do not exist here. `varchar`, `char(n)`, `name` and `"char"` count as `text`, for which
//! PostgreSQL has an implicit cast. No values are touched here.

use std::collections::HashMap;
use std::sync::LazyLock;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Volatility;
use wharf_catalog::SqlType;
use wharf_values::{SqlError, SqlState};

use super::call::{Call, Result};

/// How a function computes a batch.
pub(super) type Evaluate = fn(&Call<'_>) -> Result<ArrayRef>;
/// How a function decides the type of its result, where that is not fixed by its signature.
pub(super) type ReturnField = fn(&ReturnArguments<'_>) -> Result<Field>;

/// What a [`ReturnField`] may look at.
pub(super) struct ReturnArguments<'a> {
    /// The fields of the arguments as they are in the plan.
    pub(super) fields: &'a [FieldRef],
    /// The SQL types the arguments are converted to.
    pub(super) types: &'a [SqlType],
    /// The arguments that are constants.
    pub(super) constants: &'a [Option<&'a ScalarValue>],
}

impl ReturnArguments<'_> {
    /// A constant text argument.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.constants.get(index).copied().flatten().and_then(|value| value.try_as_str()).flatten()
    }

    /// A constant integer argument.
    pub(super) fn integer(&self, index: usize) -> Option<i64> {
        match self.constants.get(index).copied().flatten()? {
            ScalarValue::Int16(value) => value.map(i64::from),
            ScalarValue::Int32(value) => value.map(i64::from),
            ScalarValue::Int64(value) => *value,
            _ => None,
        }
    }
}

/// One implementation, as a module of this folder lists it.
pub(super) struct Declaration {
    pub(super) name: &'static str,
    /// `text, int4 -> text`, in the names of `pg_type`; `any`, `anyelement`, `anyarray`, and `variadic T` as the last.
    pub(super) signature: &'static str,
    pub(super) volatility: Volatility,
    /// A strict function is null when any argument is.
    pub(super) strict: bool,
    pub(super) evaluate: Evaluate,
    pub(super) returning: Option<ReturnField>,
}

/// A function whose result depends on its arguments alone.
pub(super) const fn immutable(name: &'static str, signature: &'static str, evaluate: Evaluate) -> Declaration {
    Declaration { name, signature, volatility: Volatility::Immutable, strict: true, evaluate, returning: None }
}

/// A function whose result also depends on the session's settings.
pub(super) const fn stable(name: &'static str, signature: &'static str, evaluate: Evaluate) -> Declaration {
    Declaration { name, signature, volatility: Volatility::Stable, strict: true, evaluate, returning: None }
}

impl Declaration {
    pub(super) const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }

    /// The function is called with null arguments too.
    pub(super) const fn called_on_null(mut self) -> Self {
        self.strict = false;
        self
    }

    pub(super) const fn returning(mut self, returning: ReturnField) -> Self {
        self.returning = Some(returning);
        self
    }
}

/// A parameter of an overload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Type(SqlType),
    /// Any type, taken as it is.
    Any,
    /// All of these in one signature have a common type...
    AnyElement,
    /// ... and these are arrays of it.
    AnyArray,
}

/// A declaration with its signature read.
pub(super) struct Overload {
    pub(super) declaration: &'static Declaration,
    pub(super) parameters: Vec<Parameter>,
    pub(super) variadic: bool,
    pub(super) returns: Parameter,
}

impl Overload {
    fn new(declaration: &'static Declaration) -> Overload {
        let (left, right) = declaration.signature.split_once("->").expect("a signature has an arrow");
        let mut variadic = false;
        let parameters = left
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(|text| match text.strip_prefix("variadic ") {
                Some(inner) => {
                    variadic = true;
                    parameter(inner)
                }
                None => parameter(text),
            })
            .collect();
        Overload { declaration, parameters, variadic, returns: parameter(right.trim()) }
    }

    /// The parameter of an argument, `None` when there are not as many.
    fn parameter(&self, index: usize) -> Option<&Parameter> {
        match self.parameters.get(index) {
            None if self.variadic => self.parameters.last(),
            parameter => parameter,
        }
    }

    fn takes(&self, count: usize) -> bool {
        count == self.parameters.len() || (self.variadic && count > self.parameters.len())
    }
}

fn parameter(text: &str) -> Parameter {
    match text {
        "any" => Parameter::Any,
        "anyelement" => Parameter::AnyElement,
        "anyarray" => Parameter::AnyArray,
        name => Parameter::Type(name.parse().expect("a signature names types of SQL")),
    }
}

/// A call resolved: which overload, and the types its arguments are converted to.
pub(super) struct Chosen<'a> {
    pub(super) overload: &'a Overload,
    pub(super) types: Vec<SqlType>,
    /// What the signature says of the result; `Unknown` where the declaration decides it.
    pub(super) returns: SqlType,
}

/// What [`resolve`] answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// The types to convert the arguments to, one for each argument.
    pub(crate) arguments: Vec<SqlType>,
    /// The type of the result; for numeric without the precision that the function will choose.
    pub(crate) returns: SqlType,
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for declaration in super::declarations() {
        functions.entry(declaration.name).or_default().push(Overload::new(declaration));
    }
    functions
});

/// The overloads of a function.
pub(super) fn overloads(name: &str) -> Option<&'static [Overload]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

/// Every function name, in no order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.keys().copied()
}

/// Resolves a call by the types of its arguments, as PostgreSQL's parser does; `Unknown` is an untyped literal or a
/// null. `None` when this module has no function of that name.
///
/// # Errors
/// `42883` when no overload fits, `42725` when several fit equally well.
pub(crate) fn resolve(name: &str, types: &[SqlType]) -> Option<Result<Resolved>> {
    let overloads = overloads(name)?;
    Some(choose(name, overloads, types).map(|chosen| Resolved { arguments: chosen.types, returns: chosen.returns }))
}

/// As [`choose`], for a plan, which may have lost the difference between text and an untyped literal, and in which
/// integer literals are 64 bits wide until the binder has typed them: what fits nowhere as the one is taken for the
/// other. The binder asks [`resolve`], which is strict, once the types are final.
pub(super) fn choose_leniently<'a>(name: &str, overloads: &'a [Overload], types: &[SqlType]) -> Result<Chosen<'a>> {
    let replaced = |types: &[SqlType], from: SqlType, to: SqlType| {
        let replaced = |ty: &SqlType| match ty {
            SqlType::Array(item) if **item == from => SqlType::Array(Box::new(to.clone())),
            ty if canonical(ty) == from => to.clone(),
            ty => ty.clone(),
        };
        types.iter().map(replaced).collect::<Vec<_>>()
    };
    let either_text = |types: &[SqlType]| {
        choose(name, overloads, &replaced(types, SqlType::Unknown, SqlType::Text))
            .or_else(|_| choose(name, overloads, &replaced(types, SqlType::Text, SqlType::Unknown)))
    };
    choose(name, overloads, types).or_else(|error| {
        let narrow = replaced(types, SqlType::BigInt, SqlType::Integer);
        either_text(types)
            .or_else(|_| choose(name, overloads, &narrow))
            .or_else(|_| either_text(&narrow))
            .map_err(|_| error)
    })
}

/// The types that functions distinguish.
pub(super) fn canonical(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Varchar(_) | SqlType::Char(_) | SqlType::Name | SqlType::QChar => SqlType::Text,
        SqlType::Regclass | SqlType::Regtype | SqlType::Regnamespace | SqlType::Regrole => SqlType::Oid,
        SqlType::Numeric(_) => SqlType::Numeric(None),
        SqlType::Array(_) => SqlType::Array(Box::new(canonical(ty.innermost()))),
        other => other.clone(),
    }
}

fn choose<'a>(name: &str, overloads: &'a [Overload], types: &[SqlType]) -> Result<Chosen<'a>> {
    let canonical = types.iter().map(canonical).collect::<Vec<_>>();
    let mut candidates = overloads
        .iter()
        .filter(|overload| overload.takes(types.len()))
        .filter_map(|overload| Candidate::new(overload, &canonical))
        .collect::<Vec<_>>();
    if candidates.len() > 1 {
        keep_best(&mut candidates, |candidate| candidate.exact(&canonical));
        keep_best(&mut candidates, |candidate| candidate.preferred(&canonical));
        if candidates.len() > 1 {
            by_category(&mut candidates, &canonical);
        }
        if candidates.len() > 1 {
            by_known_type(&mut candidates, &canonical);
        }
    }
    let signature = || {
        let types = types.iter().map(crate::pg_catalog::without_limits).collect::<Vec<_>>().join(", ");
        format!("function {name}({types})")
    };
    match candidates.len() {
        0 => Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("{} does not exist", signature())).with_hint(
            "No function matches the given name and argument types. You might need to add explicit type casts.",
        )),
        1 => {
            let candidate = candidates.remove(0);
            let returns = candidate.returns();
            Ok(Chosen { overload: candidate.overload, types: candidate.types, returns })
        }
        _ => Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, format!("{} is not unique", signature()))
            .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")),
    }
}

/// An overload that the arguments can be converted to.
struct Candidate<'a> {
    overload: &'a Overload,
    types: Vec<SqlType>,
    element: Option<SqlType>,
}

impl<'a> Candidate<'a> {
    fn new(overload: &'a Overload, types: &[SqlType]) -> Option<Candidate<'a>> {
        let element = element_type(overload, types)?;
        let mut converted = Vec::with_capacity(types.len());
        for (index, ty) in types.iter().enumerate() {
            let wanted = match overload.parameter(index)? {
                Parameter::Type(wanted) => wanted.clone(),
                Parameter::Any => match ty {
                    SqlType::Unknown => SqlType::Text,
                    other => other.clone(),
                },
                Parameter::AnyElement => element.clone().unwrap_or(SqlType::Text),
                Parameter::AnyArray => SqlType::Array(Box::new(element.clone().unwrap_or(SqlType::Text))),
            };
            if !(*ty == wanted || *ty == SqlType::Unknown || implicitly(ty, &wanted)) {
                return None;
            }
            converted.push(wanted);
        }
        Some(Candidate { overload, types: converted, element })
    }

    /// The type an argument is declared to have; none for `any` and its kin.
    fn declared(&self, index: usize) -> Option<&SqlType> {
        match self.overload.parameter(index) {
            Some(Parameter::Type(ty)) => Some(ty),
            _ => None,
        }
    }

    fn exact(&self, types: &[SqlType]) -> usize {
        types.iter().enumerate().filter(|(index, ty)| self.declared(*index) == Some(ty)).count()
    }

    fn preferred(&self, types: &[SqlType]) -> usize {
        let counts = |(index, ty): &(usize, &SqlType)| {
            self.declared(*index)
                .is_some_and(|wanted| wanted == *ty || (wanted.category() == ty.category() && is_preferred(wanted)))
        };
        types.iter().enumerate().filter(counts).count()
    }

    fn returns(&self) -> SqlType {
        match &self.overload.returns {
            Parameter::Type(ty) => ty.clone(),
            Parameter::AnyElement => self.element.clone().unwrap_or(SqlType::Text),
            Parameter::AnyArray => SqlType::Array(Box::new(self.element.clone().unwrap_or(SqlType::Text))),
            Parameter::Any => SqlType::Unknown,
        }
    }
}

/// The common type of the polymorphic parameters: `Some(None)` when there are none or all are untyped, `None` when
/// the arguments do not go together.
fn element_type(overload: &Overload, types: &[SqlType]) -> Option<Option<SqlType>> {
    let mut element: Option<SqlType> = None;
    for (index, ty) in types.iter().enumerate() {
        let ty = match (overload.parameter(index)?, ty) {
            (Parameter::AnyElement | Parameter::AnyArray, SqlType::Unknown) => continue,
            (Parameter::AnyElement, ty) => ty,
            (Parameter::AnyArray, SqlType::Array(item)) => item.as_ref(),
            (Parameter::AnyArray, _) => return None,
            _ => continue,
        };
        element = Some(match element {
            None => ty.clone(),
            Some(SqlType::Unknown) => ty.clone(),
            Some(old) if old == *ty || *ty == SqlType::Unknown || implicitly(ty, &old) => old,
            Some(old) if implicitly(&old, ty) => ty.clone(),
            Some(_) => return None,
        });
    }
    Some(element.map(|element| if element == SqlType::Unknown { SqlType::Text } else { element }))
}

fn keep_best(candidates: &mut Vec<Candidate<'_>>, score: impl Fn(&Candidate<'_>) -> usize) {
    let best = candidates.iter().map(&score).max().unwrap_or(0);
    candidates.retain(|candidate| score(candidate) == best);
}

/// PostgreSQL's rule for untyped literals: in each such position the string category if any candidate takes it, else
/// the one category all agree on; then a preferred type of that category if any candidate has one.
fn by_category(candidates: &mut Vec<Candidate<'_>>, types: &[SqlType]) {
    let category = |candidate: &Candidate<'_>, index: usize| candidate.declared(index).map_or('P', SqlType::category);
    let mut slots = Vec::new();
    for (index, ty) in types.iter().enumerate() {
        if *ty != SqlType::Unknown {
            continue;
        }
        let categories = candidates.iter().map(|candidate| category(candidate, index)).collect::<Vec<_>>();
        let chosen = if categories.contains(&'S') {
            'S'
        } else if categories.windows(2).all(|pair| pair[0] == pair[1]) {
            categories[0]
        } else {
            return;
        };
        let preferred = candidates
            .iter()
            .any(|candidate| candidate.declared(index).is_some_and(|ty| ty.category() == chosen && is_preferred(ty)));
        slots.push((index, chosen, preferred));
    }
    let fits = |candidate: &Candidate<'_>| {
        slots.iter().all(|(index, chosen, preferred)| {
            category(candidate, *index) == *chosen
                && (!preferred || candidate.declared(*index).is_some_and(is_preferred))
        })
    };
    if candidates.iter().any(fits) {
        candidates.retain(fits);
    }
}

/// The last rule: when the typed arguments all have one type, the untyped ones are taken to have it too.
fn by_known_type(candidates: &mut Vec<Candidate<'_>>, types: &[SqlType]) {
    let mut known = types.iter().filter(|ty| **ty != SqlType::Unknown);
    let Some(first) = known.next() else { return };
    if known.any(|ty| ty != first) || !types.contains(&SqlType::Unknown) {
        return;
    }
    let fits =
        |candidate: &Candidate<'_>| candidate.types.iter().all(|wanted| wanted == first || implicitly(first, wanted));
    if candidates.iter().filter(|candidate| fits(candidate)).count() == 1 {
        candidates.retain(fits);
    }
}

/// The preferred types of their categories.
fn is_preferred(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::Double | SqlType::Text | SqlType::TimestampTz | SqlType::Boolean | SqlType::Interval | SqlType::Oid
    )
}

/// PostgreSQL's implicit casts between the types functions distinguish.
fn implicitly(from: &SqlType, to: &SqlType) -> bool {
    use SqlType as T;
    match from {
        T::SmallInt => {
            matches!(to, T::Integer | T::BigInt | T::Real | T::Double | T::Numeric(_) | T::Oid)
        }
        T::Integer => matches!(to, T::BigInt | T::Real | T::Double | T::Numeric(_) | T::Oid),
        T::BigInt => matches!(to, T::Real | T::Double | T::Numeric(_) | T::Oid),
        T::Oid => matches!(to, T::BigInt),
        T::Numeric(_) => matches!(to, T::Real | T::Double),
        T::Real => matches!(to, T::Double),
        T::Date => matches!(to, T::Timestamp | T::TimestampTz),
        T::Timestamp => matches!(to, T::TimestampTz),
        T::Time => matches!(to, T::Interval),
        T::Array(from) => matches!(to, T::Array(to) if **from == T::Unknown || implicitly(from, to)),
        _ => false,
    }
}
