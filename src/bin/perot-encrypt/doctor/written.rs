//! Finds the file and the line where a setting is written, to show them. The value that counts is the one that
//! `doveconf` prints.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::configuration::{unquoted, unquoted_words};

/// Files may include each other this deep. The limit ends a file that includes itself.
const MOST_INCLUDED: usize = 16;

/// A file, and a line of it, counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    /// It is `None` if the line is still to be written.
    pub line: Option<usize>,
}

/// A setting, as a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub place: Place,
    /// The names of the blocks around it, the outermost first.
    pub blocks: Vec<String>,
    pub name: String,
    pub value: String,
}

/// The settings in all files of the configuration.
#[derive(Debug, Default)]
pub struct Written {
    /// The settings, in the order in which Dovecot reads them.
    pub settings: Vec<Setting>,
    /// The files, and the folders from which files are included by a pattern.
    pub files: BTreeSet<PathBuf>,
    /// The last of these folders.
    included: Option<PathBuf>,
    main: PathBuf,
}

impl Written {
    /// Reads a file, and those that it includes. Files that cannot be read are left out, because `doveconf` has
    /// complained of them.
    pub fn read(main: &Path) -> Self {
        let mut written = Self { main: main.to_owned(), ..Self::default() };
        written.file(main, &mut Vec::new(), 0);
        written
    }

    /// Returns the last place where a setting is written, among those whose blocks `fits` accepts.
    pub fn last(&self, name: &str, fits: impl Fn(&[String]) -> bool) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| setting.name == name && fits(&setting.blocks))
    }

    /// Returns a place for new settings, which Dovecot reads after all others.
    pub fn new_place(&self) -> Place {
        let file = match &self.included {
            Some(folder) => folder.join("99-perot-encrypt.conf"),
            None => self.main.clone(),
        };
        Place { file, line: None }
    }

    fn file(&mut self, path: &Path, blocks: &mut Vec<String>, depth: usize) {
        let Ok(text) = fs::read(path) else { return };
        self.files.insert(path.to_owned());
        let text = String::from_utf8_lossy(&text);
        let mut continued = String::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.starts_with('#') {
                continue;
            }
            if let Some(begin) = line.strip_suffix('\\') {
                continued += begin;
                continued.push(' ');
                continue;
            }
            let line = std::mem::take(&mut continued) + line;
            self.line(path, number, without_comment(&line), blocks, depth);
        }
    }

    fn line(&mut self, path: &Path, number: usize, line: &str, blocks: &mut Vec<String>, depth: usize) {
        let included = line.strip_prefix("!include_try ").or_else(|| line.strip_prefix("!include "));
        if let Some(pattern) = included {
            self.include(&path.with_file_name(unquoted(pattern.trim())), blocks, depth);
        } else if let Some(name) = line.strip_suffix('{') {
            blocks.push(unquoted_words(name.trim()));
        } else if line == "}" {
            blocks.pop();
        } else if let Some((name, value)) = line.split_once('=').filter(|_| blocks.iter().all(|b| matters(b)))
        {
            self.settings.push(Setting {
                place: Place { file: path.to_owned(), line: Some(number) },
                blocks: blocks.clone(),
                name: name.trim().to_owned(),
                value: unquoted(value.trim()),
            });
        }
    }

    /// Reads files whose names fit a pattern, in the order of their names.
    fn include(&mut self, pattern: &Path, blocks: &mut Vec<String>, depth: usize) {
        if depth >= MOST_INCLUDED {
            return;
        }
        for path in self.fitting(pattern) {
            self.file(&path, blocks, depth + 1);
        }
    }

    fn fitting(&mut self, pattern: &Path) -> Vec<PathBuf> {
        let name = pattern.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(folder) = pattern.parent().filter(|_| name.contains(['*', '?'])) else {
            return vec![pattern.to_owned()];
        };
        self.files.insert(folder.to_owned());
        self.included = Some(folder.to_owned());
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.filter(|entry| fits(name.as_bytes(), entry.file_name().as_encoded_bytes()));
        let mut paths: Vec<PathBuf> = paths.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }
}

/// Returns true if settings in a block can be about deliveries. Other blocks can have fields of the same names: those
/// of a user database, for example.
fn matters(block: &str) -> bool {
    let kind = block.split(' ').next().unwrap_or_default();
    matches!(kind, "plugin" | "protocol" | "sieve_script" | "mail_plugins" | "sieve_plugins")
}

/// Returns true if a name fits a pattern with `*` and `?`, by the rules of the shell.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|i| fits(rest, &name[i..])) && !name.starts_with(b"."),
        ([b'?', rest @ ..], [_, name @ ..]) => fits(rest, name),
        ([letter, rest @ ..], [first, name @ ..]) => letter == first && fits(rest, name),
        ([], []) => true,
        _ => false,
    }
}

/// Removes a comment, which begins with ` #` outside quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = None;
    let mut before = ' ';
    for (i, letter) in line.char_indices() {
        match quoted {
            None if letter == '#' && before.is_whitespace() => return line[..i].trim_end(),
            None if letter == '"' || letter == '\'' => quoted = Some(letter),
            Some(quote) if letter == quote && before != '\\' => quoted = None,
            _ => {}
        }
        before = letter;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_dovecots_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("conf.d")).unwrap();
        let main = "a = 1 # why\n!include conf.d/*.conf\n!include_try none.conf\nprotocol \"lmtp\" {\n  plugin {\n    \
                    b = \"x # y\" # z\n  }\n}\nuserdb x {\n  a = 6\n}\nc = 1 \\\n  2\n";
        fs::write(path("dovecot.conf"), main).unwrap();
        fs::write(path("conf.d/20-b.conf"), "# a = 5\na = 3\n").unwrap();
        fs::write(path("conf.d/10-a.conf"), "a = 2\n").unwrap();
        fs::write(path("conf.d/.10-a.conf"), "a = 4\n").unwrap();
        fs::write(path("conf.d/10-a.conf.bak"), "a = 4\n").unwrap();

        let written = Written::read(&path("dovecot.conf"));
        let rows: Vec<(String, Option<usize>, &str, &str)> = written
            .settings
            .iter()
            .map(|s| (s.blocks.join("/"), s.place.line, s.name.as_str(), s.value.as_str()))
            .collect();
        let row = |blocks: &str, line, name, value| (blocks.to_owned(), Some(line), name, value);
        let expected = [
            row("", 1, "a", "1"),
            row("", 1, "a", "2"),
            row("", 2, "a", "3"),
            row("protocol lmtp/plugin", 6, "b", "x # y"),
            row("", 13, "c", "1  2"),
        ];
        assert_eq!(rows, expected);
        assert_eq!(written.last("a", <[_]>::is_empty).unwrap().place.file, path("conf.d/20-b.conf"));
        assert_eq!(written.new_place().file, path("conf.d/99-perot-encrypt.conf"));
        assert!(written.files.contains(&path("conf.d")));
    }

    #[test]
    fn a_file_that_includes_itself_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dovecot.conf");
        fs::write(&file, "a = 1\n!include dovecot.conf\n").unwrap();
        assert_eq!(Written::read(&file).settings.len(), MOST_INCLUDED + 1);
    }
}
