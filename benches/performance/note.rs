//! The note that people read: what is between the markers of a part is ours, the rest is theirs.

use std::path::Path;

/// Puts `text` between `<!-- begin NAME -->` and `<!-- end NAME -->`, which must be there.
pub fn replace(note: &Path, name: &str, text: &str) {
    let old = std::fs::read_to_string(note).unwrap();
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = old
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{note:?} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{note:?} has no {end}"));
    let new = format!("{before}{begin}\n{}\n\n{end}{after}", text.trim_end());
    std::fs::write(note, new).unwrap();
}

/// A table of the note.
pub struct Table {
    text: String,
}

impl Table {
    /// With these titles.
    pub fn new<const N: usize>(titles: [&str; N]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(titles.map(str::to_owned));
        table.row([(); N].map(|()| "---".to_owned()));
        table
    }

    /// A line of it.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.text += &format!("| {} |\n", cells.join(" | "));
    }

    /// As Markdown.
    pub fn into_text(self) -> String {
        self.text
    }
}
