//! Bases that are in an engine's storage: those that were made here, and what is left there of those that a registry lost.

use crate::common::{Bench, seen};
use crate::made::Made;
use crate::support::podman::Podman;
use pipelined::engine::ImageInfo;
use pipelined::model::{BaseKey, BaseUsed, Digest, ImageRef, ProjectName, Step, Used};
use serde_json::json;

/// Builds an image of one file, and of these further lines.
fn build(bench: &Bench, podman: &Podman, name: &str, file: &str, more: &str) -> Digest {
    let context = bench.scratch.mkdir("context");
    std::fs::write(context.join("file"), file).unwrap();
    // The same file is the same layer: its time too.
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
    let opened = std::fs::File::options().write(true).open(context.join("file")).unwrap();
    opened.set_modified(time).unwrap();
    std::fs::write(
        context.join("Containerfile"),
        format!("FROM scratch\nCOPY file /file\n{more}"),
    )
    .unwrap();
    let dir = context.display().to_string();
    let id = podman.run(&["build", "--quiet", "--no-cache", "--tag", name, &dir]);
    Digest::new(format!("sha256:{}", id.lines().last().unwrap())).unwrap()
}

async fn inspect(bench: &Bench, name: &str) -> ImageInfo {
    let runner = bench.tools.runner.with_env(bench.env.iter().cloned());
    let found = bench.tools.engine.inspect_image(&runner, Step::Pull, name).await;
    found.unwrap().unwrap()
}

async fn used(bench: &Bench, name: &str) -> Used {
    let info = inspect(bench, name).await;
    Used {
        base: BaseUsed {
            name: name.to_owned(),
            reference: ImageRef::parse(name).ok(),
            digests: Vec::new(),
            platform: Some(info.platform().to_owned()),
            id: Some(info.id),
            diff_ids: info.diff_ids,
            sibling: None,
            needed: None,
        },
        layers: None,
    }
}

fn local(name: &str) -> BaseKey {
    BaseKey {
        reference: ImageRef::parse(name).unwrap(),
        project: Some(ProjectName::new("p").unwrap()),
    }
}

#[tokio::test]
async fn a_base_that_is_made_here() {
    let (bench, podman) = Bench::with_podman();
    let name = "localhost/base:1";
    let id = build(&bench, &podman, name, "a", "ENV A=1");
    let first = used(&bench, name).await;
    let uses = [first.clone()];
    let looked = bench.look_key(local(name), &uses, None).await.unwrap();
    assert_eq!(looked, (id.clone(), Vec::new()));

    let again = build(&bench, &podman, name, "a", "ENV A=1");
    assert_ne!(again, id, "the time of its build is another");
    let (head, compared) = bench.look_key(local(name), &uses, None).await.unwrap();
    assert_eq!(head, again);
    assert!(compared[0].same && compared[0].present == Some(again), "{compared:?}");

    let other = build(&bench, &podman, name, "a", "ENV A=2");
    let (head, compared) = bench.look_key(local(name), &uses, None).await.unwrap();
    assert_eq!(head, other);
    assert!(!compared[0].same && compared[0].how.contains("Env"), "{compared:?}");
    // What is remembered is not looked at again, although what was used is gone by now.
    podman.run(&["rmi", id.as_str()]);
    let known = seen((head, compared));
    let (_, compared) = bench.look_key(local(name), &uses, Some(&known)).await.unwrap();
    assert_eq!(compared, known.compared);
    let (_, compared) = bench.look_key(local(name), &uses, None).await.unwrap();
    assert!(
        !compared[0].same && compared[0].how.contains("cannot be had any more"),
        "{compared:?}"
    );

    build(&bench, &podman, name, "b", "ENV A=1");
    let (_, compared) = bench.look_key(local(name), &uses, None).await.unwrap();
    assert!(
        !compared[0].same && compared[0].how.contains("layers differ"),
        "{compared:?}"
    );
    // What was built elsewhere is compared by its layers here too.
    let now = used(&bench, name).await;
    for (layers, same) in [(now.base.diff_ids.clone(), true), (first.base.diff_ids.clone(), false)] {
        let built = Used {
            layers: Some(layers),
            ..now.clone()
        };
        let (_, compared) = bench.look_key(local(name), &[built], None).await.unwrap();
        assert_eq!(compared[0].same, same, "{compared:?}");
    }

    podman.run(&["rmi", "--all", "--force"]);
    let error = bench.look_key(local(name), &uses, None).await.unwrap_err();
    assert!(
        error.message.contains("localhost/base:1 is not in the storage"),
        "{error:?}"
    );
    assert_eq!(bench.asked(), Vec::<String>::new(), "no registry is asked");
}

/// No registry has it, and it can only be from here; or it was there once, and that is an error.
#[tokio::test]
async fn a_base_under_the_name_of_a_registry_that_does_not_have_it() {
    let (bench, podman) = Bench::with_podman();
    let reference = bench.reference("base:1");
    let id = build(&bench, &podman, &reference.to_string(), "a", "");
    let here = used(&bench, &reference.to_string()).await;
    let looked = bench.look(std::slice::from_ref(&here), None).await.unwrap();
    assert_eq!(looked, (id, Vec::new()));
    let mut pulled = here.clone();
    pulled.base.digests.push(Made::new(&["a"]).digest());
    for uses in [vec![pulled.clone()], vec![here.clone(), pulled]] {
        let error = bench.look(&uses, None).await.unwrap_err();
        assert!(error.message.contains("its registry has no"), "{error:?}");
    }
    // Once it is pushed, the registry decides.
    let made = Made::new(&["a"]);
    bench.repository("base").push(&made);
    let (head, compared) = bench.look(&[here], None).await.unwrap();
    assert_eq!(head, made.digest());
    assert!(!compared[0].same, "{compared:?}");
}

/// Its registry has cleaned up, and the engine has what was used still.
#[tokio::test]
async fn what_a_registry_lost_is_compared_by_the_engine() {
    let (bench, podman) = Bench::with_podman();
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    let old = Made::new(&["a"]);
    let digest = repository.push(&old);
    podman.run(&["pull", "--quiet", "--tls-verify=false", &reference.to_string()]);
    let uses = [
        old.used(&reference, &[&digest]),
        old.used_by_kaniko(&reference, &digest),
    ];
    let mut again = old.clone();
    again.created = "2027-01-01T00:00:00Z".to_owned();
    repository.push(&again);
    repository.delete(&digest);
    let (_, compared) = bench.look(&uses, None).await.unwrap();
    assert!(
        compared.len() == 2 && compared.iter().all(|compared| compared.same),
        "{compared:?}"
    );
    let mut other = again.clone();
    other.config = json!({ "Env": ["A=2"], "Cmd": ["sh"] });
    repository.push(&other);
    let (_, compared) = bench.look(&uses, None).await.unwrap();
    let how: Vec<_> = compared.iter().map(|compared| compared.how.as_str()).collect();
    assert_eq!(how, ["its config differs: Env"; 2]);
}

/// An engine that does not work has not lost anything.
#[tokio::test]
async fn an_engine_that_does_not_work() {
    let mut bench = Bench::new();
    let broken = bench
        .scratch
        .write("storage.conf", "[storage]\ndriver = \"none such\"\n");
    bench.env = vec![("CONTAINERS_STORAGE_CONF".into(), broken.into())];
    let made = Made::new(&["a"]);
    let mut here = made.used(&ImageRef::parse("localhost/base:1").unwrap(), &[]);
    let error = bench
        .look_key(local("localhost/base:1"), &[here.clone()], None)
        .await
        .unwrap_err();
    assert!(error.message.contains("cannot look for localhost/base:1"), "{error:?}");
    // Also where it is asked last only.
    let (reference, repository) = (bench.reference("base:1"), bench.repository("base"));
    repository.push(&made);
    here = made.used(&reference, &[]);
    here.base.id = Some(Made::new(&["b"]).id());
    let error = bench.look(&[here], None).await.unwrap_err();
    assert!(error.message.contains("cannot look for"), "{error:?}");
}
