//! Reads the source of the plugin for tests.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use perot_testing::pages::project;

/// Returns all source files of the plugins in a folder, without those of the tool. The folder of the mail plugin's package
/// has no source.
pub fn sources(folder: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension() {
                _ if path.ends_with("src/bin") || path.ends_with("src/mail-plugin") => {}
                None => collect(&path, found),
                Some(_) => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    collect(&project(folder), &mut found);
    assert!(!found.is_empty());
    found
}

/// Returns the positions of the string literals in a source file, with their quotes. Quotes in comments and
/// characters do not count.
pub fn literals(source: &str) -> Vec<Range<usize>> {
    not_code(source).into_iter().filter(|place| source[place.start..].starts_with('"')).collect()
}

/// Removes comments, characters and string literals from a source file.
pub fn code(source: &str) -> String {
    let mut end = 0;
    let mut code = String::new();
    for place in not_code(source) {
        code += &source[end..place.start];
        code.push(' ');
        end = place.end;
    }
    code + &source[end..]
}

/// Returns the positions of comments, characters and string literals in a source file.
fn not_code(source: &str) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(next) = source[at..].chars().next() {
        let rest = &source[at..];
        let behind =
            |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |n| from + n + end.len());
        let length = match next {
            '/' if rest.starts_with("//") => behind("\n", 2),
            '/' if rest.starts_with("/*") => behind("*/", 2),
            '\'' if rest.starts_with("'\\") => behind("'", 3),
            // Any other quote begins a lifetime.
            '\'' if rest.chars().nth(2) == Some('\'') => behind("'", 2),
            '"' => {
                let mut escaped = true;
                let ends = |c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                rest.find(ends).unwrap() + 1
            }
            _ => next.len_utf8(),
        };
        if length > next.len_utf8() {
            found.push(at..at + length);
        }
        at += length;
    }
    found
}
