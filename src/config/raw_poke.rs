//! What is written in an image's `poke`.
//!
//! It must never fill in a default, and never quote a URL or a value, which may be secret.

use super::keys::{GITLAB, POKE, WEBHOOK, listed};
use super::notes::Notes;
use super::poke::{POKE_VARIABLES, PokeTarget, is_loopback};
use super::reader::{At, Node, Table, wrong_type};
use super::text::{self, Mistake, template};
use super::values::{env, integer, parsed, refuse};
use super::{Diagnostic, SecretFile};
use crate::model::Template;
use reqwest::Url;
use std::ops::Range;
use std::path::Path;
use toml::de::DeValue;

/// No GitLab has more projects.
const LARGEST_PROJECT: usize = 999_999_999;

/// One entry of `poke`.
#[derive(Debug, Clone)]
pub(super) struct RawPoke {
    pub(super) target: PokeTarget,
    /// The file with its secret, to be looked at.
    pub(super) secret: Option<At<SecretFile>>,
}

/// `poke = [{ gitlab = { … } }, { webhook = { … } }]`
pub(super) fn pokes<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<Vec<RawPoke>> {
    let DeValue::Array(entries) = node.get_ref() else {
        return wrong_type(node, notes, "an array of tables");
    };
    Some(entries.iter().filter_map(|entry| poke(entry, base, notes)).collect())
}

fn poke<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<RawPoke> {
    let table = Table::open(node, POKE, notes)?;
    let gitlab = table.read("gitlab", |n, notes| gitlab(n, base, notes));
    let webhook = table.read("webhook", |n, notes| webhook(n, base, notes));
    match (table.mentions("gitlab"), table.mentions("webhook")) {
        (true, true) => refuse(
            node.span(),
            Mistake::new("this entry has both `gitlab` and `webhook`").help("write an entry for each of them"),
            notes,
        ),
        (false, false) => refuse(
            node.span(),
            Mistake::new("this entry says nobody who is to be told").help("add `gitlab` or `webhook`"),
            notes,
        ),
        _ => gitlab.or(webhook),
    }
}

fn gitlab<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<RawPoke> {
    let table = Table::open(node, GITLAB, notes)?;
    let must = |key| must(&table, key, "gitlab", node.span(), notes);
    for key in ["url", "project", "ref", "token_file"] {
        must(key);
    }
    let url = table.read("url", |n, notes| url(n, notes, true));
    let project = table.read("project", project);
    let reference = table.read("ref", |n, notes| parsed(n, notes, reference));
    let token_file = table.read_at("token_file", |n, notes| secret_file(n, base, notes));
    let variables = table.read("variables", |n, notes| env(n, notes, variable));
    let token_file = token_file?;
    let target = PokeTarget::Gitlab {
        url: url?,
        project: project?,
        reference: reference?,
        token_file: token_file.value.clone(),
        variables: variables
            .unwrap_or_default()
            .into_iter()
            .map(|(name, at)| (name, at.value))
            .collect(),
    };
    let secret = Some(token_file);
    Some(RawPoke { target, secret })
}

fn webhook<'a>(node: &'a Node<'a>, base: &Path, notes: &'a Notes<'a>) -> Option<RawPoke> {
    let table = Table::open(node, WEBHOOK, notes)?;
    must(&table, "url", "webhook", node.span(), notes);
    let url = table.read("url", |n, notes| url(n, notes, false));
    let secret = table.read_at("secret_file", |n, notes| secret_file(n, base, notes));
    let target = PokeTarget::Webhook {
        url: url?,
        secret_file: secret.as_ref().map(|file| file.value.clone()),
    };
    Some(RawPoke { target, secret })
}

fn must(table: &Table<'_>, key: &'static str, of: &str, span: Range<usize>, notes: &Notes<'_>) {
    if !table.mentions(key) {
        let missing = Diagnostic::error(span, format!("this {of} has no `{key}`"));
        notes.push_missing(key, missing.help(format!("a {of} has {}", needed(of))));
    }
}

fn needed(of: &str) -> String {
    listed(if of == "gitlab" { &GITLAB[..4] } else { &WEBHOOK[..1] })
}

fn secret_file(node: &Node<'_>, base: &Path, notes: &Notes<'_>) -> Option<SecretFile> {
    parsed(node, notes, |text| text::secret_file(text, base))
}

/// A path as in `group/app`, or a number.
fn project(node: &Node<'_>, notes: &Notes<'_>) -> Option<String> {
    if node.get_ref().as_integer().is_some() {
        return integer(node, notes, 1..=LARGEST_PROJECT).map(|number| number.to_string());
    }
    parsed(node, notes, |text| {
        let path = text::word(text)?;
        match path.starts_with('/') || path.ends_with('/') || path.contains("://") {
            true => Err(Mistake::new("not the path of a project").help("write it as in \"group/app\", or its number")),
            false => Ok(path),
        }
    })
}

fn reference(text: &str) -> Result<String, Mistake> {
    if text.starts_with("refs/") {
        return Err(
            Mistake::new("GitLab takes the short name of a ref").help("write \"main\", not \"refs/heads/main\"")
        );
    }
    text::word(text)
}

/// The value of a variable for a pipeline.
fn variable(text: &str) -> Result<Template, Mistake> {
    let template = template(text)?;
    if let Some(name) = template.variables().find(|name| !POKE_VARIABLES.contains(name)) {
        let help = format!("there are {}; write $$ for a dollar", listed(POKE_VARIABLES));
        return Err(Mistake::new(format!("a poke has no variable `{name}`")).help(help));
    }
    Ok(template)
}

/// A URL without credentials. Without TLS it is warned about, unless it leads to this machine itself.
fn url(node: &Node<'_>, notes: &Notes<'_>, is_base: bool) -> Option<String> {
    let (text, url) = parsed(node, notes, |text| url_of(text, is_base))?;
    if url.scheme() == "http" && !is_loopback(&url) {
        let warning = Diagnostic::warning(
            node.span(),
            "whoever is on the way can read and change what is sent there",
        );
        notes.push(warning.help("write https://"));
    }
    Some(text)
}

fn url_of(text: &str, is_base: bool) -> Result<(String, Url), Mistake> {
    let wrong = || Mistake::new("not a URL").help("write it as in \"https://gitlab.example.org\"");
    if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(wrong());
    }
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "https" | "http") || !url.has_host() {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Mistake::new("a credential has no place in this URL")
            .help("put it into a file, and name that with `token_file` or `secret_file`"));
    }
    if url.fragment().is_some() || is_base && url.query().is_some() {
        return Err(Mistake::new(
            "nothing that begins with `?` or `#` has a place in this URL",
        ));
    }
    let text = if is_base { text.trim_end_matches('/') } else { text };
    Ok((text.to_owned(), url))
}

/// What an image that is not released asks for in vain. Of `[defaults]` nothing is said: it is for others too.
pub(super) fn judge_pokes(own: Option<&At<Vec<RawPoke>>>, notes: &Notes<'_>) {
    if let Some(at) = own.filter(|at| !at.value.is_empty()) {
        let warning = Diagnostic::warning(at.span.clone(), "`poke` has no effect: only releases are told of");
        notes.push(warning.help("add `release`, or leave this key out"));
    }
}
