//! Where the login for a registry comes from: the config's own words, or the files that podman and docker keep.
//!
//! Files are read when a login is needed, and not before: whoever logs in anew need not restart anything. No secret is in
//! an argument or in an error.

use super::authfile::{Advice, AuthFile};
use super::limits;
use super::secret::{Credentials, Secret};
use super::{RegistryError, words};
use crate::config::{RegistryLogin, RegistrySettings};
use crate::model::{FailureKind, ImageRef, Step};
use crate::process::Runner;
use serde::Deserialize;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For one helper to answer.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// printf is the shell's own, so its arguments are nobody's to see; the server's name is no secret anyhow.
const SCRIPT: &str = r#"printf %s "$1" | "$2" get"#;
/// What helpers say when they know nothing (docker-credential-helpers, credentials/error.go).
const NOT_FOUND: &str = "credentials not found";

/// What was found, and where it was looked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The login, if there is one.
    pub login: Option<Credentials>,
    /// For errors: which file or helper has it, or which ones have nothing.
    pub places: String,
}

/// Finds the login for a repository.
pub(super) async fn find(
    runner: &Runner,
    settings: &RegistrySettings,
    image: &ImageRef,
) -> Result<Found, RegistryError> {
    let resolve = |file: &crate::config::SecretFile| file.resolve().map_err(|e| RegistryError::Settings(e.to_string()));
    match &settings.login {
        RegistryLogin::Password {
            username,
            password_file,
        } => {
            let path = resolve(password_file)?;
            let bytes = read(&path)?.ok_or_else(|| unreadable(&path, "it is not there"))?;
            let text = String::from_utf8(bytes).map_err(|_| unreadable(&path, "it is not UTF-8"))?;
            let password = text.strip_suffix('\n').unwrap_or(&text);
            let password = password.strip_suffix('\r').unwrap_or(password);
            Ok(Found {
                login: Some(Credentials {
                    username: username.clone(),
                    password: Secret::new(password),
                }),
                places: format!("the login of {username} from {} was used", path.display()),
            })
        }
        RegistryLogin::AuthFile(file) => {
            let path = resolve(file)?;
            look(runner, &[path], true, image).await
        }
        RegistryLogin::Engine => {
            let (paths, must) = engine_files(runner);
            look(runner, &paths, must, image).await
        }
    }
}

/// The files of podman and docker, in order, and whether they must be there: one that is named by itself must.
fn engine_files(runner: &Runner) -> (Vec<PathBuf>, bool) {
    let dir = |name: &str| runner.variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(file) = dir("REGISTRY_AUTH_FILE") {
        return (vec![file], true);
    }
    let home = dir("HOME");
    let user = nix::unistd::getuid();
    let runtime = dir("XDG_RUNTIME_DIR")
        .map(|dir| dir.join("containers/auth.json"))
        .unwrap_or_else(|| format!("/run/containers/{user}/auth.json").into());
    let config = dir("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let docker = dir("DOCKER_CONFIG").or_else(|| Some(home?.join(".docker")));
    let files = [
        Some(runtime),
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ];
    (files.into_iter().flatten().collect(), false)
}

async fn look(runner: &Runner, paths: &[PathBuf], must: bool, image: &ImageRef) -> Result<Found, RegistryError> {
    for path in paths {
        let Some(bytes) = read(path)? else {
            if must {
                return Err(unreadable(path, "it is not there"));
            }
            continue;
        };
        let advice = AuthFile::parse(&bytes)
            .and_then(|file| file.advice(image.registry(), image.repository()))
            .map_err(|why| unreadable(path, &why))?;
        for advice in advice {
            let (login, by) = match advice {
                Advice::Login(login) => (Some(login), String::new()),
                Advice::Helper { name, server } => {
                    let by = format!(" by docker-credential-{name}");
                    (ask_helper(runner, &name, &server).await?, by)
                }
            };
            if let Some(login) = login {
                return Ok(Found {
                    login: Some(login),
                    places: format!("the login from {}{by} was used", path.display()),
                });
            }
        }
    }
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    Ok(Found {
        login: None,
        places: format!("there is no entry for it in {}", names.join(", ")),
    })
}

fn unreadable(path: &Path, why: &str) -> RegistryError {
    RegistryError::Settings(format!("{} cannot be used: {why}", path.display()))
}

/// All of a small file; none if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, RegistryError> {
    let wrong = |error: std::io::Error| unreadable(path, &words::plain(&error.to_string()));
    // A pipe in its place must not hold us up.
    let missing = |e: &std::io::Error| {
        matches!(
            e.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        )
    };
    let file = match std::fs::metadata(path) {
        Ok(data) if data.is_file() => std::fs::File::open(path).map_err(wrong)?,
        Ok(_) => return Err(unreadable(path, "it is no file")),
        Err(error) if missing(&error) => return Ok(None),
        Err(error) => return Err(wrong(error)),
    };
    let mut bytes = Vec::new();
    file.take(limits::AUTH_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() as u64 > limits::AUTH_FILE {
        return Err(unreadable(path, "it is too long"));
    }
    Ok(Some(bytes))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

async fn ask_helper(runner: &Runner, name: &str, server: &str) -> Result<Option<Credentials>, RegistryError> {
    let program = format!("docker-credential-{name}");
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(RegistryError::Settings(format!("{program:?} is no name of a helper")));
    }
    let argv = ["/bin/sh", "-c", SCRIPT, "helper", server, &program].map(OsString::from);
    let limit = limits::AUTH_FILE as usize;
    let said = runner
        .capture(Step::Setup, &argv, Path::new("/"), HELPER_TIMEOUT, limit)
        .await;
    let said = said.map_err(|failure| match failure.kind {
        FailureKind::Cancelled => RegistryError::Cancelled,
        _ => RegistryError::Settings(format!("{program}: {}", failure.message)),
    })?;
    if said.success() {
        // Not the parser's words: they may quote the secret.
        let answer: Answer = serde_json::from_slice(&said.stdout)
            .map_err(|_| RegistryError::Settings(format!("{program} does not answer as helpers do")))?;
        return Ok(Some(Credentials {
            username: answer.username,
            password: Secret::new(answer.secret),
        }));
    }
    let text = String::from_utf8_lossy(&said.stdout);
    if text.contains(NOT_FOUND) || said.stderr.contains(NOT_FOUND) {
        return Ok(None);
    }
    // What it says may hold what it knows: only that it failed is passed on.
    let code = said.code.map_or("a signal".to_owned(), |code| format!("code {code}"));
    let hint = if said.code == Some(127) {
        ": is it in the daemon's PATH?"
    } else {
        ""
    };
    Err(RegistryError::Settings(format!("{program} ended with {code}{hint}")))
}
