//! Every key that a config may have.
//!
//! It exists so that reading, "did you mean" and the example file agree on one list. A key that is not here must never
//! be accepted.

/// At the top of the file.
pub(super) const TOP: &[&str] = &[
    "limit",
    "interval",
    "workdir",
    "engine",
    "kaniko",
    "registries",
    "listen",
    "hooks",
    "grace",
    "poll_timeout",
    "poll_size_limit",
    "polls_per_host",
    "log_limit",
    "retry",
    "log_level",
    "log_format",
    "log_dir",
    "log_keep",
    "watch_config",
    "defaults",
    "projects",
];

/// In `[retry]`.
pub(super) const RETRY: &[&str] = &["attempts", "delay", "max_delay"];

/// In `[kaniko]`.
pub(super) const KANIKO: &[&str] = &["image", "engine", "cache_repo", "snapshot_mode", "flags"];

/// In `[registries."HOST"]`.
pub(super) const REGISTRY: &[&str] = &["authfile", "username", "password_file", "insecure", "ca_file"];

/// In `[hooks]`: each sender by its name.
pub(super) const HOOKS: &[&str] = &["gitlab", "github", "gitea", "registry", "form"];

/// In `[projects.NAME]`.
pub(super) const PROJECT: &[&str] = &[
    "remote",
    "images",
    "enabled",
    "interval",
    "branches",
    "tags",
    "initial",
    "shallow",
    "submodules",
    "timeout",
    "callback_timeout",
    "env",
    "env_file",
    "depends_on",
    "prepare_callback",
    "success_callback",
    "error_callback",
    "image",
    "run",
    "rsync",
];

/// In `[defaults]`: all of these but the remote and the table of several images, which come first.
pub(super) const DEFAULTS: &[&str] = PROJECT.split_at(2).1;

/// In `[projects.NAME.image]` and `[projects.NAME.images.NAME]`.
pub(super) const IMAGE: &[&str] = &[
    "file",
    "context",
    "target",
    "pull",
    "cache",
    "build_args",
    "labels",
    "tags",
    "watch",
    "depends_on",
    "chain",
    "secrets",
    "source_date_epoch",
    "test",
    "test_network",
    "staging",
    "release",
    "release_refs",
    "update",
    "schedule",
    "poke",
];

/// In an image's `update`.
pub(super) const UPDATE: &[&str] = &["base", "packages", "every", "quiet", "timeout", "network", "tags"];

/// In each entry of an image's `poke`.
pub(super) const POKE: &[&str] = &["gitlab", "webhook"];

/// In the `gitlab` of a `poke`: what is needed comes first.
pub(super) const GITLAB: &[&str] = &["url", "project", "ref", "token_file", "variables"];

/// In the `webhook` of a `poke`: what is needed comes first.
pub(super) const WEBHOOK: &[&str] = &["url", "secret_file"];

/// In each of an image's `secrets`.
pub(super) const SECRET: &[&str] = &["file"];

/// In `[projects.NAME.run]`.
pub(super) const RUN: &[&str] = &[
    "image",
    "command",
    "read_only",
    "tmpfs",
    "network",
    "labels",
    "env",
    "engine_socket",
];

/// In `[projects.NAME.rsync]`.
pub(super) const RSYNC: &[&str] = &["destination", "delete", "checksum", "preserve", "include"];

/// Each kind of table with the words that name it.
pub(super) const TABLES: &[(&[&str], &str)] = &[
    (TOP, "at the top of the file"),
    (RETRY, "in [retry]"),
    (PROJECT, "in [projects.NAME]"),
    (IMAGE, "in [projects.NAME.image]"),
    (UPDATE, "in [projects.NAME.image.update]"),
    (RUN, "in [projects.NAME.run]"),
    (RSYNC, "in [projects.NAME.rsync]"),
    (POKE, "in an entry of [projects.NAME.image.poke]"),
    (GITLAB, "in a gitlab of [projects.NAME.image.poke]"),
    (WEBHOOK, "in a webhook of [projects.NAME.image.poke]"),
    (SECRET, "in a secret of [projects.NAME.image.secrets]"),
    (KANIKO, "in [kaniko]"),
    (REGISTRY, "in [registries.\"HOST\"]"),
    (HOOKS, "in [hooks]"),
];

/// The known key that a wrong one was probably meant to be.
pub(super) fn nearest(known: &'static [&'static str], wrong: &str) -> Option<&'static str> {
    nearest_of(known.iter().copied(), &wrong.to_ascii_lowercase().replace('-', "_"))
}

/// The known word that a wrong one was probably meant to be.
pub(super) fn nearest_of<'a>(known: impl Iterator<Item = &'a str>, wrong: &str) -> Option<&'a str> {
    known
        .map(|word| (strsim::osa_distance(word, wrong), word))
        .filter(|(distance, word)| *distance <= (word.len() / 3).max(1))
        .min()
        .map(|(_, word)| word)
}

/// The kind of table in which a key would be right.
pub(super) fn home_of(key: &str) -> Option<&'static str> {
    TABLES
        .iter()
        .find(|(keys, _)| keys.contains(&key))
        .map(|(_, name)| *name)
}

/// What to do instead, for a key that is left out on purpose, or has another name elsewhere.
pub(super) fn refused(known: &'static [&'static str], wrong: &str) -> Option<&'static str> {
    match wrong {
        "token" if known == GITLAB => Some("put it into a file and name that with `token_file`"),
        "secret" if known == WEBHOOK => Some("put it into a file and name that with `secret_file`"),
        "password" if known == REGISTRY => Some("put it into a file and name that with `password_file`"),
        "forgejo" | "gogs" if known == HOOKS => Some("its hooks are those of `gitea`"),
        // What a project has under this name.
        "interval" if known == UPDATE => Some("did you mean `every`?"),
        _ => None,
    }
}

/// A list of words for a help text.
pub(super) fn listed(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest_key() {
        for (wrong, meant) in [
            ("remot", Some("remote")),
            ("Branches", Some("branches")),
            ("error-callback", Some("error_callback")),
            ("tag", Some("tags")),
            ("zebra", None),
        ] {
            assert_eq!(nearest(PROJECT, wrong), meant);
        }
        assert_eq!(home_of("interval"), Some("at the top of the file"));
        assert_eq!(home_of("zebra"), None);
    }

    #[test]
    fn defaults_are_what_projects_can_share() {
        let own = ["remote", "images"];
        let expected: Vec<_> = PROJECT.iter().filter(|k| !own.contains(k)).collect();
        assert_eq!(DEFAULTS.iter().collect::<Vec<_>>(), expected);
    }
}
