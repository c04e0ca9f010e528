//! The layout that a table has now, as SQL would say it: the way back from Iceberg's metadata.

use iceberg::spec::{NullOrder, SortDirection};

use super::{Layout, PartitionTerm, SortTerm, Term, Transform, field_name};
use crate::table::LakeTable;

impl LakeTable {
    /// How rows are laid out that are written from now on. Left out are partition fields that are none any more (`void`, of tables of
    /// format version 1) and what is of a column that is gone.
    pub fn layout(&self) -> Layout {
        let schema = self.metadata().current_schema();
        let term = |source: i32, transform: Transform| {
            let column = schema.name_by_field_id(source)?.to_owned();
            (transform != Transform::Void).then_some(Term { column, transform })
        };
        let spec = self.metadata().default_partition_spec().fields().iter();
        let partition = spec.filter_map(|field| {
            let term = term(field.source_id, field.transform)?;
            let own = field_name(&term.column, term.transform, false);
            Some(PartitionTerm { term, name: (own != field.name).then(|| field.name.clone()) })
        });
        let order = self.metadata().default_sort_order().fields.iter();
        let sort = order.filter_map(|field| {
            Some(SortTerm {
                term: term(field.source_id, field.transform)?,
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            })
        });
        Layout { partition: partition.collect(), sort: sort.collect() }
    }
}
