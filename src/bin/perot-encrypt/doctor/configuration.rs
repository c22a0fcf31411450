//! Reads Dovecot's configuration from `doveconf -n`, and finds the places in the files where it is written.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::report::Finding;
use super::written::Written;
use crate::dovecot::Dovecot;

/// The two generations of Dovecot, which write their configuration differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Dovecot 2.3
    V23,
    /// Dovecot 2.4
    V24,
}

/// A setting, or a block of settings.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// The name of a setting. For a block, it is all the text in front of the brace.
    pub name: String,
    /// The value. It is `None` for a block.
    pub value: Option<String>,
    /// The settings and blocks inside a block.
    pub children: Vec<Node>,
}

impl Node {
    fn is(&self, name: &str) -> bool {
        self.name == name
    }
}

/// The configuration as Dovecot understands it.
#[derive(Debug)]
pub struct Configuration {
    pub era: Era,
    /// The version, as `dovecot --version` prints it.
    pub version: String,
    /// The main configuration file.
    pub file: PathBuf,
    /// The places where settings are written.
    pub written: Written,
    nodes: Vec<Node>,
    /// `doveconf -n` leaves out settings that are at their defaults, so this one and the next two are asked for by
    /// name.
    pub base_dir: PathBuf,
    pub mail_plugin_dir: PathBuf,
    sieve_plugin_dir: Option<PathBuf>,
    /// The folder in which Dovecot 2.4 looks for settings modules, wherever plugins are.
    pub settings_dir: PathBuf,
}

impl Configuration {
    /// Asks `doveconf` for the configuration.
    ///
    /// # Errors
    ///
    /// Fails if `doveconf` refuses the configuration, or if its output is not understood.
    pub fn ask(dovecot: &Dovecot) -> Result<Self, Box<dyn Error>> {
        let text = dovecot.doveconf(&["-n"]).map_err(|why| {
            format!(
                "{why}. So cannot Dovecot when it is started: correct the configuration or, if a plugin or a setting of \
                 perot_encrypt is not known, run make install"
            )
        })?;
        let (version, file) = heading(&text).ok_or("doveconf -n does not begin as it should")?;
        let era = match version.get(..4) {
            Some("2.3.") => Era::V23,
            Some("2.4.") => Era::V24,
            _ => return Err(format!("this is Dovecot {version}; 2.3 and 2.4 are known here").into()),
        };
        let file = std::path::absolute(file)?;
        let written = Written::read(&file);
        let nodes = parse(&text);
        let folder = |arguments: &[&str]| -> Result<PathBuf, Box<dyn Error>> {
            let line = dovecot.doveconf(arguments)?;
            Ok(line.split_once('=').map(|(_, value)| unquoted(value.trim())).unwrap_or_default().into())
        };
        Ok(Self {
            era,
            version,
            file,
            written,
            nodes,
            base_dir: folder(&["base_dir"])?,
            mail_plugin_dir: folder(&["mail_plugin_dir"])?,
            sieve_plugin_dir: if era == Era::V24 { Some(folder(&["sieve_plugin_dir"])?) } else { None },
            settings_dir: folder(&["-d", "mail_plugin_dir"])?.join("settings"),
        })
    }

    /// Returns true if Dovecot serves this protocol.
    pub fn serves(&self, protocol: &str) -> bool {
        let protocols = self.nodes.iter().rev().find(|node| node.is("protocols"));
        let protocols = protocols.and_then(|node| node.value.as_deref()).unwrap_or_default();
        protocols.split_whitespace().any(|name| name == protocol)
    }

    /// Returns the mail plugins that a protocol's processes load, in the order of the configuration.
    pub fn mail_plugins(&self, protocol: &str) -> Vec<String> {
        self.list(protocol, "mail_plugins")
    }

    /// Returns the Sieve plugins that a protocol's processes load, in the order of the configuration.
    pub fn sieve_plugins(&self, protocol: &str) -> Vec<String> {
        match self.era {
            Era::V23 => words(&self.setting(protocol, "sieve_plugins").unwrap_or_default()),
            Era::V24 => self.list(protocol, "sieve_plugins"),
        }
    }

    /// Returns the folder in which Pigeonhole looks for Sieve plugins.
    pub fn sieve_plugin_dir(&self, protocol: &str) -> PathBuf {
        let written = self.setting(protocol, "sieve_plugin_dir").filter(|dir| !dir.is_empty());
        let by_default = || self.mail_plugin_dir.join("sieve");
        written.map(PathBuf::from).or_else(|| self.sieve_plugin_dir.clone()).unwrap_or_else(by_default)
    }

    /// Returns a setting as it holds for a protocol, or `None` if it is at its default. With 2.3 it is a setting in
    /// `plugin { }`.
    pub fn setting(&self, protocol: &str, name: &str) -> Option<String> {
        let mut value = None;
        for layer in self.layers(protocol) {
            for node in layer {
                match (self.era, &node.value) {
                    (Era::V24, Some(text)) if node.is(name) => value = Some(text.clone()),
                    (Era::V23, None) if node.is("plugin") => {
                        let set = node.children.iter().rev().find(|child| child.is(name));
                        value = set.and_then(|child| child.value.clone()).or(value);
                    }
                    _ => {}
                }
            }
        }
        value
    }

    /// Adds to a finding the line that sets a plugin's setting. Its place is where the setting is written now, or else
    /// where new settings go.
    pub fn set(&self, finding: Finding, name: &str, value: &str) -> Finding {
        let line = format!("{name} = {value}");
        match (self.written.last(name, |_| true), self.era) {
            (Some(setting), _) => finding.write(setting.place.clone(), line),
            (None, Era::V23) => finding.write(self.written.new_place(), format!("plugin {{\n  {line}\n}}")),
            (None, Era::V24) => finding.write(self.written.new_place(), line),
        }
    }

    /// Returns the blocks of a kind, `sieve_script` for example: for each, the rest of its name, and its children.
    pub fn blocks(&self, protocol: &str, kind: &str) -> Vec<(String, &[Node])> {
        let nodes = self.layers(protocol).into_iter().flatten();
        let named = nodes.filter_map(|node| {
            let rest = node.name.strip_prefix(kind)?.strip_prefix(' ')?;
            node.value.is_none().then(|| (rest.to_owned(), node.children.as_slice()))
        });
        named.collect()
    }

    /// Returns the settings that hold for all protocols, followed by those that hold for this protocol only.
    fn layers(&self, protocol: &str) -> Vec<&[Node]> {
        let mut layers = vec![self.nodes.as_slice()];
        let blocks = self.nodes.iter().filter(|node| node.value.is_none() && is_for(&node.name, protocol));
        layers.extend(blocks.map(|node| node.children.as_slice()));
        layers
    }

    /// Returns a list of names. With 2.3 the last value that is set counts; with 2.4 `{ name = yes }` adds to the list
    /// so far.
    fn list(&self, protocol: &str, name: &str) -> Vec<String> {
        let mut list = Vec::new();
        for node in self.layers(protocol).into_iter().flatten().filter(|node| node.is(name)) {
            match &node.value {
                Some(text) => list = words(text),
                None => node.children.iter().for_each(|child| switch(&mut list, child)),
            }
        }
        list
    }
}

/// Applies a line of a list of 2.4, such as `name = yes`.
fn switch(list: &mut Vec<String>, child: &Node) {
    list.retain(|name| *name != child.name);
    if child.value.as_deref() == Some("yes") {
        list.push(child.name.clone());
    }
}

/// Splits a value into words. Dovecot takes commas for spaces, too.
pub fn words(text: &str) -> Vec<String> {
    text.split([' ', ',', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Returns true if a block, such as `protocol lmtp` or `protocol !imap`, holds for a protocol.
pub fn is_for(block: &str, protocol: &str) -> bool {
    match block.strip_prefix("protocol ") {
        Some(name) => name.strip_prefix('!').map_or(name == protocol, |not| not != protocol),
        None => false,
    }
}

/// Returns the version and the file that the first line of `doveconf -n` names.
fn heading(text: &str) -> Option<(String, &Path)> {
    let (version, file) = text.lines().next()?.strip_prefix("# ")?.split_once(": ")?;
    Some((version.split(' ').next()?.to_owned(), Path::new(file)))
}

/// Parses the output of `doveconf -n`.
fn parse(text: &str) -> Vec<Node> {
    let mut open = vec![Node::default()];
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_suffix('{') {
            open.push(Node { name: unquoted_words(name.trim()), ..Node::default() });
        } else if line == "}" && open.len() > 1 {
            let node = open.pop().unwrap_or_default();
            if let Some(outer) = open.last_mut() {
                outer.children.push(node);
            }
        } else if let (Some((name, value)), Some(outer)) = (line.split_once('='), open.last_mut()) {
            let value = Some(unquoted(value.trim()));
            outer.children.push(Node { name: name.trim().to_owned(), value, ..Node::default() });
        }
    }
    open.swap_remove(0).children
}

/// Removes the quotes from the name of a block.
pub fn unquoted_words(name: &str) -> String {
    name.replace('"', "")
}

/// Removes the quotes around a value, and the escapes within them.
pub fn unquoted(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner.replace("\\\"", "\"").replace("\\\\", "\\");
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V23: &str = "# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf\n# Pigeonhole version 0.5.19 (4eae2f79)\n\
        mail_plugins = quota\nnamespace inbox {\n  mailbox \"Sent Messages\" {\n    special_use = \\Sent\n  }\n}\n\
        plugin {\n  sieve_before = /a/b.sieve\n  sieve_plugins = sieve_perot_encrypt\n}\nprotocols = imap lmtp\n\
        protocol lmtp {\n  mail_plugins = quota sieve perot_encrypt\n  plugin {\n    sieve_enabled = no\n  }\n}\n\
        protocol !imap {\n  mail_log_prefix = x\n}\n";
    const V24: &str = "# 2.4.1-4 (7d8c0e5759): dovecot.conf\ndovecot_config_version = 2.4.0\nmail_plugins = quota\n\
        protocols = imap lmtp\nsieve_plugins = sieve_extprograms\nsieve_before = no\n\
        sieve_script perot {\n  path = /a/b.sieve\n  type = before\n}\n\
        protocol lmtp {\n  mail_plugins {\n    sieve = yes\n    perot_encrypt = yes\n  }\n  sieve_enabled = no\n  \
        sieve_script x {\n    path = /lmtponly\n  }\n}\nprotocol lda {\n  mail_plugins = sieve\n}\n\
        protocol imap {\n  mail_plugins {\n    imap_quota = yes\n    quota = no\n  }\n}\n\
        sieve_plugins {\n  sieve_perot_encrypt = yes\n}\n";

    fn configuration(text: &str, era: Era) -> Configuration {
        let (version, file) = heading(text).unwrap();
        let dir = PathBuf::from("/m");
        Configuration {
            era,
            version,
            file: file.to_owned(),
            written: Written::default(),
            nodes: parse(text),
            base_dir: dir.clone(),
            mail_plugin_dir: dir.clone(),
            sieve_plugin_dir: None,
            settings_dir: dir,
        }
    }

    #[test]
    fn what_doveconf_of_both_eras_prints_is_understood() {
        let of_23 = configuration(V23, Era::V23);
        let of_24 = configuration(V24, Era::V24);
        assert_eq!((of_23.version.as_str(), of_24.version.as_str()), ("2.3.19.1", "2.4.1-4"));
        assert_eq!(of_23.file, Path::new("/etc/dovecot/dovecot.conf"));
        for configuration in [&of_23, &of_24] {
            assert_eq!(configuration.mail_plugins("lmtp"), ["quota", "sieve", "perot_encrypt"]);
            assert_eq!(configuration.setting("lmtp", "sieve_enabled").as_deref(), Some("no"));
            assert_eq!(configuration.setting("imap", "sieve_enabled"), None);
            assert!(configuration.serves("lmtp") && !configuration.serves("lda"));
        }
        assert_eq!(of_23.mail_plugins("imap"), ["quota"]);
        assert_eq!(of_23.sieve_plugins("lmtp"), ["sieve_perot_encrypt"]);
        assert_eq!(of_23.setting("lmtp", "sieve_before").as_deref(), Some("/a/b.sieve"));
        assert_eq!(of_23.sieve_plugin_dir("lmtp"), Path::new("/m/sieve"));
    }

    #[test]
    fn lists_of_24_add_up_and_are_replaced() {
        let configuration = configuration(V24, Era::V24);
        assert_eq!(configuration.mail_plugins("lda"), ["sieve"]);
        assert_eq!(configuration.mail_plugins("imap"), ["imap_quota"]);
        assert_eq!(configuration.sieve_plugins("lmtp"), ["sieve_extprograms", "sieve_perot_encrypt"]);
        let names = |protocol: &str| -> Vec<String> {
            let blocks = configuration.blocks(protocol, "sieve_script");
            blocks.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!((names("lmtp"), names("imap")), (vec!["perot".into(), "x".into()], vec!["perot".into()]));
    }

    #[test]
    fn a_block_for_all_protocols_but_one() {
        assert!(is_for("protocol !imap", "lmtp") && !is_for("protocol !imap", "imap"));
        assert!(is_for("protocol lda", "lda") && !is_for("service lda", "lda"));
    }

    #[test]
    fn values_lose_their_quotes() {
        assert_eq!(unquoted("\"a \\\"b\\\"\""), "a \"b\"");
        assert_eq!(unquoted("a\""), "a\"");
    }
}
