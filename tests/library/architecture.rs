//! The rules of doc/dev/architecture.md that a test can hold: which files may import from which, and the
//! width of C.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use perot_testing::pages::project;

use crate::source::{code, sources};

/// The path of a module: its names from the root of the crate.
type Path = Vec<String>;

/// A file of the source, which is a module.
#[derive(Default)]
struct Module {
    /// Its imports, by their full paths.
    imports: BTreeSet<Path>,
    /// Its `pub use` items: the name, and the full path of the thing.
    handed_on: BTreeMap<String, Path>,
}

/// All modules of `src`, except those of tests and those within a file.
struct Modules(BTreeMap<Path, Module>);

impl Modules {
    fn read() -> Self {
        let mut files = BTreeMap::new();
        for file in sources("src") {
            let name = file.strip_prefix(project("src")).unwrap().with_extension("");
            let mut path: Path = name.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if path.last().is_some_and(|last| last == "mod" || last == "lib") {
                path.pop();
            }
            if path.last().is_none_or(|last| last != "tests") {
                files.insert(path, fs::read_to_string(file).unwrap());
            }
        }
        let read = |(path, text): (&Path, &String)| {
            let children = files.keys().filter(|p| p.len() == path.len() + 1 && p.starts_with(path));
            let children = children.map(|child| child.last().unwrap().as_str()).collect();
            let tokens = tokens(text);
            let mut reader = Reader { path, children, rest: &tokens, module: Module::default() };
            reader.read();
            (path.clone(), reader.module)
        };
        Self(files.iter().map(read).collect())
    }

    /// Returns the module that defines the thing with this path.
    fn home(&self, path: &[String]) -> &Path {
        let longest = (0..=path.len()).rev().find_map(|n| self.0.get_key_value(&path[..n]));
        let (home, module) = longest.expect("the root is a module");
        let handed_on = path.get(home.len()).and_then(|name| module.handed_on.get(name));
        handed_on.map_or(home, |thing| self.home(thing))
    }

    /// Returns the pairs of modules of which the first imports from the second. Imports from a module's own
    /// parents are left out: a module is a part of them.
    fn edges(&self) -> BTreeSet<(&Path, &Path)> {
        let all = self.0.iter().flat_map(|(from, module)| module.imports.iter().map(move |to| (from, to)));
        all.map(|(from, to)| (from, self.home(to))).filter(|(from, to)| !from.starts_with(to)).collect()
    }
}

/// Splits a file into words and signs, without comments, literals and test code. `::` is one sign.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    for c in code(text).replace("#[cfg(test)]", "\0").chars() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        match tokens.last_mut() {
            Some(last) if is_word(c) && last.ends_with(is_word) => last.push(c),
            Some(last) if c == ':' && last == ":" => last.push(c),
            _ => tokens.push(c.into()),
        }
    }
    tokens.retain(|token| !token.trim().is_empty());
    without_tests(tokens)
}

/// Removes each item that is for tests only, up to its `;` or to the end of its block.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    let (mut kept, mut depth, mut in_tests) = (Vec::new(), 0, false);
    for token in tokens {
        in_tests |= token == "\0";
        if !in_tests {
            kept.push(token);
            continue;
        }
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        in_tests = depth > 0 || !matches!(token.as_str(), "}" | ";");
    }
    kept
}

/// Finds paths that lead to other modules of the crate.
struct Reader<'a> {
    path: &'a Path,
    children: BTreeSet<&'a str>,
    rest: &'a [String],
    module: Module,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (token, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(token)
    }

    fn next_if(&mut self, wanted: &str) -> bool {
        let is_next = self.rest.first().is_some_and(|token| token == wanted);
        self.rest = &self.rest[usize::from(is_next)..];
        is_next
    }

    fn read(&mut self) {
        let (mut before, mut public, mut hands_on) = ("", false, false);
        while let Some(token) = self.next() {
            match token {
                "pub" => public = true,
                "use" => (hands_on, public) = (public, false),
                "(" | ")" | "crate" | "super" => {}
                ";" => (hands_on, public) = (false, false),
                _ => public = false,
            }
            let begins_here = self.rest.first().is_some_and(|next| next == "::") && before != "::";
            if let Some(root) = self.root(token).filter(|_| begins_here) {
                self.next();
                self.tree(root, hands_on);
            }
            before = token;
        }
    }

    /// Returns the module that the first word of a path names, if it is one of this crate.
    fn root(&self, word: &str) -> Option<Path> {
        match word {
            "crate" => Some(Vec::new()),
            "self" => Some(self.path.clone()),
            "super" => Some(self.path.split_last()?.1.to_vec()),
            child => {
                self.children.contains(child).then(|| [self.path.as_slice(), &[child.to_owned()]].concat())
            }
        }
    }

    /// Reads the part after `root` and `::`: a path, or several in braces.
    fn tree(&mut self, mut root: Path, hands_on: bool) {
        if self.next_if("{") {
            while !self.next_if("}") {
                self.tree(root.clone(), hands_on);
                self.next_if(",");
            }
            return;
        }
        match self.next().expect("a path goes on") {
            "super" => drop(root.pop()),
            "self" => {}
            word => root.push(word.to_owned()),
        }
        if self.next_if("::") {
            return self.tree(root, hands_on);
        }
        let name = if self.next_if("as") { self.next() } else { root.last().map(String::as_str) };
        if hands_on {
            let name = name.unwrap_or_default().to_owned();
            self.module.handed_on.insert(name, root);
        } else {
            self.module.imports.insert(root);
        }
    }
}

#[test]
fn no_modules_import_in_a_circle() {
    let modules = Modules::read();
    let edges = modules.edges();
    // `reached` also gets the indirect imports.
    let mut reached = edges.clone();
    loop {
        let next =
            |&(from, via): &_| edges.iter().filter(move |(f, _)| *f == via).map(move |(_, to)| (from, *to));
        let more: BTreeSet<_> =
            reached.iter().flat_map(next).filter(|edge| !reached.contains(edge)).collect();
        if more.is_empty() {
            break;
        }
        reached.extend(more);
    }
    let mut circles: BTreeMap<BTreeSet<&Path>, Vec<String>> = BTreeMap::new();
    for &(from, to) in edges.iter().filter(|(from, to)| reached.contains(&(*to, *from))) {
        let circle =
            modules.0.keys().filter(|m| reached.contains(&(from, m)) && reached.contains(&(m, from)));
        circles.entry(circle.collect()).or_default().push(arrow(from, to));
    }
    let circles: Vec<_> = circles.into_values().collect();
    assert!(
        edges.len() > 50 && circles.is_empty(),
        "of {} imports, these make circles: {circles:#?}",
        edges.len()
    );
}

/// Only `ffi` knows the host.
#[test]
fn the_core_imports_nothing_of_the_border_to_c() {
    const CORE: [&str; 5] = ["message", "certs", "openpgp", "smime", "openssl"];
    let modules = Modules::read();
    let is_core = |path: &Path| path.first().is_some_and(|first| CORE.contains(&first.as_str()));
    let edges =
        modules.edges().into_iter().filter(|(from, to)| is_core(from) && to.starts_with(&["ffi".into()]));
    let wrong: Vec<String> = edges.map(|(from, to)| arrow(from, to)).collect();
    assert!(modules.0.keys().any(is_core) && wrong.is_empty(), "{wrong:#?}");
}

fn arrow(from: &Path, to: &Path) -> String {
    format!("{} -> {}", from.join("::"), to.join("::"))
}

/// As in Pigeonhole. A tab goes to the next multiple of eight.
#[test]
fn lines_of_c_have_at_most_80_columns() {
    let mut wide = Vec::new();
    let folders = ["c-shim", "dovecot-headers", "tests/dovecot", "examples"];
    let files = folders.into_iter().flat_map(sources);
    for file in files.filter(|file| file.extension().is_some_and(|x| x == "c" || x == "h")) {
        for (number, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let width = line.chars().fold(0, |n, c| if c == '\t' { n / 8 * 8 + 8 } else { n + 1 });
            if width > 80 {
                wide.push(format!("{}:{}: {width}", file.display(), number + 1));
            }
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}
