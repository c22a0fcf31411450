//! Finds the Sieve scripts that run for a user, in the order in which they run, and reads them.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{json, Value};

use super::configuration::{Configuration, Era, Node};
use super::reading::{Encrypts, Reading};
use super::user::User;

/// Longer scripts are not read, because Pigeonhole takes no more than 1 MiB.
const MOST_BYTES: u64 = 1 << 20;

/// Says when a script runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Before,
    Personal,
    /// It runs for users without a script of their own.
    Default,
    After,
}

impl Role {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "before" => Some(Self::Before),
            "personal" => Some(Self::Personal),
            "default" => Some(Self::Default),
            "after" => Some(Self::After),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Personal => "personal",
            Self::Default => "default",
            Self::After => "after",
        }
    }
}

/// A script as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub role: Role,
    /// The setting that names it, or the block.
    pub setting: String,
    /// The path, or a driver and its arguments.
    pub path: String,
    /// The folder of compiled scripts, if it is not that of the script.
    bin: Option<String>,
    precedence: u32,
}

/// Says whether there is a compiled script, and whether it is younger than the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compiled {
    No,
    Older,
    Yes,
}

/// The result of looking at a script.
#[derive(Debug)]
pub enum State {
    Missing,
    Unreadable(String),
    /// It is not a file that can be read here, but in a database for example. The text says why.
    NotLookedAt(String),
    /// It does not compile. The text says why.
    Wrong(String),
    Read(Reading),
}

/// A script that is to run.
#[derive(Debug)]
pub struct Script {
    pub role: Role,
    pub setting: String,
    pub path: String,
    pub state: State,
    pub compiled: Compiled,
}

impl Script {
    pub fn json(&self) -> Value {
        json!({ "type": self.role.name(), "setting": self.setting, "path": self.path, "state": self.in_words() })
    }

    /// Describes the state of the script in words.
    pub fn in_words(&self) -> String {
        let text = match &self.state {
            State::Missing if self.role == Role::Personal => "not there".to_owned(),
            State::Missing => "NOT THERE".to_owned(),
            State::Unreadable(why) => format!("CANNOT BE READ by the user: {why}"),
            State::NotLookedAt(why) => format!("not looked at: {why}"),
            State::Wrong(why) => format!("DOES NOT COMPILE: {why}"),
            State::Read(reading) => match reading.encrypts {
                Encrypts::All => "encrypts".to_owned(),
                Encrypts::Some => "encrypts some mail".to_owned(),
                Encrypts::Nothing => "does not encrypt".to_owned(),
            },
        };
        match (&self.state, self.compiled) {
            (State::Read(_), Compiled::Older) => text + ", compiled before it was changed",
            (State::Read(_), Compiled::No) => text + ", not compiled",
            _ => text,
        }
    }
}

/// Returns the locations of the scripts that run in a delivery to a user, in that order.
pub fn sequence(configuration: &Configuration, protocol: &str, user: &User) -> Vec<Location> {
    match configuration.era {
        Era::V23 => sequence_23(|name| user.setting(configuration, protocol, name)),
        Era::V24 => sequence_24(&configuration.blocks(protocol, "sieve_script")),
    }
}

fn sequence_23(setting: impl Fn(&str) -> Option<String>) -> Vec<Location> {
    let mut locations = Vec::new();
    let mut add = |role, name: &str, value: &str| locations.push(location_23(role, name, value));
    let numbered =
        |name: &str, number: usize| if number == 1 { name.to_owned() } else { format!("{name}{number}") };
    let all = |name: &'static str| {
        let values = (1..).map(move |number| numbered(name, number));
        values.map_while(|name| setting(&name).filter(|value| !value.is_empty()).map(|value| (name, value)))
    };
    all("sieve_before").for_each(|(name, value)| add(Role::Before, &name, &value));
    let own = setting("sieve").unwrap_or_else(|| "file:~/sieve;active=~/.dovecot.sieve".to_owned());
    add(Role::Personal, "sieve", &own);
    if let Some(value) = setting("sieve_default").or_else(|| setting("sieve_global_path")) {
        add(Role::Default, "sieve_default", &value);
    }
    all("sieve_after").for_each(|(name, value)| add(Role::After, &name, &value));
    locations
}

/// Parses a location with options, such as `file:~/sieve;active=~/.dovecot.sieve`.
fn location_23(role: Role, setting: &str, value: &str) -> Location {
    let mut parts = value.split(';');
    let first = parts.next().unwrap_or_default();
    let options: BTreeMap<&str, &str> = parts.filter_map(|part| part.split_once('=')).collect();
    let path = first.strip_prefix("file:").unwrap_or(first);
    let path = match (role, options.get("active"), options.get("name")) {
        (Role::Personal, Some(active), _) => (*active).to_owned(),
        (Role::Personal, None, _) if first.starts_with("file:") => "~/.dovecot.sieve".to_owned(),
        (_, _, Some(name)) => format!("{path}/{name}.sieve"),
        _ => path.to_owned(),
    };
    let bin = options.get("bindir").map(|dir| (*dir).to_owned());
    Location { role, setting: setting.to_owned(), path, bin, precedence: 0 }
}

fn sequence_24(blocks: &[(String, &[Node])]) -> Vec<Location> {
    let mut named: Vec<(&str, BTreeMap<&str, &str>)> = Vec::new();
    for (name, children) in blocks {
        let values = children.iter().filter_map(|child| {
            let key = child.name.strip_prefix("sieve_script_").unwrap_or(&child.name);
            Some((key, child.value.as_deref()?))
        });
        match named.iter_mut().find(|(known, _)| known == name) {
            Some((_, settings)) => settings.extend(values),
            None => named.push((name, values.collect())),
        }
    }
    let mut locations: Vec<Location> =
        named.iter().filter_map(|(name, settings)| location_24(name, settings)).collect();
    // Both sorts are stable: they keep the order of the configuration.
    locations.sort_by_key(|location| location.precedence);
    locations.sort_by_key(|location| location.role);
    locations
}

fn location_24(name: &str, settings: &BTreeMap<&str, &str>) -> Option<Location> {
    let role = Role::parse(settings.get("type").unwrap_or(&"personal"))?;
    let path = settings.get("path").copied().unwrap_or_default();
    let path = match settings.get("driver").filter(|driver| **driver != "file") {
        Some(driver) => format!("{driver}:{path}"),
        None if role == Role::Personal => {
            settings.get("active_path").filter(|p| !p.is_empty()).unwrap_or(&"~/.dovecot.sieve").to_string()
        }
        None => path.to_owned(),
    };
    let precedence = settings.get("precedence").and_then(|number| number.parse().ok()).unwrap_or(u32::MAX);
    let bin = settings.get("bin_path").map(|bin| (*bin).to_owned());
    Some(Location { role, setting: format!("sieve_script {name}"), path, bin, precedence })
}

/// Reads the scripts of a sequence. The caller must have taken the rights of the user.
pub fn look(locations: &[Location], user: &User) -> Vec<Script> {
    let mut scripts = Vec::new();
    for location in locations {
        let has_own = scripts
            .iter()
            .any(|script: &Script| script.role == Role::Personal && !matches!(script.state, State::Missing));
        if location.role == Role::Default && has_own {
            continue;
        }
        match user.expand(&location.path) {
            Some(path) if path.starts_with('/') => scripts.extend(at(location, Path::new(&path), user)),
            _ => scripts.push(script(location, &location.path, State::NotLookedAt(unknown(&location.path)))),
        }
    }
    scripts
}

fn unknown(path: &str) -> String {
    let driver = path.split_once(':').map(|(driver, _)| driver).filter(|driver| !driver.contains(['/', '%']));
    driver.map_or_else(|| "the path is not understood".to_owned(), |driver| format!("it is in {driver}"))
}

/// Returns the script at a path, or those in a folder.
fn at(location: &Location, path: &Path, user: &User) -> Vec<Script> {
    let Ok(entries) = fs::read_dir(path) else { return vec![file(location, path, user)] };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "sieve"));
    files.sort();
    if files.is_empty() {
        return vec![script(location, &path.to_string_lossy(), State::Missing)];
    }
    files.iter().map(|path| file(location, path, user)).collect()
}

fn file(location: &Location, path: &Path, user: &User) -> Script {
    let name = path.to_string_lossy();
    let metadata = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > MOST_BYTES => {
            return script(location, &name, State::NotLookedAt("it is too large".to_owned()));
        }
        Ok(metadata) => metadata,
        Err(why) if why.kind() == ErrorKind::NotFound => return script(location, &name, State::Missing),
        Err(why) => return script(location, &name, State::Unreadable(why.to_string())),
    };
    match fs::read(path) {
        Ok(text) => {
            let bin = location.bin.as_deref().and_then(|bin| user.expand(bin));
            let compiled = compiled(path, bin.as_deref(), metadata.modified().ok());
            let state = State::Read(Reading::new(&String::from_utf8_lossy(&text)));
            Script { compiled, ..script(location, &name, state) }
        }
        Err(why) => script(location, &name, State::Unreadable(why.to_string())),
    }
}

fn script(location: &Location, path: &str, state: State) -> Script {
    let (role, setting) = (location.role, location.setting.clone());
    Script { role, setting, path: path.to_owned(), state, compiled: Compiled::Yes }
}

fn compiled(script: &Path, bin: Option<&str>, changed: Option<SystemTime>) -> Compiled {
    let beside = script.with_extension("svbin");
    let file = bin.map_or(beside.clone(), |bin| Path::new(bin).join(beside.file_name().unwrap_or_default()));
    match fs::metadata(file).and_then(|file| file.modified()) {
        Ok(compiled) if changed.is_some_and(|changed| compiled < changed) => Compiled::Older,
        Ok(_) => Compiled::Yes,
        Err(_) => Compiled::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(locations: &[Location]) -> Vec<(Role, &str, &str)> {
        locations.iter().map(|l| (l.role, l.setting.as_str(), l.path.as_str())).collect()
    }

    #[test]
    fn the_order_of_23() {
        let settings = BTreeMap::from([
            ("sieve_before", "/b1"),
            ("sieve_before2", "file:/b2;bindir=/bin"),
            ("sieve_before4", "/never"),
            ("sieve", "file:~/sieve;active=~/.my.sieve"),
            ("sieve_default", "/d"),
            ("sieve_after", "/scripts;name=x"),
        ]);
        let locations = sequence_23(|name| settings.get(name).map(|value| (*value).to_owned()));
        let expected = [
            (Role::Before, "sieve_before", "/b1"),
            (Role::Before, "sieve_before2", "/b2"),
            (Role::Personal, "sieve", "~/.my.sieve"),
            (Role::Default, "sieve_default", "/d"),
            (Role::After, "sieve_after", "/scripts/x.sieve"),
        ];
        assert_eq!(rows(&locations), expected);
        assert_eq!(locations[1].bin.as_deref(), Some("/bin"));
        assert_eq!(rows(&sequence_23(|_| None)), [(Role::Personal, "sieve", "~/.dovecot.sieve")]);
        let of_dict = sequence_23(|name| (name == "sieve").then(|| "dict:file:~/x".to_owned()));
        assert_eq!(rows(&of_dict), [(Role::Personal, "sieve", "dict:file:~/x")]);
    }

    #[test]
    fn the_order_of_24() {
        let node = |name: &str, value: &str| Node {
            name: name.into(),
            value: Some(value.into()),
            ..Node::default()
        };
        let block = |kind: &str, path: &str, more: Option<Node>| -> Vec<Node> {
            [node("type", kind), node("path", path)].into_iter().chain(more).collect()
        };
        let blocks = [
            block("after", "/after", None),
            block("before", "/second", None),
            block("personal", "~/sieve", Some(node("active_path", "~/.a.sieve"))),
            block("before", "/first", Some(node("precedence", "0"))),
            vec![node("path", "/changed")],
        ];
        let names = ["after", "x", "own", "y", "x"];
        let blocks: Vec<(String, &[Node])> =
            names.iter().zip(&blocks).map(|(name, block)| ((*name).to_owned(), block.as_slice())).collect();
        let expected = [
            (Role::Before, "sieve_script y", "/first"),
            (Role::Before, "sieve_script x", "/changed"),
            (Role::Personal, "sieve_script own", "~/.a.sieve"),
            (Role::After, "sieve_script after", "/after"),
        ];
        assert_eq!(rows(&sequence_24(&blocks)), expected);
    }
}
