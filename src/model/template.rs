//! `${NAME}` and `$NAME` in tags, labels, build arguments and destinations; `$$` is a dollar.

use super::is_env_name;
use serde::{Deserialize, Serialize};

/// A text with variables of the job in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// Why a text is not a template, or cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `$` that begins nothing.
    #[error("{0:?}: a $ stands for a variable: write ${{NAME}} or $NAME, or $$ for a dollar")]
    Syntax(String),
    /// No such variable.
    #[error("{template:?}: there is no variable {name}")]
    Unknown {
        /// The whole text.
        template: String,
        /// The name that is not known.
        name: String,
    },
}

impl Template {
    /// Reads the text.
    pub fn new(source: impl Into<String>) -> Result<Self, TemplateError> {
        let source = source.into();
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = source.as_str();
        while let Some(at) = rest.find('$') {
            text.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, tail) = if let Some(tail) = after.strip_prefix('$') {
                text.push('$');
                rest = tail;
                continue;
            } else if let Some(braced) = after.strip_prefix('{') {
                braced
                    .split_once('}')
                    .ok_or_else(|| TemplateError::Syntax(source.clone()))?
            } else {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                after.split_at(end)
            };
            if !is_env_name(name) {
                return Err(TemplateError::Syntax(source.clone()));
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = tail;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { source, parts })
    }

    /// The names that it needs, in order, with repeats.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|p| match p {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Fills it in.
    pub fn render(&self, lookup: impl Fn(&str) -> Option<String>) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(name) => {
                    out.push_str(&lookup(name).ok_or_else(|| TemplateError::Unknown {
                        template: self.source.clone(),
                        name: name.clone(),
                    })?);
                }
            }
        }
        Ok(out)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;
    fn try_from(source: String) -> Result<Self, Self::Error> {
        Self::new(source)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> String {
        template.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(source: &str) -> Result<String, TemplateError> {
        Template::new(source)?.render(|name| match name {
            "A" => Some("1".to_owned()),
            "B_2" => Some("$A".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn fills_in_once_and_only_once() {
        assert_eq!(filled("x${A}y$A-$B_2").unwrap(), "x1y1-$A");
        assert_eq!(filled("$$A $${A}").unwrap(), "$A ${A}");
        assert_eq!(filled("").unwrap(), "");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for bad in ["$", "a$ b", "${", "${}", "${A", "${1}", "$1", "${A b}"] {
            assert!(matches!(filled(bad), Err(TemplateError::Syntax(_))), "{bad}");
        }
        assert!(matches!(filled("${NO}"), Err(TemplateError::Unknown { .. })));
    }
}
