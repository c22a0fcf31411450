//! Compares what the mailboxes of a user will take with the user's quota.
//!
//! Mail that no longer fits stays in clear, and a mailbox that is full takes no more mail.

/// A quota, and what counts towards it, in units of 1024 bytes as in Dovecot's settings.
#[derive(Debug, PartialEq, Eq)]
pub struct Quota {
    name: String,
    used: u64,
    limit: u64,
    messages: u64,
}

impl Quota {
    /// Parses the output of `doveadm -f tab quota get`: name, type, value, limit, percentage. Those without a limit are left
    /// out.
    pub fn parse(text: &str) -> Vec<Self> {
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split('\t').collect()).collect();
        let value = |row: &[&str]| row.get(2).and_then(|value| value.parse::<u64>().ok());
        let quota = |row: &Vec<&str>| {
            let [name, "STORAGE", ..] = row.as_slice() else { return None };
            let limit = row.get(3)?.parse().ok().filter(|limit| *limit > 0)?;
            let messages = rows.iter().find(|other| other.starts_with(&[*name, "MESSAGE"]));
            let messages = messages.and_then(|row| value(row)).unwrap_or_default();
            Some(Self { name: (*name).to_owned(), used: value(row)?, limit, messages })
        };
        rows.iter().filter_map(quota).collect()
    }

    /// Returns true if all messages fit, whatever they are: encrypted, a message takes up to 1.4 times its size, its header
    /// once more, and two kB.
    pub fn has_room_for_all(&self) -> bool {
        self.used * 5 / 2 + self.messages * 4 <= self.limit
    }

    /// Returns true if `growth` more bytes fit.
    pub fn has_room(&self, growth: u64) -> bool {
        self.afterwards(growth) <= self.limit
    }

    /// Says how much is used, and how much will be.
    pub fn describe(&self, growth: u64) -> String {
        let Self { name, used, limit, .. } = self;
        format!("quota {name}: {used} kB of {limit} kB are used, {} kB afterwards", self.afterwards(growth))
    }

    fn afterwards(&self, growth: u64) -> u64 {
        self.used + growth.div_ceil(1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_storage() {
        let text = "Quota name\tType\tValue\tLimit\t%\nUser quota\tSTORAGE\t600\t1000\t60\nUser quota\tMESSAGE\t7\t-\t0\n\
                    other\tSTORAGE\t5\t-\t0\nother\tMESSAGE\t5\t9\t0\n";
        let quotas = Quota::parse(text);
        let expected = Quota { name: "User quota".into(), used: 600, limit: 1000, messages: 7 };
        assert_eq!(quotas, [expected]);
        assert!(!quotas[0].has_room_for_all());
        assert!(quotas[0].has_room(400 << 10) && !quotas[0].has_room((400 << 10) + 1));
        assert_eq!(quotas[0].describe(1), "quota User quota: 600 kB of 1000 kB are used, 601 kB afterwards");
        assert!(Quota { used: 300, ..Quota::parse(text).remove(0) }.has_room_for_all());
        assert!(Quota::parse("").is_empty() && Quota::parse("Quota name\tType\n").is_empty());
    }
}
