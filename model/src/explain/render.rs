// SPDX-License-Identifier: GPL-3.0-or-later
//! What layers say of a path, for people.

use super::{Explanation, IMAGE, What};
use crate::table::table;

/// The last change of a source, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// The first digits of the commit.
    pub commit: String,
    /// The day.
    pub day: String,
    /// Who.
    pub author: String,
}

impl Explanation {
    /// For people: what layers of `name` say, the one that is seen first, and the image below
    /// them. `changed`: the last change of a source; `None` of what is not committed.
    pub fn render(&self, name: &str, changed: impl Fn(&str) -> Option<Changed>) -> String {
        let Self {
            path, says, inside, ..
        } = self;
        let mut text = format!("/etc/{path} of {name}\n");
        let rows = says.iter().map(|say| {
            let word = match &say.what {
                What::Removed { entry } if entry != path => format!("removed, as {entry}"),
                what => what.word().to_owned(),
            };
            let (source, changed) = match &say.source {
                Some(source) => (source.clone(), changed(source)),
                None => (
                    "follows from the documents".to_owned(),
                    Some(Changed::default()),
                ),
            };
            let changed = changed.unwrap_or_else(|| Changed {
                commit: "not committed".to_owned(),
                ..Changed::default()
            });
            let Changed {
                commit,
                day,
                author,
            } = changed;
            vec![say.layer.clone(), word, source, commit, day, author]
        });
        let image = [IMAGE.to_owned(), "file, if it has one".to_owned()];
        let image = (inside.is_empty() && !self.knows_image).then(|| image.to_vec());
        let rows: Vec<Vec<String>> = rows.chain(image).collect();
        if !rows.is_empty() {
            let header = ["layer", "gives", "source", "commit", "date", "author"];
            text += &table(&header, &rows);
        }
        text
    }

    /// What the table comes to, for people; of a directory, what is in it.
    pub fn conclusion(&self) -> String {
        if !self.inside.is_empty() {
            let rows = self.inside.iter();
            let rows: Vec<Vec<String>> = rows
                .map(|(file, layer)| vec![file.clone(), layer.clone()])
                .collect();
            return format!("\n{}", table(&["file", "layer"], &rows));
        }
        match self.says.first().map(|say| &say.what) {
            Some(What::Removed { .. }) => "\nIt is not seen: the first one removes it.\n",
            Some(_) => "\nThe first one is seen; it hides those below it.\n",
            None if self.knows_image => "\nNeither the image nor a layer has it.\n",
            None => "\nNo layer has a say in it.\n",
        }
        .to_owned()
    }
}
