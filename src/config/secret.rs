//! What must not be shown: userinfo in URLs, and values whose name says that they are secret.
//!
//! It exists because a config is printed in two places (a snippet around a mistake, and `pipelined config`), and both
//! show text that nobody has understood yet. It must never let a doubtful value through; too much masked is fine.

use regex::{Captures, Regex};
use std::sync::LazyLock;

/// `scheme://userinfo@`, up to the last `@` of the authority, or of the whole word if what is after a colon is no port
/// (a password with a slash in it, which is a mistake, and still secret).
static USERINFO: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)\b(?P<keep>(?P<scheme>[a-z][a-z0-9+.-]*)://)(?:(?P<plain>[^\s/?\#"'@]*(?:@[^\s/?\#"'@]*)*)@|(?P<odd>[^\s/?\#"'@:]+:[0-9]*[^\s0-9/?\#"'@][^\s"']*)@)"#).ok()
});

/// `NAME = value` or `NAME=value` with a secret name, whatever the value's quotes, closed or not. Login names are among
/// them, as people write `name:password`.
static ASSIGNMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?ix)
        (?P<name> (?: [a-z0-9_.-]* (?:TOKEN|PASS|PASW|PWD|SECRET|KEY|CREDENTIAL) [a-z0-9_.-]* | auth | username )
          ["']? \s* = \s*)
        (?P<value> """ (?s:.*?) (?: """ | \z) | ''' (?s:.*?) (?: ''' | \z)
          | " (?: \\. | [^"\\\n] )* "? | ' [^'\n]* '? | [^\s,}\]\#"']+ )"#,
    )
    .ok()
});

/// Whether a variable of this name is likely to hold a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "PASS", "PASW", "PWD", "SECRET", "KEY", "CREDENTIAL"]
        .iter()
        .any(|word| name.contains(word))
}

/// The same text, the same number of bytes and lines, with every secret byte a `*`.
pub(super) fn mask_text(text: &str) -> String {
    let (Some(userinfo), Some(assignment)) = (USERINFO.as_ref(), ASSIGNMENT.as_ref()) else {
        return stars(text);
    };
    let text = userinfo.replace_all(text, |found: &Captures<'_>| {
        let secret = found.name("plain").or(found.name("odd")).map_or("", |m| m.as_str());
        // ssh's `git@host` is a login name.
        let login = !found["scheme"].to_ascii_lowercase().starts_with("http") && !secret.contains(':');
        let shown = if login { secret.to_owned() } else { stars(secret) };
        format!("{}{shown}@", &found["keep"])
    });
    assignment
        .replace_all(&text, |found: &Captures<'_>| {
            let value = &found["value"];
            let inner = value.trim_matches(['"', '\'']);
            let shown = match value.split_once(inner) {
                // A table of names has assignments of its own.
                Some((open, close)) if !inner.is_empty() && inner != "{" => format!("{open}{}{close}", stars(inner)),
                _ => value.to_owned(),
            };
            format!("{}{shown}", &found["name"])
        })
        .into_owned()
}

fn stars(secret: &str) -> String {
    secret.bytes().map(|b| if b == b'\n' { '\n' } else { '*' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_what_is_secret_and_keeps_columns() {
        for (text, masked) in [
            ("remote = \"https://u:pw@h/x\" # c", "remote = \"https://****@h/x\" # c"),
            ("'https://tok@h/x@y'", "'https://***@h/x@y'"),
            ("'https://u:p@w@h/x'", "'https://*****@h/x'"),
            ("'https://u:p/w@h/x'", "'https://*****@h/x'"),
            ("'https://h:80/x@y'", "'https://h:80/x@y'"),
            ("ssh://git@h/x git@h:x", "ssh://git@h/x git@h:x"),
            ("ssh://git:pw@h/x", "ssh://******@h/x"),
            ("A_TOKEN = \"abc\" # x", "A_TOKEN = \"***\" # x"),
            ("{ api_key = 'a', B = 'b' }", "{ api_key = '*', B = 'b' }"),
            ("\"PASSWORD\" = \"open", "\"PASSWORD\" = \"****"),
            ("SECRET = \"\"\"a\nb\"\"\"\nc = 1", "SECRET = \"\"\"*\n*\"\"\"\nc = 1"),
            ("TOKEN = \"é\"", "TOKEN = \"**\""),
            ("TOKEN = \"a\\\"b\"", "TOKEN = \"****\""),
            ("TOKEN = \"\"", "TOKEN = \"\""),
            ("KEY = 12", "KEY = **"),
            ("pass='x'", "pass='*'"),
            ("\"auth\" = \"x\"", "\"auth\" = \"*\""),
            ("authors = \"x\"", "authors = \"x\""),
            ("username = \"a:b\"", "username = \"***\""),
            (
                "secrets = { A_KEY = { file = 'x' } }",
                "secrets = { A_KEY = { file = 'x' } }",
            ),
            ("secrets = { A_KEY = 'x' }", "secrets = { A_KEY = '*' }"),
            ("curl --token=abc", "curl --token=***"),
        ] {
            assert_eq!(mask_text(text), masked);
            assert_eq!(text.len(), masked.len());
        }
    }
}
