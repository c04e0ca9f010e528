//! Rows of text under headings.

/// The lines of a table: each column as wide as its widest value, numbers to the right.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let values = rows.iter().map(|row| row[column].chars().count());
        values.chain([headings[column].chars().count()]).max().unwrap_or(0)
    };
    let is_number =
        |column: usize| rows.iter().all(|row| row[column] == "-" || row[column].chars().all(|c| c.is_ascii_digit()));
    let line = |values: [&str; N]| {
        let cells = values.iter().enumerate().map(|(column, value)| {
            let width = width(column);
            if is_number(column) { format!("{value:>width$}") } else { format!("{value:<width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(headings)];
    lines.extend(rows.iter().map(|row| line(std::array::from_fn(|column| row[column].as_str()))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["1", "node1:5442", "leader", "-"], ["12", "n:1", "follower", "340"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let expected =
            ["NODE  ADDRESS     ROLE      LAG", "   1  node1:5442  leader      -", "  12  n:1         follower  340"];
        assert_eq!(table(["NODE", "ADDRESS", "ROLE", "LAG"], &rows), expected);
    }
}
