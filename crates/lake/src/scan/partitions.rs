//! What partition tuples say of the values of a column, whichever partition spec a file was written under.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use iceberg::spec::{FieldSummary, ManifestFile, PrimitiveLiteral, PrimitiveType, Transform, Type};

use super::statistics::scalar;
use crate::files::LakeFile;
use crate::partition::{SourceRange, bucket_of, source_range};
use crate::table::LakeTable;

/// One column of a table in its partition specs.
pub(super) struct PartitionedColumn {
    source: PrimitiveType,
    stored: DataType,
    seen: DataType,
    /// By partition spec.
    places: HashMap<i32, Places>,
}

/// A column in a partition spec.
struct Places {
    /// How many fields the spec has.
    fields: usize,
    places: Vec<PartitionPlace>,
}

/// A partition field that is made of the column.
pub(super) struct PartitionPlace {
    /// Where in the tuple it is.
    pub(super) at: usize,
    pub(super) transform: Transform,
    /// The type of its values.
    pub(super) ty: PrimitiveType,
}

impl PartitionedColumn {
    /// None for a column that no spec is made of.
    pub(super) fn new(table: &LakeTable, index: usize) -> Option<PartitionedColumn> {
        let field = table.iceberg_schema().as_struct().fields().get(index)?;
        let Type::Primitive(source) = &*field.field_type else { return None };
        let mut places: HashMap<i32, Places> = HashMap::new();
        for spec in table.metadata().partition_specs_iter() {
            for (at, part) in spec.fields().iter().enumerate() {
                let says = !matches!(part.transform, Transform::Void | Transform::Unknown);
                if part.source_id != field.id || !says {
                    continue;
                }
                let Ok(Type::Primitive(ty)) = part.transform.result_type(&field.field_type) else { continue };
                let fields = spec.fields().len();
                let of_spec = places.entry(spec.spec_id()).or_insert_with(|| Places { fields, places: Vec::new() });
                of_spec.places.push(PartitionPlace { at, transform: part.transform, ty });
            }
        }
        (!places.is_empty()).then(|| PartitionedColumn {
            source: source.clone(),
            stored: table.storage_schema().field(index).data_type().clone(),
            seen: table.schema().field(index).data_type().clone(),
            places,
        })
    }

    /// The partition values that are made of the column.
    fn values<'a>(&'a self, file: &'a LakeFile) -> impl Iterator<Item = (Transform, Option<PrimitiveLiteral>)> + 'a {
        let places = self.places.get(&file.spec_id).into_iter().flat_map(|spec| &spec.places);
        places.filter_map(move |place| Some((place.transform, file.entry.partition_value(place.at)?)))
    }

    /// What the manifest list says of the partition values that are made of the column.
    pub(super) fn summaries<'a>(
        &'a self,
        manifest: &'a ManifestFile,
    ) -> impl Iterator<Item = (&'a PartitionPlace, &'a FieldSummary)> + 'a {
        let summaries = manifest.partitions.as_deref().unwrap_or_default();
        // Of a list of another length nobody knows which fields it is of.
        let spec = self.places.get(&manifest.partition_spec_id).filter(|spec| spec.fields == summaries.len());
        let places = spec.into_iter().flat_map(|spec| &spec.places);
        places.filter_map(|place| Some((place, summaries.get(place.at)?)))
    }

    /// The type of the column as it is stored.
    pub(super) fn source(&self) -> &PrimitiveType {
        &self.source
    }

    /// A stored value as queries see it; none where it does not fit.
    pub(super) fn seen(&self, value: &PrimitiveLiteral) -> Option<ScalarValue> {
        scalar(value, &self.source, &self.seen)
    }

    /// A lower bound, when the partition gives one.
    pub(super) fn lower(&self, file: &LakeFile) -> Option<ScalarValue> {
        self.bound(file, |range| range.lower)
    }

    /// An upper bound, likewise.
    pub(super) fn upper(&self, file: &LakeFile) -> Option<ScalarValue> {
        self.bound(file, |range| range.upper)
    }

    fn bound(&self, file: &LakeFile, pick: impl Fn(SourceRange) -> Option<PrimitiveLiteral>) -> Option<ScalarValue> {
        self.values(file).find_map(|(transform, value)| {
            self.seen(&pick(source_range(transform, &self.source, value.as_ref(), value.as_ref()))?)
        })
    }

    /// Whether all values of the column are NULL, or none is.
    pub(super) fn is_null(&self, file: &LakeFile) -> Option<bool> {
        self.values(file).next().map(|(_, value)| value.is_none())
    }

    /// The values as they are stored, ready to be looked for; none when that is not certain.
    pub(super) fn wanted(&self, values: &HashSet<ScalarValue>) -> Option<Vec<ScalarValue>> {
        let stored = |value: &ScalarValue| {
            (value.data_type() == self.seen && !value.is_null()).then(|| value.cast_to(&self.stored).ok())?
        };
        values.iter().map(stored).collect()
    }

    /// False when the file cannot have any of these values.
    pub(super) fn may_have(&self, file: &LakeFile, wanted: &[ScalarValue]) -> bool {
        self.values(file).all(|(transform, value)| match (transform, value) {
            (_, None) => false,
            (Transform::Bucket(count), Some(PrimitiveLiteral::Int(bucket))) => {
                wanted.iter().any(|value| bucket_of(count, value).is_none_or(|found| found == bucket))
            }
            _ => true,
        })
    }
}
