//! Whom we speak to: TLS that is trusted, and nothing less unless the config says so.

use crate::common::*;
use crate::support::scratch::Scratch;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::{Registry, RegistryOptions};
use pipelined::config::RegistrySettings;
use pipelined::registry::{Registries, RegistryError};
use std::collections::BTreeMap;

fn registries(host: &str, settings: RegistrySettings) -> Registries {
    Registries::with_deadlines(BTreeMap::from([(host.to_owned(), settings)]), deadlines())
}

#[tokio::test]
async fn a_private_ca_and_none() {
    let scratch = Scratch::new();
    let registry = Registry::start_with(
        &scratch,
        RegistryOptions {
            auth: None,
            tls: true,
            notify: None,
        },
    );
    let (runner, host) = (runner(&scratch), registry.host());
    let archive = archive(&scratch, &Image::new("tls").write(&scratch, "a")).await;
    let target = reference(&format!("{host}/tls:1"));
    let error = Registries::new(BTreeMap::new())
        .head(&runner, &target)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("ca_file"), "{error}");
    let trusting = RegistrySettings {
        ca_file: Some(registry.ca_file()),
        ..RegistrySettings::default()
    };
    let pushed = release(&registries(&host, trusting), &runner, &archive, &target)
        .await
        .unwrap();
    let head = registries(&host, insecure())
        .head(&runner, &target)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(head.digest, pushed.digest);
    let dir = registry.ca_file().parent().unwrap().join("certs");
    std::fs::create_dir(&dir).unwrap();
    std::fs::copy(registry.ca_file(), dir.join("ca.crt")).unwrap();
    let seen = seen(
        &target.to_string(),
        &["--no-creds", "--cert-dir", &dir.display().to_string()],
    );
    assert_eq!(seen, Some(pushed.digest.to_string()));
    // For another name it is not good.
    let other = format!("127.0.0.2:{}", registry.port());
    let nobody = reference(&format!("{other}/tls:1"));
    let error = registries(&other, RegistrySettings::default())
        .head(&runner, &nobody)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    let empty = RegistrySettings {
        ca_file: Some(scratch.write("empty.crt", "")),
        ..RegistrySettings::default()
    };
    let error = registries(&host, empty).head(&runner, &target).await.unwrap_err();
    assert!(error.to_string().contains("empty.crt"), "{error}");
}

#[tokio::test]
async fn plain_http_is_for_who_asks_for_it() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let (runner, host) = (runner(&scratch), registry.host());
    let target = reference(&format!("{host}/plain:1"));
    let error = Registries::new(BTreeMap::new())
        .head(&runner, &target)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::PlainHttp { .. }), "{error:?}");
    let key = format!("set insecure = true in [registries.\"{host}\"]");
    assert!(error.to_string().contains(&key), "{error}");
    assert_eq!(
        registries(&host, insecure()).head(&runner, &target).await.unwrap(),
        None
    );
    drop(registry);
    let error = registries(&host, insecure()).head(&runner, &target).await.unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn where_it_sends_us_is_looked_at() {
    let scratch = Scratch::new();
    let registry = Registry::start(&scratch);
    let circle =
        |r: &crate::support::servers::faults::Request| Some(Fault::Answer(307, format!("Location: {}\r\n", r.path)));
    let proxy = Faults::start(registry.port(), circle);
    let runner = runner(&scratch);
    let image = reference(&format!("{}/a:1", proxy.host()));
    let registries = open(&[proxy.host()]);
    for location in ["", "Location: file:///etc/passwd\r\n", "Location: http://[\r\n"] {
        let error = registries.manifest(&runner, &image).await.unwrap_err();
        assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
        proxy.set(move |_| Some(Fault::Answer(302, location.to_owned())));
    }
}

#[tokio::test]
async fn tls_is_not_left_on_the_way() {
    let scratch = Scratch::new();
    let behind = Registry::start(&scratch);
    // nginx with TLS in front of a proxy that sends us to plain http.
    let options = crate::support::servers::http::HttpOptions { auth: None, tls: true };
    let elsewhere = Faults::start(behind.port(), |_| None);
    let place = elsewhere.host();
    for (setting, expected) in [
        (
            format!("rewrite ^/v2/.*$ http://{place}/v2/x redirect;"),
            "from TLS to a place without",
        ),
        (
            format!(
                "location /v2/ {{ add_header WWW-Authenticate 'Bearer realm=\"http://{place}/t\"' always; return 401; }}"
            ),
            "token server does not use TLS",
        ),
    ] {
        let server = crate::support::servers::http::HttpGit::start_with(&scratch, scratch.path(), options, &setting);
        let host = server
            .url("")
            .trim_start_matches("https://")
            .trim_end_matches('/')
            .to_owned();
        let settings = RegistrySettings {
            ca_file: Some(server.ca_file()),
            ..RegistrySettings::default()
        };
        let image = reference(&format!("{host}/a:1"));
        let error = registries(&host, settings)
            .manifest(&runner(&scratch), &image)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    assert_eq!(elsewhere.requests(), []);
}
