//! What `http.*` and the environment say about one URL (http.c: http_options, http_init).
//!
//! Options that make a difference and are not known here are never passed over: git is to ask that URL then.

use super::config::{Value, boolean};
use super::urlmatch::Url;
use super::variables::Variables;
use super::{HttpSettings, Tls, World, header, proxy};
use std::path::{Path, PathBuf};

/// What this process cannot do: the option, the variable that stands above it, and the values that ask for nothing.
const GIT_ONLY: [(&str, &str, &[&str]); 9] = [
    ("sslCert", "GIT_SSL_CERT", &[]),
    ("sslKey", "GIT_SSL_KEY", &[]),
    ("sslVersion", "GIT_SSL_VERSION", &[""]),
    ("sslCipherList", "GIT_SSL_CIPHER_LIST", &[""]),
    ("pinnedPubkey", "", &[]),
    ("cookieFile", "", &[""]),
    ("delegation", "", &["", "none"]),
    ("emptyAuth", "", &["auto", "", "false", "no", "off", "0"]),
    ("proactiveAuth", "", &["none"]),
];

/// Decides for a URL.
pub(super) fn settings(world: &World, url: &str) -> HttpSettings {
    let parsed = Url::parse(url);
    let options = Options {
        taken: world.config.http(parsed.as_ref()),
        variables: &world.variables,
    };
    let mut unable = Unable(options.only_git());
    let verify = unable.note(options.boolean("sslVerify"));
    let follow = match options.last("followRedirects") {
        Some(Some("initial")) => Ok(Some(true)),
        _ => options.boolean("followRedirects"),
    };
    let follow_redirects = unable.note(follow).unwrap_or(true);
    let tls = Tls {
        verify: verify.unwrap_or(true) && world.variables.get("GIT_SSL_NO_VERIFY").is_none(),
        ca_file: unable.note(options.path("sslCAInfo", "GIT_SSL_CAINFO", &world.cwd)),
        ca_path: unable.note(options.path("sslCAPath", "GIT_SSL_CAPATH", &world.cwd)),
    };
    let configured = unable.note(options.text("proxy"));
    let method = unable.note(options.text("proxyAuthMethod"));
    let proxy = match &parsed {
        Some(url) => unable.note(proxy::decide(configured, method, &world.variables, url)),
        None => unable.note(Err("git finds no host in the URL".to_owned())),
    };
    let mut user_agent = match world.variables.text("GIT_HTTP_USER_AGENT") {
        Some(agent) => agent,
        None => unable
            .note(options.text("userAgent"))
            .unwrap_or(&world.agent)
            .to_owned(),
    };
    let mut headers = Vec::new();
    for line in unable.note(options.list("extraHeader")) {
        match unable.note(header::parse(line)) {
            // Curl sends it in place of its own.
            Some(header) if header.name.eq_ignore_ascii_case("user-agent") => user_agent = header.value,
            header => headers.extend(header),
        }
    }
    HttpSettings {
        proxy,
        headers,
        tls,
        user_agent,
        follow_redirects,
        unable: unable.0,
    }
}

/// The first reason why only git can ask.
struct Unable(Option<String>);

impl Unable {
    /// Takes what is known; in place of what is not, nothing.
    fn note<T: Default>(&mut self, result: Result<T, String>) -> T {
        result.unwrap_or_else(|reason| {
            self.0.get_or_insert(reason);
            T::default()
        })
    }
}

/// The entries of `http` for one URL, in git's order.
struct Options<'a> {
    taken: Vec<(&'a str, Value<'a>)>,
    variables: &'a Variables,
}

impl<'a> Options<'a> {
    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = Value<'a>> {
        self.taken
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    fn last(&self, name: &str) -> Option<Value<'a>> {
        self.all(name).next_back()
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.last(name) {
            None => Ok(None),
            Some(value) => checked(name, value).map(Some),
        }
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, String> {
        match self.last(name).map(boolean) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(format!("http.{name} is neither true nor false")),
        }
    }

    /// All values; an empty one takes back those before.
    fn list(&self, name: &str) -> Result<Vec<&'a str>, String> {
        let mut list = Vec::new();
        for value in self.all(name) {
            match checked(name, value)? {
                "" => list.clear(),
                value => list.push(value),
            }
        }
        Ok(list)
    }

    /// A file's name, as git expands it; the variable's is taken as it is.
    fn path(&self, name: &str, variable: &str, cwd: &Path) -> Result<Option<PathBuf>, String> {
        if let Some(path) = self.variables.get(variable) {
            return Ok(Some(cwd.join(path)));
        }
        let Some(path) = self.text(name)? else { return Ok(None) };
        let home = || self.variables.get("HOME").map(PathBuf::from);
        let expanded = match path.strip_prefix('~') {
            Some("") => home(),
            Some(below) => below.strip_prefix('/').and_then(|below| Some(home()?.join(below))),
            None if path.starts_with("%(prefix)/") || path.starts_with(":(optional)") => None,
            None => Some(cwd.join(path)),
        };
        expanded
            .map(Some)
            .ok_or_else(|| format!("http.{name} is a name that only git expands"))
    }

    fn only_git(&self) -> Option<String> {
        let set = GIT_ONLY.iter().find_map(|(name, variable, harmless)| {
            let by_variable = (!variable.is_empty()).then(|| self.variables.text(variable)).flatten();
            let (shown, value) = match by_variable {
                Some(value) => ((*variable).to_owned(), Some(value)),
                None => (format!("http.{name}"), self.last(name)?.map(str::to_owned)),
            };
            let asks = value.is_none_or(|value| !harmless.contains(&value.to_ascii_lowercase().as_str()));
            asks.then(|| format!("{shown} is set"))
        });
        let resolves = || self.list("curloptResolve").map_or(true, |list| !list.is_empty());
        set.or_else(|| resolves().then(|| "http.curloptResolve is set".to_owned()))
    }
}

fn checked<'a>(name: &str, value: Value<'a>) -> Result<&'a str, String> {
    match value {
        None => Err(format!("http.{name} has no value")),
        Some(value) if value.contains('\u{fffd}') => Err(format!("http.{name} is not UTF-8")),
        Some(value) => Ok(value),
    }
}
