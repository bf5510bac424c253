//! Tables: columns as wide as what stands in them, words at the left and figures at the right.

/// A column, by its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Of words.
    Words(&'static str),
    /// Of figures.
    Figures(&'static str),
}

impl Column {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::Words(title) | Column::Figures(title) => title,
        }
    }
}

/// A table that is written part by part. What stands in a later part may widen its columns.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
    has_head: bool,
}

impl<const N: usize> Table<N> {
    /// A table of these columns; nothing is written yet.
    pub(crate) fn new(columns: [Column; N]) -> Table<N> {
        Table { columns, widths: columns.map(|column| column.title().chars().count()), has_head: false }
    }

    /// A whole table.
    pub(crate) fn whole(columns: [Column; N], rows: &[[String; N]]) -> String {
        Table::new(columns).part(rows)
    }

    /// The next rows; the titles before the first.
    pub(crate) fn part(&mut self, rows: &[[String; N]]) -> String {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let head = (!self.has_head).then(|| self.columns.map(|column| column.title().to_owned()));
        self.has_head = true;
        head.iter().chain(rows).map(|row| self.line(row)).collect()
    }

    fn line(&self, row: &[String; N]) -> String {
        let cells = self.columns.iter().zip(row).zip(self.widths).map(|((column, cell), width)| match column {
            Column::Words(_) => format!("{cell:<width$}"),
            Column::Figures(_) => format!("{cell:>width$}"),
        });
        let line = cells.collect::<Vec<String>>().join("  ");
        format!("{}\n", line.trim_end())
    }
}

/// Each line of a text, so many columns further to the right.
pub(crate) fn indented(text: &str, columns: usize) -> String {
    text.lines().map(|line| format!("{:columns$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_stands_in_them() {
        let mut table = Table::new([Column::Words("NAME"), Column::Figures("N"), Column::Words("WHY")]);
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let first = table.part(&[row(["ä.test.", "7", "because"]), row(["b", "12", ""])]);
        assert_eq!(first, "NAME      N  WHY\nä.test.   7  because\nb        12\n");
        assert_eq!(table.part(&[row(["longer.test.", "1", "x"])]), "longer.test.   1  x\n");
        assert_eq!(table.part(&[]), "");
        assert_eq!(indented("a\nb\n", 2), "  a\n  b\n");
    }
}
