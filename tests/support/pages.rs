//! Reads the pages of the documentation, so that tests can run what they show.

use std::fs;
use std::path::{Path, PathBuf};

/// Returns the path of a file of the project.
pub fn project(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    root.join(name)
}

/// Returns the text of a file of the project.
pub fn read(name: &str) -> String {
    fs::read_to_string(project(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Returns all fenced blocks of a page in order, each with the heading of its section, without `#`. The next
/// heading ends a section.
pub fn all_blocks(page: &str) -> Vec<(String, String)> {
    let (mut heading, mut blocks) = (String::new(), Vec::new());
    let mut block: Option<(usize, String)> = None;
    for line in read(page).lines() {
        let fence = line.trim_start().starts_with("```");
        block = match block.take() {
            Some((_, text)) if fence => {
                blocks.push((heading.clone(), text));
                None
            }
            Some((indent, text)) => Some((indent, text + line.get(indent..).unwrap_or_default() + "\n")),
            None if fence => Some((line.len() - line.trim_start().len(), String::new())),
            None => {
                if line.starts_with('#') {
                    heading = line.trim_start_matches('#').trim().to_owned();
                }
                None
            }
        };
    }
    blocks
}

/// Returns the fenced blocks in the section with this heading.
pub fn blocks(page: &str, heading: &str) -> Vec<String> {
    let blocks = all_blocks(page).into_iter().filter(|(section, _)| section == heading);
    let blocks: Vec<String> = blocks.map(|(_, block)| block).collect();
    assert!(!blocks.is_empty(), "{page} has no fenced block below '{heading}'");
    blocks
}

/// Returns the same blocks, which must be `N`: so a test that runs them all cannot miss a new one.
pub fn shown<const N: usize>(page: &str, heading: &str) -> [String; N] {
    blocks(page, heading).try_into().unwrap_or_else(|b| panic!("{page}, {heading}: {b:?}"))
}

/// Returns the rows of all tables of a page, without the head, each with the heading of its section. `\|` is
/// a bar in a cell.
pub fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let (mut heading, mut in_table, mut rows) = (String::new(), false, Vec::new());
    for line in read(page).lines() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().to_owned();
        }
        if line.starts_with("| ") && in_table && !line.starts_with("| ---") {
            let line = line.trim_matches('|').replace("\\|", "\0");
            let cells = line.split('|').map(|cell| cell.trim().replace('\0', "|"));
            rows.push((heading.clone(), cells.collect()));
        }
        in_table = line.starts_with("| ");
    }
    assert!(!rows.is_empty(), "{page} has no table");
    rows
}

/// Returns the text of the code span that begins `cell`.
pub fn code(cell: &str) -> &str {
    let fence = &cell[..cell.len() - cell.trim_start_matches('`').len()];
    let code = cell[fence.len()..].split(fence).next().filter(|_| !fence.is_empty());
    code.unwrap_or_else(|| panic!("no code span: {cell}")).trim()
}

/// Replaces all that stands between `open` and `close` in `text` by `<>`.
pub fn template(text: &str, open: char, close: char) -> String {
    let mut parts = text.split(open);
    let mut template = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (_, after) = part.split_once(close).unwrap_or_else(|| panic!("'{close}' is missing: {text}"));
        template += "<>";
        template += after;
    }
    template
}

/// Returns true if a line has the parts of a message, in order.
pub fn says(line: &str, template: &str) -> bool {
    let mut rest = Some(line);
    for part in template.split("<>") {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
    }
    rest.is_some()
}
