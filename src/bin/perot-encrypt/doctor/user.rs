//! Asks Dovecot's user database for a user.

use std::error::Error;
use std::process::Command;

use super::configuration::{words, Configuration, Era};
use crate::dovecot::{is_pattern, output, Dovecot};

/// A user, as the user database describes them.
#[derive(Debug)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: Option<String>,
    /// All fields, in the order of the user database.
    fields: Vec<(String, String)>,
}

impl User {
    /// Asks the running Dovecot for a user.
    ///
    /// # Errors
    ///
    /// Fails if Dovecot does not know the user, or does not answer.
    pub fn ask(dovecot: &Dovecot, name: &str) -> Result<Self, Box<dyn Error>> {
        if is_pattern(name) {
            return Err(format!("{name}: doveadm would take this name for a pattern").into());
        }
        let fields = fields(&dovecot.doveadm(&["user", "--", name])?);
        let value =
            |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let id = |field: &str, kind: &str| -> Result<u32, Box<dyn Error>> {
            let text = value(field).ok_or_else(|| format!("{name}: doveadm user says no {field}"))?;
            number(&text, kind)
        };
        let (uid, gid) = (id("uid", "passwd")?, id("gid", "group")?);
        let home = value("home").filter(|home| !home.is_empty());
        Ok(Self { name: name.to_owned(), uid, gid, home, fields })
    }

    /// Returns a setting of a protocol. A field of the user database replaces the value in the configuration.
    pub fn setting(&self, configuration: &Configuration, protocol: &str, name: &str) -> Option<String> {
        self.field(name).or_else(|| configuration.setting(protocol, name))
    }

    /// Returns a field of the user database.
    pub fn field(&self, wanted: &str) -> Option<String> {
        self.fields.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    }

    /// Returns the mail plugins that are loaded for the user.
    pub fn mail_plugins(&self, configuration: &Configuration, protocol: &str) -> Vec<String> {
        let mut plugins = configuration.mail_plugins(protocol);
        for (name, value) in &self.fields {
            match name.strip_prefix("mail_plugins") {
                Some("") => plugins = words(value),
                // With 2.4, a field can switch a single plugin on or off.
                Some(one) if configuration.era == Era::V24 && one.starts_with('/') => {
                    plugins.retain(|plugin| plugin != &one[1..]);
                    if value == "yes" {
                        plugins.push(one[1..].to_owned());
                    }
                }
                _ => {}
            }
        }
        plugins
    }

    /// Replaces Dovecot's variables and `~` in a path. Returns `None` if a value is not known here.
    pub fn expand(&self, path: &str) -> Option<String> {
        let home = self.home.as_deref();
        let path = match path.strip_prefix("~/") {
            Some(below) => format!("{}/{below}", home?),
            None => path.to_owned(),
        };
        let (local, domain) = self.name.split_once('@').unwrap_or((&self.name, ""));
        let mut expanded = path;
        for (variable, value) in [
            ("%{user}", Some(self.name.as_str())),
            ("%{user | username}", Some(local)),
            ("%{user|username}", Some(local)),
            ("%{user | domain}", Some(domain)),
            ("%{user|domain}", Some(domain)),
            ("%{home}", home),
            ("%u", Some(self.name.as_str())),
            ("%n", Some(local)),
            ("%d", Some(domain)),
            ("%h", home),
        ] {
            if expanded.contains(variable) {
                expanded = expanded.replace(variable, value?);
            }
        }
        Some(expanded).filter(|path| !path.contains('%'))
    }
}

/// Parses the output of `doveadm -f tab user`.
fn fields(text: &str) -> Vec<(String, String)> {
    // The first line has the titles of the columns.
    let lines = text.lines().skip(1).filter_map(|line| line.split_once('\t'));
    lines.map(|(name, value)| (name.to_owned(), unescaped(value))).collect()
}

/// Removes the escapes of `-f tab` from a value.
fn unescaped(value: &str) -> String {
    let mut text = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1}' => text.extend(letters.next().map(|escaped| match escaped {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                '0' => '\0',
                '1' => '\u{1}',
                other => other,
            })),
            letter => text.push(letter),
        }
    }
    text
}

/// Returns the number of a user or a group that may be given by name.
fn number(text: &str, kind: &str) -> Result<u32, Box<dyn Error>> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let line = output(Command::new("getent").args([kind, "--", text]))?;
    let number = line.split(':').nth(2).and_then(|number| number.parse().ok());
    number.ok_or_else(|| format!("getent {kind} {text} says what is not understood").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> User {
        let fields = fields("field\tvalue\nuid\t5000\nhome\t/home/me\ncert\ta\u{1}nb\u{1}tc\u{1}1\n");
        User { name: "me@domain.com".into(), uid: 5000, gid: 5000, home: Some("/home/me".into()), fields }
    }

    #[test]
    fn fields_of_the_user_database() {
        assert_eq!(me().field("cert").as_deref(), Some("a\nb\tc\u{1}"));
        assert_eq!(me().field("gid"), None);
    }

    #[test]
    fn variables_of_both_eras() {
        for (path, expanded) in [
            ("~/sieve", Some("/home/me/sieve")),
            ("/s/%d/%n", Some("/s/domain.com/me")),
            ("%h/%u", Some("/home/me/me@domain.com")),
            ("%{home}/%{user | username}.%{user|domain}", Some("/home/me/me.domain.com")),
            ("/s/%{userdb:x}", None),
            ("/s/x", Some("/s/x")),
        ] {
            assert_eq!(me().expand(path).as_deref(), expanded, "{path}");
        }
    }
}
