//! Columns, each as wide as what is in it.

use super::style::{Style, plain};
use std::io::{self, Write};

/// Rows below a header. The last column is not padded, so that long notes do no harm.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new(header: impl Into<Vec<&'static str>>) -> Self {
        Self {
            header: header.into(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it; words that mean something have colours.
    pub fn print(&self, out: &mut impl Write, style: Style) -> io::Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            widest.max(self.header[column].len())
        };
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let header: Vec<String> = self.header.iter().map(|h| (*h).to_owned()).collect();
        line(out, &header, &widths, |cell| style.strong(cell))?;
        for row in &self.rows {
            line(out, row, &widths, |cell| style.word(cell))?;
        }
        Ok(())
    }
}

fn line(out: &mut impl Write, cells: &[String], widths: &[usize], paint: impl Fn(&str) -> String) -> io::Result<()> {
    let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
    for (column, cell) in cells.iter().enumerate().take(last + 1) {
        write!(out, "{}", paint(cell))?;
        if column < last {
            let pad = widths[column].saturating_sub(cell.chars().count()) + 2;
            write!(out, "{:pad$}", "")?;
        }
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(["A", "LONGER", "C"]);
        table.row(["grün".to_owned(), String::new(), "x\u{1b}[2J".to_owned()]);
        table.row(["b".to_owned(), "y".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.print(&mut out, Style::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "A     LONGER  C\ngrün          x\u{fffd}[2J\nb     y\n");
    }
}
