//! Which variables have a value, before the first stage and in each.

use super::budget::Budget;
use super::expand::{Filled, Value, expand};
use std::collections::HashMap;
use std::rc::Rc;

/// Arguments that every build has without an ARG for them: proxies, which leave no trace in an image's history.
pub(super) const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Arguments that builders give a value of their own: before the first stage always, in a stage if an ARG asks for it.
const PLATFORM: [&str; 8] = [
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

type Variables = Rc<HashMap<String, Value>>;

/// What it costs to copy a variable, in bytes of text.
const COPIED: usize = 64;

/// Changes a map that others may still read as it was.
fn set(variables: &mut Variables, name: String, value: Value, budget: &Budget) {
    let copied = if Rc::strong_count(variables) > 1 {
        variables.len() * COPIED
    } else {
        0
    };
    match budget.spend(copied) {
        Some(()) => drop(Rc::make_mut(variables).insert(name, value)),
        // No longer sure of any of them; and with nothing left to spend, no expansion ends.
        None => *variables = Rc::default(),
    }
}

/// The variables of a stage, or those before the first.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    args: Variables,
    /// An ENV wins over an ARG of the same name.
    env: Variables,
}

/// What decides about values for a whole file.
pub(super) struct Values<'a> {
    pub escape: char,
    pub build_args: &'a dyn Fn(&str) -> Option<String>,
    pub budget: Budget,
    /// Before the first FROM.
    pub global: Scope,
}

impl Values<'_> {
    /// Fills a word in with the global variables or those of a stage.
    pub fn fill(&self, word: &str, stage: Option<&Scope>) -> Option<Filled> {
        let look = |name: &str| match stage {
            Some(stage) => self.in_stage(name, stage),
            None => self.before_stages(name),
        };
        self.budget.spend(1)?;
        expand(word, self.escape, &look, &self.budget)
    }

    fn before_stages(&self, name: &str) -> Value {
        match self.global.args.get(name) {
            Some(value) => value.clone(),
            None => self.predefined(name, &PLATFORM),
        }
    }

    fn in_stage(&self, name: &str, stage: &Scope) -> Value {
        match stage.env.get(name).or_else(|| stage.args.get(name)) {
            Some(value) => value.clone(),
            None => self.predefined(name, &[]),
        }
    }

    /// Of an argument that needs no ARG: proxies, if they are given, and those that builders know.
    fn predefined(&self, name: &str, builders: &[&str]) -> Value {
        let known = builders.contains(&name);
        if !known && !PROXIES.contains(&name) {
            return Value::Unset;
        }
        match (self.build_args)(name) {
            Some(text) => given(text),
            None if known => Value::Unknown,
            None => Value::Unset,
        }
    }

    /// `NAME` or `NAME=DEFAULT` before the first FROM; each word sees those before it.
    pub fn global_arg(&mut self, word: &str) {
        if let Some((name, value)) = self.arg(word, None) {
            set(&mut self.global.args, name, value, &self.budget);
        }
    }

    /// The words of an ARG in a stage; none of them sees another.
    pub fn stage_args(&self, words: &[&str], stage: &mut Scope) {
        let found: Vec<_> = words.iter().filter_map(|word| self.arg(word, Some(stage))).collect();
        for (name, value) in found {
            set(&mut stage.args, name, value, &self.budget);
        }
    }

    /// A value that is passed wins over the default. A bare ARG in a stage takes the value of the global one, and one
    /// that has none changes nothing.
    fn arg(&self, word: &str, stage: Option<&Scope>) -> Option<(String, Value)> {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default)),
            None => (word, None),
        };
        let name = self.fill(name, stage).map_or_else(|| unquoted(name), |name| name.text);
        let value = match ((self.build_args)(&name), default) {
            (Some(text), _) => given(text),
            (None, Some(default)) => self.value(default, stage),
            (None, None) => match self.before_stages(&name) {
                Value::Unset => return None,
                value => value,
            },
        };
        Some((name, value))
    }

    /// The words of an ENV, none of which sees another: `NAME=VALUE …`, or `NAME VALUE` with all of the rest.
    pub fn env(&self, args: &str, words: &[&str], stage: &mut Scope) {
        let mut pairs: Vec<(&str, &str)> = words.iter().filter_map(|word| word.split_once('=')).collect();
        if words.first().is_some_and(|first| !first.contains('=')) {
            pairs = args.split_once(char::is_whitespace).into_iter().collect();
        }
        let found: Vec<(String, Value)> = pairs
            .into_iter()
            .map(|(name, value)| {
                let name = self
                    .fill(name, Some(stage))
                    .map_or_else(|| unquoted(name), |name| name.text);
                (name, self.value(value.trim_start(), Some(stage)))
            })
            .collect();
        for (name, value) in found {
            set(&mut stage.env, name, value, &self.budget);
        }
    }

    fn value(&self, word: &str, stage: Option<&Scope>) -> Value {
        match self.fill(word, stage) {
            Some(Filled {
                text,
                unset,
                unknown: false,
            }) => Value::Set {
                text: text.into(),
                unset,
            },
            _ => Value::Unknown,
        }
    }
}

fn given(text: String) -> Value {
    Value::Set {
        text: text.into(),
        unset: false,
    }
}

/// A name without quotes, as far as it goes.
pub(super) fn unquoted(word: &str) -> String {
    word.replace(['"', '\''], "")
}
