//! Entries at the types that a table's columns have now.
//!
//! A column can be given a wider type: an `int` becomes a `long`, a `float` a `double`, a `decimal` one of more digits
//! (<https://iceberg.apache.org/spec/#schema-evolution>). A manifest keeps what was written under the former type. What always holds: of
//! the entries of one table, partition values of a field are of one type, that of the field under the table's schema, so that they can be
//! compared with each other and written into one manifest.

use std::sync::Arc;

use iceberg::metadata_columns::get_metadata_field;
use iceberg::spec::{PrimitiveType, Schema, SchemaRef, StructType};

use super::entries::{Columns, Entries};
use crate::schema::promotes;

impl Entries {
    /// Whether the manifest was written under another schema than this.
    pub(crate) fn are_of_other_schema(&self, schema: &Schema) -> bool {
        *self.0.schema != *schema
    }

    /// The same entries with partition values of this type, and bounds of this schema's types, where these are wider than what the
    /// manifest was written with. A column that the schema does not have any more stays as it was.
    pub(crate) fn promoted(self, schema: &SchemaRef, partition: &StructType) -> Entries {
        let types = partition.fields().iter().map(|field| field.field_type.as_primitive_type());
        let wider: Vec<_> = self.0.partition.iter().zip(types).map(|((own, _), ty)| wider(own, ty)).collect();
        if wider.iter().all(Option::is_none) && !is_wider(schema, &self.0.schema) {
            return self;
        }
        let mut columns = Columns::clone(&self.0);
        for ((ty, _), wider) in columns.partition.iter_mut().zip(wider) {
            // The array stays as it is: what is made of its values goes by the type beside it.
            if let Some(wider) = wider {
                *ty = wider.clone();
            }
        }
        columns.wider = Some(Arc::clone(schema));
        Entries(Arc::new(columns))
    }
}

impl Columns {
    /// The type of a bound of so many bytes; none of a column that is not known.
    pub(super) fn bound_type(&self, id: i32, length: usize) -> Option<PrimitiveType> {
        let own =
            self.schema.field_by_id(id).or_else(|| get_metadata_field(id).ok())?.field_type.as_primitive_type()?;
        let now = self.wider.as_ref().and_then(|schema| primitive(schema, id));
        Some(match (wider(own, now).unwrap_or(own), length) {
            // The manifest says of itself that it is older than the widening, and some writer knew better.
            (PrimitiveType::Int, 8) => PrimitiveType::Long,
            (PrimitiveType::Float, 8) => PrimitiveType::Double,
            (ty, _) => ty.clone(),
        })
    }
}

fn primitive(schema: &Schema, id: i32) -> Option<&PrimitiveType> {
    schema.field_by_id(id)?.field_type.as_primitive_type()
}

/// The second of two types, if values of the first are promoted to it.
fn wider<'a>(own: &PrimitiveType, now: Option<&'a PrimitiveType>) -> Option<&'a PrimitiveType> {
    now.filter(|now| promotes(own, now))
}

/// Whether a schema has a wider type for a column of another.
fn is_wider(schema: &Schema, before: &Schema) -> bool {
    let mut fields = before.as_struct().fields().iter();
    fields.any(|field| {
        let own = field.field_type.as_primitive_type();
        own.is_some_and(|own| wider(own, primitive(schema, field.id)).is_some())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::HashMap;

    use iceberg::spec::{
        DataContentType, DataFileBuilder, DataFileFormat, Datum, FormatVersion, Literal, NestedField, PartitionSpec,
        Struct, Transform, Type,
    };

    use super::*;
    use crate::manifest::{Contents, NewSnapshot, encode, parse};

    fn schema(ty: PrimitiveType) -> SchemaRef {
        let field = NestedField::optional(1, "r", Type::Primitive(ty));
        Arc::new(Schema::builder().with_fields([Arc::new(field)]).build().unwrap())
    }

    fn spec(schema: &SchemaRef) -> PartitionSpec {
        let spec = PartitionSpec::builder(Arc::clone(schema)).with_spec_id(0);
        spec.add_partition_field("r", "r", Transform::Identity).unwrap().build().unwrap()
    }

    /// The entries of a manifest of one file.
    fn written(ty: PrimitiveType, value: Literal, bound: Datum) -> Entries {
        let schema = schema(ty);
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path("memory:///t/data/1".to_owned())
            .file_format(DataFileFormat::Parquet)
            .record_count(1)
            .file_size_in_bytes(1)
            .partition(Struct::from_iter([Some(value)]))
            .lower_bounds(HashMap::from([(1, bound)]))
            .build()
            .unwrap();
        let version = FormatVersion::V2;
        let snapshot = NewSnapshot { id: 1, parent: None, sequence_number: 1, version, first_row_id: 0 };
        let spec = spec(&schema);
        let made = encode("memory:///m.avro", snapshot, schema, spec, Contents::Added(vec![file]));
        let made = futures::executor::block_on(made).unwrap();
        parse(&made.file, &made.content).unwrap()
    }

    /// What an entry says under another type of the column.
    fn read_as(entries: &Entries, ty: PrimitiveType) -> (Option<Literal>, Option<Datum>) {
        let schema = schema(ty);
        let partition = spec(&schema).partition_type(&schema).unwrap();
        let promoted = entries.clone().promoted(&schema, &partition);
        let entry = promoted.iter().next().unwrap();
        let whole = entry.whole().unwrap();
        assert_eq!(*whole.data_file.partition(), entry.partition());
        (entry.partition().iter().next().unwrap().cloned(), entry.lower_bound(1))
    }

    #[test]
    fn values_and_bounds_are_of_the_wider_type() {
        let entries = written(PrimitiveType::Int, Literal::int(-7), Datum::int(-7));
        assert_eq!(read_as(&entries, PrimitiveType::Int), (Some(Literal::int(-7)), Some(Datum::int(-7))));
        assert_eq!(read_as(&entries, PrimitiveType::Long), (Some(Literal::long(-7)), Some(Datum::long(-7))));
        let entries = written(PrimitiveType::Float, Literal::float(0.5), Datum::float(0.5));
        assert_eq!(read_as(&entries, PrimitiveType::Double), (Some(Literal::double(0.5)), Some(Datum::double(0.5))));
        let decimal = |precision: u32| PrimitiveType::Decimal { precision, scale: 2 };
        let bound = |precision: u32| Datum::try_from_bytes(&[0x7b], decimal(precision)).unwrap();
        let entries = written(decimal(6), Literal::decimal(123), bound(6));
        assert_eq!(read_as(&entries, decimal(20)), (Some(Literal::decimal(123)), Some(bound(20))));
        // What is no promotion changes nothing.
        let entries = written(PrimitiveType::Long, Literal::long(1i64 << 40), Datum::long(1i64 << 40));
        assert_eq!(
            read_as(&entries, PrimitiveType::Int),
            (Some(Literal::long(1i64 << 40)), Some(Datum::long(1i64 << 40)))
        );
    }

    #[test]
    fn the_length_of_a_bound_tells_its_type() {
        let entries = written(PrimitiveType::Int, Literal::int(1), Datum::long(1i64 << 40));
        assert_eq!(read_as(&entries, PrimitiveType::Int).1, Some(Datum::long(1i64 << 40)));
        let entries = written(PrimitiveType::Long, Literal::long(1), Datum::int(1));
        assert_eq!(read_as(&entries, PrimitiveType::Long).1, Some(Datum::long(1)));
    }
}
