//! The user's git config, as `git config --list -z` tells it: includes, conditions, scopes and the environment are
//! weighed by git already. Only the meaning of an entry is found here.

use super::urlmatch::{Fit, Url};

/// All entries in git's order: of entries with the same key the last one counts.
pub(super) struct Config(Vec<Entry>);

struct Entry {
    /// Lower case, as git prints it.
    section: String,
    /// With its case.
    subsection: Option<String>,
    /// Lower case, as git prints it.
    name: String,
    /// None for a key without `=`, which is true as a boolean and an error as anything else.
    value: Option<String>,
}

/// `None` for a key without a value.
pub(super) type Value<'a> = Option<&'a str>;

impl Config {
    /// Reads `KEY LF VALUE NUL …`. What has no such form is left out; what is not UTF-8 holds a U+FFFD then.
    pub fn parse(list: &[u8]) -> Self {
        Self(list.split(|b| *b == 0).filter_map(Entry::parse).collect())
    }

    /// The values of a key, in order.
    pub fn all<'a>(
        &'a self,
        section: &'a str,
        subsection: Option<&'a str>,
        name: &'a str,
    ) -> impl Iterator<Item = Value<'a>> {
        self.0
            .iter()
            .filter(move |e| e.section == section && e.subsection.as_deref() == subsection && e.name == name)
            .map(|e| e.value.as_deref())
    }

    /// The value that counts.
    pub fn last<'a>(&'a self, section: &'a str, subsection: Option<&'a str>, name: &'a str) -> Option<Value<'a>> {
        self.all(section, subsection, name).last()
    }

    /// Subsections that have a key, with its values, in order.
    pub fn each<'a>(&'a self, section: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.0
            .iter()
            .filter(move |e| e.section == section && e.name == name)
            .filter_map(|e| Some((e.subsection.as_deref()?, e.value.as_deref())))
    }

    /// The entries of `http` that git takes for this URL, in order: one that fits worse than one before with the same
    /// name is passed over, any other stands beside it or in its place.
    pub fn http(&self, url: Option<&Url>) -> Vec<(&str, Value<'_>)> {
        let mut taken: Vec<(&str, Fit, Value<'_>)> = Vec::new();
        for entry in self.0.iter().filter(|e| e.section == "http") {
            let fit = match &entry.subsection {
                None => Some(Fit::default()),
                Some(pattern) => url.and_then(|url| url.fit(&Url::pattern(pattern)?)),
            };
            let before = taken.iter().rev().find(|(name, ..)| *name == entry.name);
            match fit {
                Some(fit) if before.is_none_or(|(_, best, _)| fit >= *best) => {
                    taken.push((&entry.name, fit, entry.value.as_deref()));
                }
                _ => {}
            }
        }
        taken.into_iter().map(|(name, _, value)| (name, value)).collect()
    }
}

impl Entry {
    fn parse(entry: &[u8]) -> Option<Self> {
        let entry = String::from_utf8_lossy(entry);
        let (key, value) = match entry.split_once('\n') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (entry.as_ref(), None),
        };
        let (section, rest) = key.split_once('.')?;
        let (subsection, name) = match rest.rsplit_once('.') {
            Some((subsection, name)) => (Some(subsection.to_owned()), name),
            None => (None, rest),
        };
        Some(Self {
            section: section.to_owned(),
            subsection,
            name: name.to_owned(),
            value,
        })
    }
}

/// Git's idea of a boolean (`git help config`, Values); `None` if it is none.
pub(super) fn boolean(value: Value<'_>) -> Option<bool> {
    let Some(value) = value else { return Some(true) };
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "" | "false" | "no" | "off" => Some(false),
        number => {
            let digits = number.strip_suffix(['k', 'm', 'g']).unwrap_or(number);
            digits.parse::<i32>().ok().map(|number| number != 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIST: &[u8] =
        b"http.sslverify\nfalse\0http.https://H.x/a.b.sslverify\0url.x\ny.insteadof\nz\0a.b\n1\0a.b\n2\n\0odd\0";

    #[test]
    fn takes_keys_apart() {
        let config = Config::parse(LIST);
        assert_eq!(config.last("http", None, "sslverify"), Some(Some("false")));
        assert_eq!(config.last("http", Some("https://H.x/a.b"), "sslverify"), Some(None));
        assert_eq!(config.all("a", None, "b").collect::<Vec<_>>(), [Some("1"), Some("2\n")]);
        assert_eq!(config.last("a", None, "c"), None);
        assert_eq!(config.0.len(), 5, "what is no key is left out");
    }

    #[test]
    fn a_worse_fit_never_replaces_a_better() {
        let list = b"http.https://h/a.x\n1\0http.x\n2\0http.https://h.x\n3\0http.https://h/a.x\n4\0http.y\n5\0";
        let config = Config::parse(list);
        let of = |url: &str| config.http(Url::parse(url).as_ref());
        let (x, y) = (|v| ("x", Some(v)), ("y", Some("5")));
        assert_eq!(of("https://h/a/b"), [x("1"), x("4"), y]);
        assert_eq!(of("https://h/b"), [x("2"), x("3"), y]);
        assert_eq!(of("https://other"), [x("2"), y]);
        assert_eq!(of("no url"), [x("2"), y]);
    }

    #[test]
    fn booleans() {
        for (value, means) in [
            (None, Some(true)),
            (Some(""), Some(false)),
            (Some("YES"), Some(true)),
            (Some("Off"), Some(false)),
            (Some("0"), Some(false)),
            (Some("-1"), Some(true)),
            (Some("2k"), Some(true)),
            (Some("maybe"), None),
            (Some("k"), None),
        ] {
            assert_eq!(boolean(value), means, "{value:?}");
        }
    }

    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![any::<u8>(), Just(b'.'), Just(0), Just(b'\n')]
    }

    proptest! {
        #[test]
        fn never_panics(list in proptest::collection::vec(byte(), 0..80)) {
            let _ = Config::parse(&list).http(Url::parse("http://h/").as_ref());
        }
    }
}
