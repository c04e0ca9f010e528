//! What a statement says of files whose columns it does not name: which they are, their format, and the options with what is
//! meant where nothing is said.

use wharf_values::{SqlError, SqlState};

use super::options::default_format;
use super::place::all_files;
use super::{FileOptions, SourceFile};
use crate::copy::{CopyFormat, CopyOptions, OptionItem, OptionValue};
use crate::engine::Engine;

/// Files, and how they are read.
pub(crate) struct Described {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) options: CopyOptions,
    pub(crate) file_options: FileOptions,
    /// The options as COPY is given them; what was meant is said.
    pub(crate) items: Vec<OptionItem>,
}

impl Described {
    /// Finds the files. Unlike COPY a path without a scheme that ends in `.csv` is CSV; where columns are to be found out
    /// (`open`), the first line of CSV and text is one of names unless the options say it is not.
    ///
    /// # Errors
    /// `58P01` when there are no files, and what the options can be refused with.
    pub(crate) async fn find(
        engine: &Engine,
        locations: &[String],
        given: &[OptionItem],
        open: bool,
    ) -> Result<Described, SqlError> {
        let mut items = given.to_vec();
        let (file_options, _) = FileOptions::split(&items)?;
        file_options.check_direction(false)?;
        let files = all_files(engine, locations, &file_options).await?;
        let has = |items: &[OptionItem], name: &str| items.iter().any(|item| item.name == name);
        let mut say = |name: &str, value: &str| {
            items.push(OptionItem { name: name.to_owned(), value: OptionValue::Text(value.to_owned()) });
        };
        if !has(given, "format") {
            let format = files.first().map_or(CopyFormat::Text, |file| default_format(&file.name, false));
            say("format", format.name());
        }
        let (_, rest) = FileOptions::split(&items)?;
        let mut options = CopyOptions::new(&rest, false)?;
        if open && !has(given, "header") && matches!(options.format, CopyFormat::Csv | CopyFormat::Text) {
            items.push(OptionItem { name: "header".to_owned(), value: OptionValue::Text("true".to_owned()) });
            let (_, rest) = FileOptions::split(&items)?;
            options = CopyOptions::new(&rest, false)?;
        }
        if options.format == CopyFormat::Binary {
            let message = "files in PostgreSQL's binary format do not say what their columns are";
            return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message)
                .with_hint("Create the table with its columns, and COPY the files."));
        }
        Ok(Described { files, options, file_options, items })
    }
}
