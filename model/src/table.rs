// SPDX-License-Identifier: GPL-3.0-or-later
//! Aligned columns, as every table of Domus shows them: two spaces between, no rules.

/// A table with a header; trailing blanks are cut.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(&mut header.iter().copied());
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_aligned_and_lines_end_with_their_text() {
        let rows = [
            vec!["db".into(), "up".into()],
            vec!["a-longer".into(), "-".into()],
        ];
        let text = super::table(&["domU", "state"], &rows);
        assert_eq!(text, "domU      state\ndb        up\na-longer  -\n");
    }
}
