//! Who sends webhooks.

use serde::{Deserialize, Serialize};

/// What sends a hook, each with a form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sender {
    /// GitLab: a project's, a group's, or the system's hooks.
    Gitlab,
    /// GitHub.
    Github,
    /// Gitea and Forgejo.
    Gitea,
    /// The notifications of docker-registry.
    Registry,
    /// Whoever can send a form: `curl -d project=ruby`.
    Form,
}

impl Sender {
    /// All of them, in the order in which the config has them.
    pub const ALL: [Self; 5] = [Self::Gitlab, Self::Github, Self::Gitea, Self::Registry, Self::Form];

    /// Its key in `[hooks]`, and the end of its path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gitlab => "gitlab",
            Self::Github => "github",
            Self::Gitea => "gitea",
            Self::Registry => "registry",
            Self::Form => "form",
        }
    }

    /// By that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sender| sender.as_str() == name)
    }
}
