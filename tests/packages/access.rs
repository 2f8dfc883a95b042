//! Images in registries: by digest, with logins, lost ones, and what stays in the storage.

use crate::common::{Bench, block_on};
use crate::support::podman::BUSYBOX;
use crate::support::servers::faults::{Fault, Faults};
use crate::support::servers::registry::{Registry, RegistryOptions};
use pipelined::config::{RegistryLogin, RegistrySettings, SecretFile};
use std::path::Path;
use std::time::Duration;

fn insecure(host: &str) -> (String, RegistrySettings) {
    let settings = RegistrySettings {
        insecure: true,
        ..RegistrySettings::default()
    };
    (host.to_owned(), settings)
}

fn forget(bench: &Bench) {
    bench.podman.run(&["rmi", "--all", "--force"]);
    assert_eq!(bench.images(), Vec::<String>::new());
}

#[test]
fn an_image_is_pulled_by_digest_and_goes_again_if_it_was_not_here() {
    let mut bench = Bench::new();
    let registry = Registry::start(&bench.scratch);
    bench.registries([insecure(&registry.host())]);
    bench.script("exit 100");
    let image = bench.push(&registry.host(), &["--tls-verify=false"]);
    let before = bench.images();
    // It is here by its id: it is not pulled, and it stays.
    assert!(bench.found(&image).0);
    assert_eq!(bench.images(), before);
    assert!(!bench.log().contains("podman pull"), "{}", bench.log());

    forget(&bench);
    let packages = block_on(bench.look(&image)).unwrap();
    assert_eq!(Some(&packages.image), image.digest.as_ref());
    assert!(bench.log().contains("podman pull"), "{}", bench.log());
    assert_eq!(bench.images(), Vec::<String>::new());

    // Also when the look goes wrong.
    bench.script("exit 7");
    bench.error(&image);
    assert_eq!(bench.images(), Vec::<String>::new());

    // While somebody builds, it stays; the next look takes it along.
    bench.script("exit 100");
    block_on(async {
        let held = bench.tools.engine.hold_images().await;
        bench.look(&image).await.unwrap();
        assert_eq!(bench.images().len(), 1);
        drop(held);
        bench.look(&image).await.unwrap();
    });
    assert_eq!(bench.images(), Vec::<String>::new());
}

#[test]
fn what_the_registry_has_lost_is_an_error_even_if_it_is_here() {
    let mut bench = Bench::new();
    let registry = Registry::start(&bench.scratch);
    bench.registries([insecure(&registry.host())]);
    bench.script("exit 0");
    let image = bench.push(&registry.host(), &["--tls-verify=false"]);
    assert_eq!(bench.found(&image), (false, vec![]));
    let repository = registry
        .data()
        .join("docker/registry/v2/repositories/app/_manifests/revisions");
    std::fs::remove_dir_all(repository).unwrap();
    let error = bench.error(&image);
    let digest = image.digest.as_ref().unwrap();
    assert!(
        error.contains(&format!("app@{digest}: the registry has lost it")),
        "{error}"
    );
    let host = registry.host();
    drop(registry);
    let error = bench.error(&image);
    assert!(error.contains(&host) && error.contains("cannot be reached"), "{error}");
    forget(&bench);
    let local = crate::common::standing(BUSYBOX, image.id.as_ref().map(|id| id.as_str()), None);
    assert!(bench.error(&local).contains("not in the storage of podman any more"));
    let nowhere = crate::common::standing("r.io/x:1", None, None);
    assert!(bench.error(&nowhere).contains("it is not known where the image is"));
}

#[test]
fn logins_and_private_authorities_are_those_of_the_config() {
    let mut bench = Bench::new();
    let options = RegistryOptions {
        auth: Some(("me", "hunter2-of-registry")),
        tls: true,
        notify: None,
    };
    let registry = Registry::start_with(&bench.scratch, options);
    let password = bench.scratch.write("password", "hunter2-of-registry\n");
    let certs = bench.scratch.mkdir("certs");
    std::fs::copy(registry.ca_file(), certs.join("ca.crt")).unwrap();
    let cert_dir = format!("--cert-dir={}", certs.display());
    let image = bench.push(&registry.host(), &[&cert_dir, "--creds=me:hunter2-of-registry"]);
    let settings = RegistrySettings {
        login: RegistryLogin::Password {
            username: "me".to_owned(),
            password_file: SecretFile::new(&password),
        },
        insecure: false,
        ca_file: Some(registry.ca_file()),
    };
    bench.registries([(registry.host(), settings)]);
    bench.script("exit 100");
    forget(&bench);
    assert!(bench.found(&image).0);
    assert_eq!(bench.images(), Vec::<String>::new());
    assert!(!bench.log().contains("hunter2"), "{}", bench.log());
    assert!(Path::new(&password).exists());

    std::fs::write(&password, "wrong\n").unwrap();
    let error = bench.error(&image);
    assert!(error.contains("does not let us in"), "{error}");
}

#[test]
fn a_registry_that_throttles_or_hangs_is_left_alone() {
    let mut bench = Bench::new();
    let registry = Registry::start(&bench.scratch);
    let proxy = Faults::start(registry.port(), |_| {
        Some(Fault::Answer(429, "Retry-After: 600\r\n".to_owned()))
    });
    bench.registries([insecure(&proxy.host())]);
    bench.script("exit 100");
    let pushed = bench.push(&registry.host(), &["--tls-verify=false"]);
    let digest = pushed.digest.as_ref().unwrap().as_str();
    let image = crate::common::standing(&format!("{}/app:1", proxy.host()), None, Some(digest));
    let error = block_on(bench.look(&image)).unwrap_err();
    let wait = error.not_before.unwrap().duration_since(jiff::Timestamp::now());
    assert!((500..=600).contains(&wait.as_secs()), "{error:?}");
    assert!(error.message.contains("wants to be left alone"), "{error:?}");

    // All of it has a deadline, also what is no command.
    let proxy = Faults::start(registry.port(), |_| Some(Fault::Hang));
    bench.registries([insecure(&proxy.host())]);
    bench.image.update.timeout = Duration::from_secs(2);
    let image = crate::common::standing(&format!("{}/app:1", proxy.host()), None, Some(digest));
    let error = bench.error(&image);
    assert!(error.contains("after its timeout of 2s"), "{error}");
}
