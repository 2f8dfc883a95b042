//! The small languages inside strings: durations, sizes, commands, paths, patterns, templates.
//!
//! It exists so that each can be tested with a plain string. Pure; a mistake's message must never quote the text, as
//! it may be secret, unless the text can hold no secret.

use super::{Pattern, SecretFile};
use crate::model::Template;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is wrong with a text, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Mistake {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Longer waits are surely mistakes, and would overflow clocks.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// `90s`, `1h 30m`.
pub(super) fn duration(text: &str) -> Result<Duration, Mistake> {
    let help = "write a number with a unit, as in \"90s\", \"10m\" or \"1h 30m\"";
    let duration =
        humantime::parse_duration(text).map_err(|e| Mistake::new(format!("not a duration: {e}")).help(help))?;
    if duration > LONGEST {
        return Err(Mistake::new("a duration may be 10 years at most"));
    }
    Ok(duration)
}

/// `2GiB`, `500MB`, `4096`: a number of bytes that is not zero.
pub(super) fn size(text: &str) -> Result<u64, Mistake> {
    let wrong =
        || Mistake::new("not a size").help("write bytes or a unit: \"4096\", \"500MB\" (1000²), \"2GiB\" (1024³)");
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "kB" | "KB" => 1000,
        "MB" => 1000_u64.pow(2),
        "GB" => 1000_u64.pow(3),
        "TB" => 1000_u64.pow(4),
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(wrong()),
    };
    if number.is_empty() {
        return Err(wrong());
    }
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    match bytes {
        Some(0) => Err(Mistake::new("this size must be more than zero")),
        Some(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => Err(Mistake::new("this size is too big")),
    }
}

/// A command line as a shell would split it, without expanding anything.
pub(super) fn command(text: &str) -> Result<Vec<String>, Mistake> {
    match shlex::split(text) {
        None => Err(Mistake::new("a quote is not closed, or a backslash ends the command")
            .help("quote as in a shell, or write an array: [\"program\", \"argument\"]")),
        Some(argv) => argv_checked(argv),
    }
}

/// A command that has a program.
pub(super) fn argv_checked(argv: Vec<String>) -> Result<Vec<String>, Mistake> {
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(argv),
        _ => Err(Mistake::new("the command is empty").help("leave the key out to run nothing")),
    }
}

/// A path that stays inside of the checkout.
pub(super) fn inner_path(text: &str) -> Result<PathBuf, Mistake> {
    use std::path::Component;
    if text.is_empty() {
        return Err(Mistake::new("the path is empty"));
    }
    let path = Path::new(text);
    let inside = path
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(Mistake::new("the path must be relative to the checkout and stay in it")
            .help("leave out a leading `/` and every `..`"));
    }
    Ok(path.to_owned())
}

/// A value that becomes one argument of the engine.
pub(super) fn word(text: &str) -> Result<String, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("the value is empty").help("leave the key out for the default"));
    }
    if text.starts_with('-') {
        return Err(Mistake::new(
            "the value begins with `-` and would be taken for an option",
        ));
    }
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(Mistake::new("the value must be one word"));
    }
    Ok(text.to_owned())
}

/// A path in the file system; relative ones are seen from `base`.
pub(super) fn path(text: &str, base: &Path) -> Result<PathBuf, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("the path is empty"));
    }
    // Through the components, so that `./x` leaves no dot behind.
    Ok(base.join(text).components().collect())
}

/// The path of a file with a secret, which systemd may have put where only a variable tells.
pub(super) fn secret_file(text: &str, base: &Path) -> Result<SecretFile, Mistake> {
    let written = Path::new(text);
    if !text.starts_with('$') {
        return path(text, base).map(SecretFile::new);
    }
    if !SecretFile::is_credential(written) {
        return Err(Mistake::new("no such variable is known in this path")
            .help("write $CREDENTIALS_DIRECTORY/NAME for a credential of systemd, or a path"));
    }
    let mut rest = written.components().skip(1).peekable();
    if rest.peek().is_none() || rest.any(|part| part == std::path::Component::ParentDir) {
        return Err(Mistake::new("this path names no credential").help("write $CREDENTIALS_DIRECTORY/NAME"));
    }
    Ok(SecretFile::new(written))
}

/// A text with variables of the job.
pub(super) fn template(text: &str) -> Result<Template, Mistake> {
    // Not the error's own words: they quote the text.
    Template::new(text)
        .map_err(|_| Mistake::new("a `$` begins a variable here").help("write ${NAME} or $NAME, or $$ for a dollar"))
}

/// A glob, or a regular expression in slashes.
pub(super) fn pattern(text: &str, example: &str) -> Result<Pattern, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("an empty pattern matches nothing"));
    }
    // Of a regular expression's message only the last line says what is wrong.
    Pattern::new(text).map_err(|e| {
        let message = e.to_string();
        let last = message.lines().last().unwrap_or_default();
        Mistake::new(format!("not a pattern: {}", last.trim_start_matches("error: "))).help(format!(
            "write a glob as in \"{example}\", or a regular expression in slashes as in \"/v[0-9]+/\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("1", 1),
            ("10 B", 10),
            ("2GiB", 2 << 30),
            ("500MB", 500_000_000),
            ("3 KiB", 3072),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "GiB",
            "1.5GiB",
            "-1",
            "2G",
            "99999999999TiB",
            "99999999999999999999",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for text in ["", "60", "soon", "-1s", "100000 years", "99999999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn commands() {
        assert_eq!(command("a 'b c' \"d\""), Ok(vec!["a".into(), "b c".into(), "d".into()]));
        for text in ["", "  ", "'open", "''", "# comment"] {
            assert!(command(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_in_the_checkout() {
        for fine in [".", "a/b", "./Containerfile"] {
            assert!(inner_path(fine).is_ok(), "{fine}");
        }
        for bad in ["", "/a", "../a", "a/../../b"] {
            assert!(inner_path(bad).is_err(), "{bad}");
        }
        assert_eq!(path("./a", Path::new("/etc/p")), Ok("/etc/p/a".into()));
        assert_eq!(path("/x", Path::new("/etc/p")), Ok("/x".into()));
    }

    #[test]
    fn paths_of_secrets() {
        let read = |text| secret_file(text, Path::new("/etc/p")).map(|f| f.as_path().display().to_string());
        for (text, meant) in [
            ("./a", "/etc/p/a"),
            ("/x", "/x"),
            ("$CREDENTIALS_DIRECTORY/a/b", "$CREDENTIALS_DIRECTORY/a/b"),
            ("${CREDENTIALS_DIRECTORY}/a", "${CREDENTIALS_DIRECTORY}/a"),
        ] {
            assert_eq!(read(text), Ok(meant.to_owned()));
        }
        for bad in [
            "",
            "$HOME/x",
            "$CREDENTIALS_DIRECTORY",
            "$CREDENTIALS_DIRECTORY/",
            "$CREDENTIALS_DIRECTORY/../x",
            "$CREDENTIALS_DIRECTORYx/a",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
