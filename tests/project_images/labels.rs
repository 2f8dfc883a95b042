//! What images say of their origin, and what makes two builds of a commit the same.

use crate::common::{MAIN, World, done_again, done_as, image_row, says};
use crate::support::servers::registry::Registry;
use serde_json::Value;

const IMAGE: &str = "org.opencontainers.image.";

#[test]
fn an_image_says_what_it_stands_on_and_believes_nothing_of_its_parent() {
    let world = World::new();
    let registry = Registry::start(&world.scratch);
    let host = registry.host();
    // A parent that lies.
    let forged = ["created", "source", "revision", "ref.name", "base.name", "base.digest"]
        .map(|key| format!("{IMAGE}{key}=forged"))
        .into_iter()
        .chain(["project", "job", "reason", "bases"].map(|key| format!("pipelined.{key}=forged")))
        .map(|label| format!("LABEL {label}\n"))
        .collect::<String>();
    world
        .scratch
        .write("parent/Containerfile", format!("FROM localhost/busybox\n{forged}"));
    let parent = format!("{host}/lib/parent:1");
    world.podman.run(&[
        "build",
        "--quiet",
        "--tag",
        &parent,
        &world.scratch.join("parent").display().to_string(),
    ]);
    let digest_file = world.scratch.join("digest");
    let flag = format!("--digestfile={}", digest_file.display());
    world
        .podman
        .run(&["push", "--quiet", "--tls-verify=false", &flag, &parent]);
    let digest = std::fs::read_to_string(&digest_file).unwrap();
    let multi = "ARG BASE\nARG TOOL=localhost/busybox\nFROM ${TOOL} AS tool\nRUN echo 1 >/made\n\
                 FROM scratch AS unused\nCOPY f /\nFROM ${BASE}\n\
                 COPY --from=tool /made /made\nCOPY --from=localhost/third:7 /bin/busybox /third\n\
                 LABEL org.opencontainers.image.revision=mine pipelined.job=mine\n";
    world.podman.run(&["tag", "localhost/busybox", "localhost/third:7"]);
    let scratch = "FROM localhost/busybox AS helper\nFROM scratch\nCOPY --from=helper /bin/busybox /b\n";
    let (_repo, commit) = world.repo("repo", &[("multi", multi), ("none", scratch), ("f", "1")]);
    let toml = format!(
        "[registries.'{host}']\ninsecure = true\n[projects.p]\nremote = '{}'\n\
         [projects.p.images.multi]\nfile = 'multi'\nbuild_args = {{ BASE = '{parent}' }}\ntags = ['localhost/multi:1']\n\
         labels = {{ own = '${{BUILD_IMAGE_NAME}}', 'org.opencontainers.image.ref.name' = 'chosen' }}\n\
         [projects.p.images.none]\nfile = 'none'\nrelease = ['{host}/out/none:1']\n",
        world.remote("repo")
    );
    let site = world.site(&toml);
    let _daemon = site.start();
    let job = done_as(&site, "p", &commit, "succeeded");
    let text = world.podman.run(&["inspect", "localhost/multi:1"]);
    let image: Value = serde_json::from_str(&text).unwrap();
    let labels = &image[0]["Labels"];
    let label = |key: &str| labels[format!("{IMAGE}{key}")].as_str().unwrap_or_default();
    assert_eq!(label("base.name"), parent);
    assert_eq!(label("base.digest"), digest);
    assert_eq!(label("revision"), commit);
    assert_eq!(label("source"), world.remote("repo"));
    assert_eq!(label("ref.name"), "chosen");
    assert_eq!(
        (&labels["own"], &labels["pipelined.project"]),
        (&"multi".into(), &"p".into())
    );
    assert_eq!(
        (&labels["pipelined.job"], &labels["pipelined.reason"]),
        (&"1".into(), &"new commit".into())
    );
    let created: jiff::Timestamp = label("created").parse().unwrap();
    assert!(
        jiff::Timestamp::now().as_second() - created.as_second() < 300,
        "{created}"
    );
    let bases: Value = serde_json::from_str(labels["pipelined.bases"].as_str().unwrap()).unwrap();
    let bases: Vec<&Value> = bases.as_array().unwrap().iter().collect();
    let mut names: Vec<&str> = bases.iter().map(|base| base["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    let mut expected = [parent.as_str(), "localhost/busybox", "localhost/third:7"];
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(
        bases
            .iter()
            .all(|base| base["digest"].as_str().unwrap().starts_with("sha256:")),
        "{bases:?}"
    );
    assert!(
        !text.contains("forged") || !labels.to_string().contains("forged"),
        "{labels}"
    );
    let annotations = &image[0]["Annotations"];
    assert_eq!(annotations[format!("{IMAGE}base.digest")], digest.as_str());

    // scratch: said to be nothing; and read back from where it was released.
    let none = format!("{host}/out/none:1");
    world.podman.run(&["pull", "--quiet", "--tls-verify=false", &none]);
    let image: Value = serde_json::from_str(&world.podman.run(&["inspect", &none])).unwrap();
    let labels = &image[0]["Labels"];
    assert_eq!(labels[format!("{IMAGE}base.name")], "");
    assert_eq!(labels[format!("{IMAGE}base.digest")], "");
    assert!(
        labels["pipelined.bases"]
            .as_str()
            .unwrap()
            .contains("localhost/busybox")
    );
    // Of the many names that the storage may have for the same image.
    let known = image[0]["RepoDigests"].to_string();
    assert!(known.contains(job.image("none")["digest"].as_str().unwrap()), "{known}");
}

#[test]
fn the_same_commit_gives_the_same_digest_if_asked_for() {
    let world = World::new();
    let registry = Registry::start(&world.scratch);
    let host = registry.host();
    let containerfile = "FROM localhost/busybox\nCOPY f /f\nRUN echo 1 >/made && mkdir /dir && touch /dir/x\n";
    let (_repo, commit) = world.repo("repo", &[("Containerfile", containerfile), ("f", "1")]);
    let toml = |engine: &str| {
        format!(
            "{engine}[registries.'{host}']\ninsecure = true\n[projects.p]\nremote = '{}'\n[projects.p.image]\n\
             source_date_epoch = 'commit'\ncache = false\nrelease = ['{host}/p:1']\ntest = 'true'\n",
            world.remote("repo")
        )
    };
    let site = world.site(&toml(""));
    let daemon = site.start();
    let first = done_as(&site, "p", &commit, "succeeded");
    // The digest is that by which the registry knows it.
    assert_ne!(first.image("p")["digest"], first.image("p")["id"]);
    assert_eq!(first.report["image"]["digest"], first.image("p")["digest"]);
    let before = image_row(&site, "p", "p");
    assert!(before["digest"].as_str().unwrap().starts_with("sha256:"), "{before}");
    // Times are kept in seconds.
    let second = jiff::Timestamp::now().as_second();
    crate::support::scratch::wait_for("the next second", crate::support::scratch::SOON, || {
        (jiff::Timestamp::now().as_second() > second + 1).then_some(())
    });
    says(&site, &["build", "p", "main"], 0);
    let again = done_again(&site, "p", MAIN, &commit, 2);
    assert_eq!(again.outcome, "succeeded");
    let after = image_row(&site, "p", "p");
    assert_ne!(after["job"], before["job"]);
    assert_eq!(after["digest"], before["digest"], "{}\n{}", first.log, again.log);
    assert_eq!(after["id"], before["id"]);
    let image: Value = serde_json::from_str(&world.podman.run(&["inspect", after["id"].as_str().unwrap()])).unwrap();
    let labels = image[0]["Labels"].as_object().unwrap();
    assert!(
        !labels.contains_key("pipelined.job") && !labels.contains_key("pipelined.reason"),
        "{labels:?}"
    );
    assert_eq!(labels[&format!("{IMAGE}created")], "2024-01-01T00:00:00Z");
    assert!(
        image[0]["Created"].as_str().unwrap().starts_with("2024-01-01T00:00:00"),
        "{image:#}"
    );
    drop(daemon);
    assert!(!says(&site, &["check"], 0).contains("source_date_epoch"));
    site.write_config(&toml("engine = 'docker'\n"));
    let checked = says(&site, &["check"], 0);
    assert!(
        checked.contains("source_date_epoch") && checked.contains("docker"),
        "{checked}"
    );
}
