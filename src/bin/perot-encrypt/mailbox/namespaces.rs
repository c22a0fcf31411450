//! Tells which mailboxes are a user's own: those outside of shared, public and virtual namespaces.
//!
//! Mail in a shared mailbox belongs to somebody else, who could not read it any more.

/// The namespaces of a configuration. Each has the beginning of its prefix, up to the first variable, and
/// true if it is the user's own.
#[derive(Debug, Default)]
pub struct Namespaces {
    prefixes: Vec<(String, bool)>,
}

impl Namespaces {
    /// Parses the output of `doveconf namespace`.
    pub fn parse(text: &str) -> Self {
        let mut namespaces = Self::default();
        let (mut prefix, mut own, mut depth) = (String::new(), true, 0_u32);
        for line in text.lines().map(str::trim) {
            if line.ends_with('{') {
                depth += 1;
                if depth == 1 {
                    (prefix, own) = (String::new(), true);
                }
            } else if line == "}" {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    namespaces.prefixes.push((std::mem::take(&mut prefix), own));
                }
            } else if let (1, Some((name, value))) = (depth, line.split_once('=')) {
                let value = value.trim().trim_matches('"');
                match name.trim() {
                    // The rest of the prefix, from the first variable on, differs between users.
                    "prefix" => prefix = value.split(['%', '$']).next().unwrap_or_default().to_owned(),
                    "type" => own &= value == "private",
                    "location" => own &= !value.starts_with("virtual:"),
                    "mail_driver" => own &= value != "virtual",
                    _ => {}
                }
            }
        }
        namespaces
    }

    /// Returns the prefixes of the user's own namespaces.
    pub fn own_prefixes(&self) -> impl Iterator<Item = &str> {
        self.prefixes.iter().filter(|(_, own)| *own).map(|(prefix, _)| prefix.as_str())
    }

    /// Returns true if a mailbox is the user's own. The namespace with the longest matching prefix decides.
    pub fn is_own(&self, mailbox: &str) -> bool {
        let fits = |prefix: &str| {
            let without_separator = prefix.get(..prefix.len().saturating_sub(1));
            mailbox.starts_with(prefix) || without_separator == Some(mailbox)
        };
        let fitting = self.prefixes.iter().filter(|(prefix, _)| prefix.is_empty() || fits(prefix));
        fitting.max_by_key(|(prefix, own)| (prefix.len(), !own)).is_none_or(|(_, own)| *own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V23: &str = "namespace {\n  list = yes\n  location = maildir:/var/pub\n  prefix = Public/\n  type = public\n}\n\
        namespace inbox {\n  inbox = yes\n  location = \n  prefix = \n  type = private\n}\n\
        namespace sh {\n  location = maildir:%%h/Maildir\n  prefix = shared/%%u/\n  type = shared\n}\n\
        namespace virtual {\n  location = virtual:~/virtual\n  mailbox X {\n    driver = \n    prefix = no\n  }\n  \
        prefix = Virtual/\n  type = private\n}\n";
    const V24: &str = "namespace inbox {\n  inbox = yes\n}\nnamespace pub {\n  prefix = Public/\n  type = public\n}\n\
        namespace sh {\n  prefix = shared/$user/\n  type = shared\n}\n\
        namespace virtual {\n  mail_driver = virtual\n  prefix = Virtual/\n  mailbox X {\n    special_use = \"\\\\All\"\n  }\n}\n";

    #[test]
    fn only_what_is_the_users_own_is_touched() {
        for text in [V23, V24] {
            let namespaces = Namespaces::parse(text);
            for own in ["INBOX", "Publications", "Archive/Public/x", "shares", "-x", ""] {
                assert!(namespaces.is_own(own), "{own}: {namespaces:?}");
            }
            for other in ["Public", "Public/x", "shared", "shared/bob/INBOX", "Virtual/all"] {
                assert!(!namespaces.is_own(other), "{other}: {namespaces:?}");
            }
        }
        assert!(Namespaces::parse("").is_own("INBOX"));
    }
}
