//! Where logins come from, which one is taken, and that nobody else gets to see them.

use crate::common::*;
use crate::support::scratch::Scratch;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::{Registry, RegistryOptions};
use crate::support::servers::tokens::Tokens;
use crate::support::spy::Spy;
use pipelined::config::{RegistryLogin, RegistrySettings, SecretFile};
use pipelined::process::Runner;
use pipelined::registry::{Credentials, Registries, RegistryError, Secret, auth_json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const PASSWORD: &str = "correct horse battery";

fn login(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: Secret::new(password),
    }
}

fn file(scratch: &Scratch, name: &str, registry: &str, username: &str) -> PathBuf {
    scratch.write(name, auth_json(&[(registry.to_owned(), login(username, PASSWORD))]))
}

fn with_login(host: &str, login: RegistryLogin) -> Registries {
    let settings = RegistrySettings { login, ..insecure() };
    Registries::with_deadlines(BTreeMap::from([(host.to_owned(), settings)]), deadlines())
}

/// A runner that finds `program` in its PATH, and these variables.
fn with(runner: &Runner, env: &[(&str, String)]) -> Runner {
    runner.with_env(env.iter().map(|(name, value)| ((*name).into(), value.into())))
}

#[tokio::test]
async fn the_first_file_that_has_it_wins() {
    let scratch = Scratch::new();
    let runner = runner(&scratch);
    let registries = Registries::new(BTreeMap::new());
    let image = reference("r.example.org/team/app:1");
    let found = async |registries: &Registries, runner: &Runner| {
        let found = registries.credentials(runner, &image).await.unwrap();
        found.map(|login| login.username)
    };
    assert_eq!(found(&registries, &runner).await, None);
    for (name, key, user) in [
        ("docker/config.json", "r.example.org", "docker"),
        ("config/containers/auth.json", "r.example.org", "config"),
        ("runtime/containers/auth.json", "r.example.org/other", "nobody"),
        ("runtime/containers/auth.json", "r.example.org/team", "runtime"),
    ] {
        file(&scratch, name, key, user);
        let expected = if user == "nobody" { "config" } else { user };
        assert_eq!(found(&registries, &runner).await.as_deref(), Some(expected));
    }
    // One that is named is the only one.
    let named = file(&scratch, "named.json", "r.example.org", "named")
        .display()
        .to_string();
    let empty = scratch.write("empty.json", "{}").display().to_string();
    assert_eq!(
        found(&registries, &with(&runner, &[("REGISTRY_AUTH_FILE", named)]))
            .await
            .unwrap(),
        "named"
    );
    assert_eq!(
        found(&registries, &with(&runner, &[("REGISTRY_AUTH_FILE", empty)])).await,
        None
    );
    let missing = with(
        &runner,
        &[("REGISTRY_AUTH_FILE", scratch.join("x").display().to_string())],
    );
    let error = registries.credentials(&missing, &image).await.unwrap_err();
    assert!(
        error.to_string().ends_with("/x cannot be used: it is not there"),
        "{error}"
    );
    // The config's own words come before all.
    let own = SecretFile::new(file(&scratch, "own.json", "r.example.org", "own"));
    let registries = with_login("r.example.org", RegistryLogin::AuthFile(own));
    assert_eq!(found(&registries, &runner).await.unwrap(), "own");
    let password_file = SecretFile::new(scratch.write("password", "p w\n\n"));
    let username = "u".to_owned();
    let registries = with_login(
        "r.example.org",
        RegistryLogin::Password {
            username,
            password_file,
        },
    );
    let credentials = registries.credentials(&runner, &image).await.unwrap().unwrap();
    assert_eq!(credentials, login("u", "p w\n"));
    // A broken file is an error that does not quote it.
    scratch.write(
        "runtime/containers/auth.json",
        r#"{"auths":{"r.example.org":{"auth":["hunter2"]}}}"#,
    );
    let error = Registries::new(BTreeMap::new())
        .credentials(&runner, &image)
        .await
        .unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_login_with_each_request() {
    let scratch = Scratch::new();
    let auth = Some(("me", PASSWORD));
    let registry = Registry::start_with(
        &scratch,
        RegistryOptions {
            auth,
            tls: false,
            notify: None,
        },
    );
    let runner = runner(&scratch);
    let archive = archive(&scratch, &Image::new("basic").write(&scratch, "a")).await;
    let host = registry.host();
    let target = reference(&format!("{host}/basic:1"));
    let registries = open(std::slice::from_ref(&host));
    let error = registries.head(&runner, &target).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("no entry for it in ") && text.contains("/runtime/containers/auth.json"),
        "{text}"
    );
    let path = file(&scratch, "runtime/containers/auth.json", &host, "nobody")
        .display()
        .to_string();
    let error = registries.head(&runner, &target).await.unwrap_err();
    assert!(
        error.to_string().contains(&format!("the login from {path} was used")),
        "{error}"
    );
    assert!(!format!("{error} {error:?}").contains("horse"), "{error:?}");
    file(&scratch, "runtime/containers/auth.json", &host, "me");
    let pushed = release(&registries, &runner, &archive, &target).await.unwrap();
    let seen = seen(
        &target.to_string(),
        &["--tls-verify=false", "--creds", &format!("me:{PASSWORD}")],
    );
    assert_eq!(seen, Some(pushed.digest.to_string()));
}

#[tokio::test]
async fn a_helper_is_asked() {
    let scratch = Scratch::new();
    let auth = Some(("me", PASSWORD));
    let registry = Registry::start_with(
        &scratch,
        RegistryOptions {
            auth,
            tls: false,
            notify: None,
        },
    );
    let host = registry.host();
    let body = format!(
        r#"test "$1" = get || exit 3; server=$(cat); echo "$server" >>"{0}/asked"
case $server in
{host}) sleep 0.1; printf '{{"ServerURL":"x","Username":"me","Secret":"{PASSWORD}"}}' ;;
broken) echo "{PASSWORD} is odd"; exit 1 ;;
*) echo "credentials not found in native keychain"; exit 1 ;;
esac"#,
        scratch.path().display()
    );
    scratch.script("bin/docker-credential-test", &body);
    let path = format!("{}:{}", scratch.join("bin").display(), std::env::var("PATH").unwrap());
    let runner = with(&runner(&scratch), &[("PATH", path)]);
    scratch.write(
        "docker/config.json",
        r#"{"auths":{},"credsStore":"test","credHelpers":{"gone":"gone"}}"#,
    );
    let spy = Spy::start(&["correct horse"]);
    let target = reference(&format!("{host}/helped:1"));
    assert_eq!(
        open(std::slice::from_ref(&host)).head(&runner, &target).await.unwrap(),
        None
    );
    assert!(spy.seen().is_empty(), "{:?}", spy.seen());
    let registries = Registries::new(BTreeMap::new());
    assert_eq!(
        registries.credentials(&runner, &reference("debian")).await.unwrap(),
        None
    );
    let asked = std::fs::read_to_string(scratch.join("asked")).unwrap();
    assert_eq!(asked, format!("{host}\nhttps://index.docker.io/v1/\n"));
    scratch.write("docker/config.json", r#"{"credHelpers":{"a.b":"gone","c.d":"../x"}}"#);
    for (image, hint) in [("a.b/x", "in the daemon's PATH"), ("c.d/x", "no name of a helper")] {
        let error = registries.credentials(&runner, &reference(image)).await.unwrap_err();
        assert!(error.to_string().contains(hint), "{error}");
    }
    assert!(!format!("{:?}", login("u", PASSWORD)).contains("horse"));
}

fn basic(username: &str) -> String {
    use base64::Engine;
    let pair = format!("{username}:{PASSWORD}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[tokio::test]
async fn tokens_are_kept_and_renewed_in_the_middle() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let archive = archive(&scratch, &Image::new("tokens").write(&scratch, "a")).await;
    for uses in [1000, 3, 1] {
        let tokens = Tokens::start(Some(basic("me")), uses);
        let gate = tokens.gate();
        let proxy = Faults::start(registry.port(), move |r| gate.check(r));
        file(&scratch, "runtime/containers/auth.json", &proxy.host(), "me");
        let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
        let target = reference(&format!("{}/tokens{uses}:1", proxy.host()));
        let pushed = release(&registries, &runner, &archive, &target).await.unwrap();
        let there = format!("{}/tokens{uses}:1", registry.host());
        assert_eq!(seen_plain(&there), Some(pushed.digest.to_string()));
        let asked = tokens.requests();
        if uses == 1000 {
            assert_eq!(asked.len(), 1, "{asked:#?}");
            let scope = "service=test&scope=repository%3Atokens1000%3Apull%2Cpush";
            assert!(asked[0].contains(scope), "{asked:#?}");
        } else {
            assert!(asked.len() > 3, "{asked:#?}");
        }
        // The password went to the token server alone.
        let passwords = proxy
            .requests()
            .iter()
            .filter(|r| r.authorization.starts_with("Basic"))
            .count();
        assert_eq!(passwords, 0);
    }
}

#[tokio::test]
async fn nothing_that_is_said_shows_a_secret() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let tokens = Tokens::start(Some(basic("somebody-else")), 9);
    let gate = tokens.gate();
    let proxy = Faults::start(registry.port(), move |r| gate.check(r));
    file(&scratch, "runtime/containers/auth.json", &proxy.host(), "me");
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let image = reference(&format!("{}/secret:1", proxy.host()));
    let mut errors = vec![registries.head(&runner, &image).await.unwrap_err()];
    assert!(matches!(errors[0], RegistryError::Unauthorized { .. }), "{errors:?}");
    // A token that is never good enough, and every other refusal.
    let tokens = Tokens::start(None, 0);
    for fault in [
        Fault::Answer(403, String::new()),
        Fault::Answer(418, String::new()),
        Fault::Answer(500, String::new()),
        Fault::Drop,
        Fault::Garble,
    ] {
        let gate = tokens.gate();
        proxy.set(move |r| {
            let refused = gate.check(r);
            if r.authorization.is_empty() || fault == Fault::Garble {
                refused
            } else {
                Some(fault.clone())
            }
        });
        let registries = open(&[proxy.host()]);
        errors.push(registries.head(&runner, &image).await.unwrap_err());
    }
    assert!(tokens.requests().len() > 4);
    for error in errors {
        let text = format!("{error} {error:?}");
        for secret in ["horse", "token-", &basic("me")[6..]] {
            assert!(!text.contains(secret), "{text}");
        }
        let failure = error.into_failure(pipelined::model::Step::Pull);
        assert_eq!(failure.kind, pipelined::model::FailureKind::Errored);
    }
}

#[tokio::test]
async fn a_redirect_gets_no_login() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let elsewhere = Faults::start(registry.port(), |_| None);
    let place = elsewhere.host();
    let tokens = Tokens::start(Some(basic("me")), 1000);
    let gate = tokens.gate();
    let proxy = Faults::start(registry.port(), move |r| {
        let to = format!("Location: http://{place}{}\r\n", r.path);
        let moved = r.is("GET", "/blobs/").then_some(Fault::Answer(307, to));
        gate.check(r).or(moved)
    });
    file(&scratch, "runtime/containers/auth.json", &proxy.host(), "me");
    let (runner, registries) = (runner(&scratch), open(&[proxy.host(), registry.host()]));
    let archive = archive(&scratch, &Image::new("moved").write(&scratch, "a")).await;
    let from = reference(&format!("{}/moved:1", proxy.host()));
    release(&registries, &runner, &archive, &from).await.unwrap();
    let to = reference(&format!("{}/arrived:1", registry.host()));
    registries.copy(&runner, &from, &to, &quiet).await.unwrap();
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|r| r.authorization.is_empty()), "{asked:?}");
}

#[tokio::test]
async fn an_identity_token_is_exchanged() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let tokens = Tokens::start(None, 1000);
    let gate = tokens.gate();
    let proxy = Faults::start(registry.port(), move |r| gate.check(r));
    let refresh = "refresh+me/now=";
    let json = auth_json(&[(proxy.host(), login("<token>", refresh))]);
    assert!(json.contains("identitytoken"), "{json}");
    scratch.write("docker/config.json", json);
    let (runner, registries) = (runner(&scratch), open(&[proxy.host()]));
    let image = reference(&format!("{}/identity:1", proxy.host()));
    assert_eq!(registries.head(&runner, &image).await.unwrap(), None);
    let asked = tokens.requests();
    assert_eq!(asked.len(), 1);
    assert!(asked[0].starts_with("POST /token "), "{asked:?}");
    let (head, body) = asked[0].split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("refresh"), "{head}");
    let scope = "scope=repository%3Aidentity%3Apull";
    for part in [
        "grant_type=refresh_token",
        "service=test",
        scope,
        "refresh_token=refresh%2Bme%2Fnow%3D",
    ] {
        assert!(body.split('&').any(|p| p == part), "{body}");
    }
}

#[tokio::test]
async fn what_we_write_is_what_podman_reads() {
    let scratch = Scratch::new();
    let auth = Some(("me", PASSWORD));
    let registry = Registry::start_with(
        &scratch,
        RegistryOptions {
            auth,
            tls: false,
            notify: None,
        },
    );
    let path = file(&scratch, "auth.json", &registry.host(), "me")
        .display()
        .to_string();
    let (runner, registries) = (
        runner(&scratch),
        with_login(&registry.host(), RegistryLogin::AuthFile(SecretFile::new(&path))),
    );
    let archive = archive(&scratch, &Image::new("judge").write(&scratch, "a")).await;
    let target = reference(&format!("{}/judge:1", registry.host()));
    let pushed = release(&registries, &runner, &archive, &target).await.unwrap();
    let seen = seen(&target.to_string(), &["--tls-verify=false", "--authfile", &path]);
    assert_eq!(seen, Some(pushed.digest.to_string()));
}
