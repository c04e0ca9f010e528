//! The syntax tree of a random statement: what the generator makes, what is written out as SQL, and what is made smaller.
//!
//! It knows types, so that a part can be replaced by another of the same type. It does not know whether names can be seen from
//! where they are used: PostgreSQL says so.

use super::schema::Column;
use super::types::SqlType;

/// An expression of a type.
#[derive(Clone, Debug)]
pub(super) struct Expression {
    pub(super) ty: SqlType,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    Column {
        relation: u32,
        column: String,
    },
    /// A value, with its cast.
    Literal(String),
    /// Functions and operators: `$0`, `$1` .. stand for the arguments.
    Form {
        template: &'static str,
        arguments: Vec<Expression>,
    },
    Scalar(Box<Query>),
    Exists {
        negated: bool,
        query: Box<Query>,
    },
    In {
        negated: bool,
        left: Box<Expression>,
        query: Box<Query>,
    },
    /// `left < ALL (query)`; the operator has the quantifier with it.
    Quantified {
        operator: &'static str,
        left: Box<Expression>,
        query: Box<Query>,
    },
    /// The group key of this number of the SELECT that it stands in.
    Key(usize),
    /// `$f` is the place of FILTER.
    Aggregate {
        template: &'static str,
        arguments: Vec<Expression>,
        filter: Option<Box<Expression>>,
    },
    Window(Box<Window>),
}

/// A window function.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) template: &'static str,
    pub(super) arguments: Vec<Expression>,
    pub(super) partition: Option<Expression>,
    /// What stands first in its ORDER BY, which goes on with all columns of all relations: an order without ties, but of rows
    /// that are the same.
    pub(super) key: Option<Expression>,
    /// Without an order all rows of the partition are one frame.
    pub(super) ordered: bool,
    pub(super) frame: &'static str,
}

/// A query with everything that may stand around a SELECT.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) with: Vec<Cte>,
    pub(super) body: Body,
    pub(super) order: Option<Order>,
}

/// `name(columns) AS (query)`.
#[derive(Clone, Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    pub(super) materialized: &'static str,
    pub(super) query: Query,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Select(Box<Select>),
    Set { operator: &'static str, left: Box<Query>, right: Box<Query> },
}

/// ORDER BY all columns.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// By column: nothing, or such as ` DESC NULLS LAST`.
    pub(super) directions: Vec<&'static str>,
    pub(super) limit: Option<u32>,
    pub(super) offset: Option<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) distinct: bool,
    pub(super) items: Vec<Expression>,
    pub(super) from: FromClause,
    pub(super) filter: Option<Expression>,
    pub(super) group: Option<Group>,
}

/// What makes a SELECT an aggregation; without keys all rows are one group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) grouping: Grouping,
    pub(super) keys: Vec<Expression>,
    pub(super) having: Option<Expression>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouping {
    Plain,
    Rollup,
    Cube,
    /// All keys, none of them, and each alone.
    Sets,
}

#[derive(Clone, Debug)]
pub(super) enum FromClause {
    Relation(Relation),
    Join(Box<Join>),
}

#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) kind: &'static str,
    pub(super) left: FromClause,
    pub(super) right: FromClause,
    /// None of CROSS JOIN.
    pub(super) condition: Option<Expression>,
}

/// Something in FROM with an alias, `x` and its number.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub(super) alias: u32,
    pub(super) columns: Vec<Column>,
    pub(super) source: Source,
}

#[derive(Clone, Debug)]
pub(super) enum Source {
    Table(&'static str),
    Cte(String),
    Derived {
        lateral: bool,
        query: Box<Query>,
    },
    Values(Vec<Vec<Expression>>),
    /// A function that gives rows of one column.
    Function {
        template: &'static str,
        arguments: Vec<Expression>,
    },
}

/// What a run asks both servers.
#[derive(Clone, Debug)]
pub(super) enum Statement {
    Query(Query),
    Change(Change),
}

/// An INSERT, UPDATE or DELETE on a copy of a table.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// The table that is copied.
    pub(super) table: &'static str,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Insert { columns: Vec<Column>, query: Query },
    Update { target: u32, set: Vec<(String, Expression)>, source: Option<Matched>, filter: Option<Expression> },
    Delete { target: u32, using: Option<Relation>, filter: Option<Expression> },
}

/// The relation in FROM of an UPDATE. At most one of its rows belongs to a row of the table, or it would not be determined
/// which one is taken: `key` is compared with its `id`, which is unique.
#[derive(Clone, Debug)]
pub(super) struct Matched {
    pub(super) relation: Relation,
    pub(super) key: Expression,
}

impl Expression {
    pub(super) fn new(ty: SqlType, node: Node) -> Expression {
        Expression { ty, node }
    }

    pub(super) fn literal(ty: SqlType, text: impl Into<String>) -> Expression {
        Expression::new(ty, Node::Literal(text.into()))
    }

    pub(super) fn null(ty: SqlType) -> Expression {
        Expression::literal(ty, ty.null())
    }

    pub(super) fn form(ty: SqlType, template: &'static str, arguments: Vec<Expression>) -> Expression {
        Expression::new(ty, Node::Form { template, arguments })
    }

    pub(super) fn column(relation: u32, column: &Column) -> Expression {
        Expression::new(column.ty, Node::Column { relation, column: column.name.clone() })
    }

    /// Whether it is a literal.
    pub(super) fn is_literal(&self) -> bool {
        matches!(self.node, Node::Literal(_))
    }

    /// Whether it can be a group key that is a case of its own: it uses columns, and no subqueries.
    pub(super) fn is_of_columns(&self) -> bool {
        match &self.node {
            Node::Column { .. } => true,
            Node::Form { arguments, .. } => {
                arguments.iter().all(|argument| argument.is_literal() || argument.is_of_columns())
                    && arguments.iter().any(Expression::is_of_columns)
            }
            _ => false,
        }
    }
}

impl Query {
    /// Nothing around the SELECT.
    pub(super) fn plain(select: Select) -> Query {
        Query { with: Vec::new(), body: Body::Select(Box::new(select)), order: None }
    }

    /// The types of its columns.
    pub(super) fn types(&self) -> Vec<SqlType> {
        match &self.body {
            Body::Select(select) => select.items.iter().map(|item| item.ty).collect(),
            Body::Set { left, .. } => left.types(),
        }
    }

    /// The columns that a relation of this query has: `k0`, `k1` ..
    pub(super) fn columns(&self) -> Vec<Column> {
        let types = self.types().into_iter().enumerate();
        types.map(|(index, ty)| Column::nullable(format!("k{index}"), ty)).collect()
    }

    /// Whether its ORDER BY determines the order of its rows, as texts.
    pub(super) fn is_in_total_order(&self) -> bool {
        self.order.is_some() && self.types().iter().all(|ty| ty.looks_as_it_compares())
    }

    /// Takes a column away, of both sides of a set operation. The last one stays.
    pub(super) fn remove_column(&mut self, index: usize) {
        if let Some(order) = &mut self.order
            && order.directions.len() > 1
        {
            order.directions.remove(index);
        }
        match &mut self.body {
            Body::Select(select) if select.items.len() > 1 => drop(select.items.remove(index)),
            Body::Select(_) => {}
            Body::Set { left, right, .. } => {
                left.remove_column(index);
                right.remove_column(index);
            }
        }
    }
}

impl FromClause {
    /// Its columns, with the relations that they belong to.
    pub(super) fn columns(&self) -> Vec<(u32, Column)> {
        let relations = self.relations().into_iter();
        relations.flat_map(|relation| relation.columns.iter().map(|column| (relation.alias, column.clone()))).collect()
    }

    /// Its relations from left to right.
    pub(super) fn relations(&self) -> Vec<&Relation> {
        match self {
            FromClause::Relation(relation) => vec![relation],
            FromClause::Join(join) => {
                let mut found = join.left.relations();
                found.extend(join.right.relations());
                found
            }
        }
    }
}
