//! Reads what a Sieve script says about encryption. The script is not run, so what depends on a message remains open.

/// The names of the extension. The second one has `pgp_encrypt`, which is `encrypt` with another syntax.
const NAMES: [&str; 2] = ["vnd.perot.encrypt", "vnd.dovecot.pgp-encrypt"];

/// A token of a script. Strings keep their text, because that of `require` says which extensions are used.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    /// A `;`, `{`, `}` or another sign.
    Sign(u8),
}

/// Says which mail a script encrypts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encrypts {
    #[default]
    Nothing,
    /// It encrypts only mail that fulfils a condition, or of which the encryption does not fail (`:try`).
    Some,
    All,
}

/// A command, and the line in which it stands, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    pub command: String,
    pub line: usize,
}

/// The result of reading a script.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// True if the script requires the extension.
    pub requires: bool,
    pub encrypts: Encrypts,
    /// True if the script encrypts, and each `encrypt` is for the owner and not for recipients who are named.
    pub for_owner: bool,
    /// The command that may store the message in clear or end the script in front of `encrypt`.
    pub before: Option<At>,
    /// The first command anywhere that stores the message as it is, if nothing has been encrypted.
    pub stores: Option<At>,
    /// The command that includes another script.
    pub includes: Option<At>,
}

impl Reading {
    /// Reads a script. It accepts any text, because scripts are compiled elsewhere.
    pub fn new(script: &str) -> Self {
        let mut reading = Self { for_owner: true, ..Self::default() };
        let (mut depth, mut begin, mut conditional) = (0_usize, true, false);
        let tokens = tokens(script);
        for (i, (token, line)) in tokens.iter().enumerate() {
            match token {
                Token::Sign(b'{') => (depth, begin) = (depth + 1, true),
                Token::Sign(b'}') => (depth, begin) = (depth.saturating_sub(1), true),
                Token::Sign(b';') => (begin, conditional) = (true, false),
                Token::Word(word) => {
                    let arguments = &tokens[i + 1..];
                    match begin {
                        true => reading.command(word, *line, depth, arguments),
                        false if conditional && word == "encrypt" => reading.encrypt(false, arguments),
                        false => {}
                    }
                    conditional |= matches!(word.as_str(), "if" | "elsif");
                    begin = false;
                }
                Token::Text(_) | Token::Sign(_) => {}
            }
        }
        reading.for_owner &= reading.encrypts > Encrypts::Nothing;
        reading
    }

    fn command(&mut self, word: &str, line: usize, depth: usize, arguments: &[(Token, usize)]) {
        let at = || Some(At { command: word.to_owned(), line });
        let is_first = self.before.is_none() && self.encrypts < Encrypts::All;
        match word {
            "require" => self.requires |= texts(arguments).any(|text| NAMES.contains(&text)),
            "encrypt" | "pgp_encrypt" => self.encrypt(depth == 0 && self.before.is_none(), arguments),
            "include" => self.includes = self.includes.take().or_else(at),
            "fileinto" | "keep" => {
                self.stores = self.stores.take().or_else(at);
                if is_first {
                    self.before = at();
                }
            }
            "stop" if is_first => self.before = at(),
            _ => {}
        }
    }

    fn encrypt(&mut self, always: bool, arguments: &[(Token, usize)]) {
        let tries = statement(arguments).any(|token| matches!(token, Token::Word(tag) if tag == ":try"));
        let encrypts = if always && !tries { Encrypts::All } else { Encrypts::Some };
        self.encrypts = self.encrypts.max(encrypts);
        self.for_owner &= !names_recipients(arguments);
    }
}

/// Returns true if an `encrypt` names recipients who take the owner's place. Those of `:also` do not.
fn names_recipients(arguments: &[(Token, usize)]) -> bool {
    let mut tokens = statement(arguments);
    while let Some(token) = tokens.next() {
        match token {
            Token::Word(tag) if tag == ":also" => {
                let mut in_list = false;
                tokens.find(|token| {
                    in_list = (in_list || **token == Token::Sign(b'[')) && **token != Token::Sign(b']');
                    !in_list
                });
            }
            Token::Text(_) => return true,
            _ => {}
        }
    }
    false
}

/// Returns the tokens that belong to a command or test.
fn statement(arguments: &[(Token, usize)]) -> impl Iterator<Item = &Token> {
    let ends = |token: &Token| matches!(token, Token::Sign(b';' | b'{' | b'}' | b',' | b')'));
    let mut in_list = false;
    arguments.iter().map(|(token, _)| token).take_while(move |token| {
        in_list = (in_list || **token == Token::Sign(b'[')) && **token != Token::Sign(b']');
        in_list || !ends(token)
    })
}

fn texts(arguments: &[(Token, usize)]) -> impl Iterator<Item = &str> {
    statement(arguments).filter_map(|token| match token {
        Token::Text(text) => Some(text.as_str()),
        _ => None,
    })
}

/// Splits a script into tokens, each with its line. Text that is not Sieve results in tokens, too, but never in a
/// panic.
fn tokens(script: &str) -> Vec<(Token, usize)> {
    let mut tokens = Vec::new();
    let mut rest = script;
    while let Some(first) = rest.bytes().next() {
        let line = 1 + script[..script.len() - rest.len()].matches('\n').count();
        let (token, left) = match first {
            b'#' => (None, behind(rest, "\n")),
            b'/' if rest.starts_with("/*") => (None, behind(&rest[2..], "*/")),
            b'"' => {
                let (text, left) = quoted(&rest[1..]);
                (Some(Token::Text(text)), left)
            }
            _ if first.is_ascii_alphanumeric() || first == b'_' || first == b':' => {
                let end = rest[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let (word, left) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
                match (word.to_ascii_lowercase(), left.strip_prefix(':')) {
                    (word, Some(left)) if word == "text" => {
                        let text = behind(left, "\n");
                        (Some(Token::Text(String::new())), behind_multiline(text))
                    }
                    (word, _) => (Some(Token::Word(word)), left),
                }
            }
            _ => {
                let end = rest.chars().next().map_or(1, char::len_utf8);
                (Some(Token::Sign(first)).filter(|_| !first.is_ascii_whitespace()), &rest[end..])
            }
        };
        tokens.extend(token.map(|token| (token, line)));
        rest = left;
    }
    tokens
}

fn behind<'a>(text: &'a str, mark: &str) -> &'a str {
    text.find(mark).map_or("", |at| &text[at + mark.len()..])
}

/// Returns the text that follows a multi-line string, which ends with a line that is a dot alone.
fn behind_multiline(mut text: &str) -> &str {
    while !text.is_empty() {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        if line.trim_end() == "." {
            return rest;
        }
        text = rest;
    }
    ""
}

/// Returns a string up to its quotation mark, and the text that follows.
fn quoted(text: &str) -> (String, &str) {
    let mut inner = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (inner, &text[at + 1..]),
            '\\' => inner.extend(letters.next().map(|(_, letter)| letter)),
            letter => inner.push(letter),
        }
    }
    (inner, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUIRE: &str = "require [\"fileinto\", \"vnd.perot.encrypt\"];\n";

    fn read(body: &str) -> Reading {
        Reading::new(&format!("{REQUIRE}{body}"))
    }

    #[test]
    fn what_is_encrypted() {
        let rows = [
            ("encrypt;", Encrypts::All),
            ("# encrypt;\n/* encrypt; */", Encrypts::Nothing),
            ("addheader \"X\" \"encrypt;\";", Encrypts::Nothing),
            ("addheader \"X\" text:\nencrypt;\n.\n; keep;", Encrypts::Nothing),
            ("if true { encrypt; }", Encrypts::Some),
            ("if not encrypt { discard; }", Encrypts::Some),
            ("encrypt :try;", Encrypts::Some),
            ("ENCRYPT :hidesubject; keep;", Encrypts::All),
            ("if true { fileinto \"Junk\"; stop; }\nencrypt;", Encrypts::Some),
            ("if true { discard; }\nencrypt;", Encrypts::All),
            ("encrypt", Encrypts::All),
            ("pgp_encrypt :keys text:\nx\n.\n;", Encrypts::All),
            ("if true { pgp_encrypt; }", Encrypts::Some),
            ("", Encrypts::Nothing),
        ];
        for (body, expected) in rows {
            let reading = read(body);
            assert!(reading.requires);
            assert_eq!(reading.encrypts, expected, "{body}");
        }
        assert!(!Reading::new("keep;").requires);
        assert!(Reading::new("require \"vnd.dovecot.pgp-encrypt\";").requires);
    }

    #[test]
    fn what_stands_in_front() {
        let at = |command: &str, line| Some(At { command: command.into(), line });
        let reading = read("if true\n{\n  stop;\n}\nencrypt;\nfileinto \"x\";");
        assert_eq!((reading.before, reading.stores), (at("stop", 4), at("fileinto", 7)));
        assert_eq!(read("encrypt; stop;").before, None);
        assert_eq!(read("include :personal \"x\";").includes, at("include", 2));
    }

    #[test]
    fn for_whom() {
        for owner in [
            "encrypt;",
            "encrypt :try :hidesubject;",
            "encrypt :also \"a@example.net\";",
            "encrypt :also [\"a@example.net\", \"b@example.net\"] :try;",
        ] {
            assert!(read(owner).for_owner, "{owner}");
        }
        for others in [
            "encrypt \"a@example.net\";",
            "encrypt [\"a@example.net\", \"b@example.net\"];",
            "encrypt :also [\"a@example.net\"] \"b@example.net\";",
            "pgp_encrypt :keys \"x\";",
            "keep;",
        ] {
            assert!(!read(others).for_owner, "{others}");
        }
        assert!(!read("encrypt text:\nx\n.\n;").for_owner);
    }

    #[test]
    fn what_is_no_script_is_read_to_its_end() {
        for text in
            ["\"", "text:", "/*", "if {{{ }}}}} é \u{feff}", "\\\"\\", "encrypt [", ":", "text:\n.", "\"\\"]
        {
            Reading::new(text);
        }
    }
}
