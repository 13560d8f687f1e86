// SPDX-License-Identifier: GPL-3.0-or-later
//! A file that the model wants: path, contents, mode. Writing it is somebody else's work.

/// A file below `/etc` that is generated from the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Path relative to `/etc`.
    pub path: String,
    /// What it holds, or where it points.
    pub contents: Contents,
}

/// A regular file's text or a symbolic link's target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contents {
    /// A file of mode 0644.
    Text(String),
    /// A symbolic link.
    Link(String),
}

impl RenderedFile {
    /// A file of mode 0644.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            contents: Contents::Text(text.into()),
        }
    }

    /// A symbolic link to `target`.
    pub fn link(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            contents: Contents::Link(target.into()),
        }
    }
}
