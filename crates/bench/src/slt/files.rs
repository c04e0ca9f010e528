//! Which files a run reads, and the schema that belongs to each.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// The folder of the records that speak of Iceberg, which PostgreSQL cannot run.
pub(super) const WHARF_ONLY: &str = "iceberg";

/// The files among `paths`, folders searched for names with this extension, in order of their paths; folders called `left_out`
/// inside of them are not searched.
///
/// A file or folder that is named itself is taken whatever its name. No file at all is an error: a run that checks nothing must
/// not be green.
pub(super) fn find(paths: &[PathBuf], extension: &str, left_out: Option<&str>) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            walk(path, extension, left_out, &mut found)?;
        } else if path.is_file() {
            found.push(path.clone());
        } else {
            bail!("no such file or folder: {}", path.display());
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        bail!(
            "no .{extension} file in {}",
            paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(found)
}

fn walk(folder: &Path, extension: &str, left_out: Option<&str>, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if left_out.is_none_or(|name| !path.ends_with(name)) {
                walk(&path, extension, left_out, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

/// The schema that the records of a file run in: `slt_` and its name, of what an unquoted identifier may hold.
pub(super) fn schema_name(path: &Path) -> String {
    let stem = path.with_extension("");
    let tail: String = stem
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    // An identifier has 63 bytes; the end of a path tells files apart better than its beginning.
    let start = tail.len().saturating_sub(55);
    format!("slt_{}", tail[start..].trim_start_matches('_'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_schema_name_is_a_plain_identifier() {
        assert_eq!(schema_name(Path::new("sqllogictest/Time-zones.slt")), "slt_sqllogictest_time_zones");
        assert!(schema_name(Path::new(&format!("/x/{}/a.slt", "long".repeat(40)))).len() <= 63);
    }

    #[test]
    fn finding_nothing_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(find(&[folder.path().to_owned()], "slt", None).is_err());
        assert!(find(&[folder.path().join("missing.slt")], "slt", None).is_err());
        std::fs::write(folder.path().join("b.slt"), "").unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/c.slt"), "").unwrap();
        std::fs::write(folder.path().join("README.md"), "").unwrap();
        let names = find(&[folder.path().to_owned()], "slt", None).unwrap();
        assert_eq!(names, [folder.path().join("a/c.slt"), folder.path().join("b.slt")]);
        let names = find(&[folder.path().to_owned()], "slt", Some("a")).unwrap();
        assert_eq!(names, [folder.path().join("b.slt")]);
        let names = find(&[folder.path().join("a")], "slt", Some("a")).unwrap();
        assert_eq!(names, [folder.path().join("a/c.slt")]);
    }
}
