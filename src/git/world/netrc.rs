//! `~/.netrc`, as curl reads it for git (lib/netrc.c): words and quoted words, `machine` or `default`, then `login`
//! and `password`.

use super::Login;

/// The entries that name a login, in the order of the file.
#[derive(Default)]
pub(super) struct Netrc(Vec<Entry>);

#[derive(Default)]
struct Entry {
    /// None for `default`.
    machine: Option<String>,
    login: Option<String>,
    password: String,
}

impl Netrc {
    /// Reads a file. Curl takes nothing from one with a broken quote, and so does this.
    pub fn parse(file: &[u8]) -> Self {
        Self(entries(&String::from_utf8_lossy(file)).unwrap_or_default())
    }

    /// The first login for a host, without brackets and port; the one of that name if one is asked for.
    pub fn login(&self, host: &str, username: Option<&str>) -> Option<Login> {
        self.0
            .iter()
            .filter(|entry| entry.machine.as_ref().is_none_or(|m| m.eq_ignore_ascii_case(host)))
            .filter_map(|entry| Some((entry.login.as_ref()?, &entry.password)))
            .find(|(login, _)| username.is_none_or(|username| username == *login))
            .map(|(login, password)| Login {
                username: login.clone(),
                password: password.clone(),
            })
    }
}

/// `None` for a broken quote.
fn entries(file: &str) -> Option<Vec<Entry>> {
    let mut done: Vec<Entry> = Vec::new();
    let mut awaited = None;
    let mut in_macro = false;
    for line in file.lines() {
        // A macro ends at an empty line.
        if in_macro {
            in_macro = !line.is_empty();
            continue;
        }
        for word in words(line)? {
            match (awaited.take(), done.last_mut()) {
                (Some(Awaited::Machine), _) => done.push(Entry {
                    machine: Some(word),
                    ..Entry::default()
                }),
                (Some(Awaited::Login), Some(entry)) => entry.login = Some(word),
                (Some(Awaited::Password), Some(entry)) => entry.password = word,
                (Some(_), _) => {}
                (None, _) => match word.to_ascii_lowercase().as_str() {
                    "machine" => awaited = Some(Awaited::Machine),
                    "login" => awaited = Some(Awaited::Login),
                    "password" => awaited = Some(Awaited::Password),
                    "account" => awaited = Some(Awaited::Account),
                    "default" => done.push(Entry::default()),
                    "macdef" => {
                        in_macro = true;
                        break;
                    }
                    _ => {}
                },
            }
        }
    }
    Some(done)
}

/// What the word before has announced.
enum Awaited {
    Machine,
    Login,
    Password,
    Account,
}

/// The words of a line up to a comment; `None` for a quote that is never closed.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (word, after) = rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()));
                (word.to_owned(), after)
            }
        };
        words.push(word);
        rest = after.trim_start();
    }
    Some(words)
}

/// What is before the closing quote, and what is behind it.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((word, chars.as_str())),
            '\\' => word.push(match chars.next()? {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                plain => plain,
            }),
            plain => word.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# mine\nmachine h login first password one # comment\n\
                        machine h\n  login second\n  account x\n\tpassword \"tw\\\"o #\"\n\
                        macdef init\nmachine evil login a password b\n\n\
                        machine only login name\nmachine nobody password p\n\
                        default login any password \\n\nmachine after login x password y\n";

    fn of(file: &str, host: &str, username: Option<&str>) -> Option<(String, String)> {
        let login = Netrc::parse(file.as_bytes()).login(host, username)?;
        Some((login.username, login.password))
    }

    #[test]
    fn finds_logins_as_curl_does() {
        for (host, username, login) in [
            ("h", None, Some(("first", "one"))),
            ("H", Some("second"), Some(("second", "tw\"o #"))),
            ("h", Some("third"), None),
            ("evil", None, Some(("any", "\\n"))),
            ("only", None, Some(("name", ""))),
            ("nobody", None, Some(("any", "\\n"))),
            ("other", Some("any"), Some(("any", "\\n"))),
            // What is behind `default` is never reached without a name.
            ("after", None, Some(("any", "\\n"))),
            ("after", Some("x"), Some(("x", "y"))),
        ] {
            let login = login.map(|(u, p)| (u.to_owned(), p.to_owned()));
            assert_eq!(of(FILE, host, username), login, "{host} {username:?}");
        }
    }

    #[test]
    fn odd_files() {
        assert_eq!(of("machine h login u password \"open", "h", None), None);
        assert_eq!(of("login u password p", "h", None), None);
        assert_eq!(
            of("machine h login u password", "h", None),
            Some(("u".into(), String::new()))
        );
        let spread = "machine\r\nh\r\nlogin\r\nu\r\npassword\r\np\r\n";
        assert_eq!(of(spread, "h", None), Some(("u".into(), "p".into())));
        assert_eq!(
            of("machine h login machine password login", "h", None).unwrap().0,
            "machine"
        );
    }

    proptest! {
        #[test]
        fn never_panics(file in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Netrc::parse(&file).login("h", None);
        }

        #[test]
        fn finds_what_was_written(login in "[a-zA-Z0-9]{1,9}", password in "[^\r\n\\pC\"\\\\]{1,9}") {
            let file = format!("machine a login b password c\nmachine h login {login} password \"{password}\"\n");
            prop_assert_eq!(of(&file, "h", None), Some((login, password)));
        }
    }
}
