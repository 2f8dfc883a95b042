//! Environment names and env files.

/// What every job sets, before anything is built (DESIGN, section 7).
pub const JOB_VARIABLES: &[&str] = &[
    "BUILD_PROJECT",
    "BUILD_REMOTE",
    "BUILD_REF",
    "BUILD_REF_NAME",
    "BUILD_REF_SLUG",
    "BUILD_REF_TYPE",
    "BUILD_COMMIT",
    "BUILD_SHORT_COMMIT",
    "BUILD_NUMBER",
    "BUILD_REASON",
    "BUILD_WAVE",
    "BUILD_DIR",
    "BUILD_PATH",
    "BUILD_DROP",
    "BUILD_LOG",
    "BUILD_IMAGE",
    "BUILD_IMAGE_NAME",
    "BUILD_IMAGE_ID",
    "BUILD_IMAGE_DIGEST",
    "CI",
    "CI_COMMIT_SHA",
    "CI_COMMIT_REF_NAME",
    "CI_COMMIT_REF_SLUG",
    "CI_COMMIT_BRANCH",
    "CI_COMMIT_TAG",
    "CI_PROJECT_NAME",
];

/// What only callbacks see.
pub const CALLBACK_VARIABLES: &[&str] = &["BUILD_OUTCOME", "BUILD_STEP", "BUILD_ERROR"];

/// What decides which storage or which server a command talks to; a project's `env` may set it.
pub const ENGINE_VARIABLES: [&str; 12] = [
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
    "CONTAINER_CONNECTION",
    "CONTAINER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "HOME",
    "STORAGE_DRIVER",
    "STORAGE_OPTS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
];

/// Those, and what decides where logins to registries come from: all that a release needs of a project's `env`. They are
/// addresses and directories.
pub const RELEASE_VARIABLES: [&str; 14] = {
    let mut names = [""; 14];
    let mut at = 0;
    while at < ENGINE_VARIABLES.len() {
        names[at] = ENGINE_VARIABLES[at];
        at += 1;
    }
    names[at] = "REGISTRY_AUTH_FILE";
    names[at + 1] = "XDG_CONFIG_HOME";
    names
};

/// Whether a job alone says what this variable is, or that it is not set: whatever the config says, and whatever job the
/// daemon itself may have been started from.
pub fn is_job_variable(name: &str) -> bool {
    JOB_VARIABLES.contains(&name) || CALLBACK_VARIABLES.contains(&name)
}

/// One mistake in an env file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct EnvFileError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong. Never holds the value, which may be secret.
    pub message: String,
}

/// Whether a string can be the name of an environment variable: letters, digits and `_`, not starting with a digit
/// (IEEE Std 1003.1, 8.1).
pub fn is_env_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads an env file as `systemd` and `podman --env-file` users know it: a `NAME=value` a line, blank lines and lines
/// that start with `#` are left out, an optional `export ` before the name, and one pair of matching quotes around
/// the whole value is taken off. There is no expansion.
pub fn parse_env_file(text: &str) -> Result<Vec<(String, String)>, EnvFileError> {
    let mut entries = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let error = |message: String| EnvFileError {
            line: index + 1,
            message,
        };
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let Some((name, value)) = line.split_once('=') else {
            return Err(error("expected NAME=value".to_owned()));
        };
        let name = name.trim_end();
        if !is_env_name(name) {
            return Err(error(format!("{name:?} is not a variable name")));
        }
        if value.contains('\0') {
            return Err(error(format!("the value of {name} holds a NUL byte")));
        }
        let value = ['"', '\'']
            .into_iter()
            .find_map(|q| value.strip_prefix(q)?.strip_suffix(q))
            .unwrap_or(value);
        entries.push((name.to_owned(), value.to_owned()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let text = "# c\n\nA=1\nexport B = x y \nC=\"q # r\"\nD='it''s'\nE=\nF=\"half\n";
        let entries = parse_env_file(text).unwrap();
        let pairs: Vec<(&str, &str)> = entries.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("A", "1"),
                ("B", " x y"),
                ("C", "q # r"),
                ("D", "it''s"),
                ("E", ""),
                ("F", "\"half"),
            ]
        );
    }

    #[test]
    fn a_mistake_names_its_line_and_not_the_value() {
        let error = parse_env_file("A=1\n1B=secret\n").unwrap_err();
        assert_eq!(error.line, 2);
        assert!(!error.to_string().contains("secret"));
        assert!(parse_env_file("just words").is_err());
    }
}
