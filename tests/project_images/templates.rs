//! References and other templates: what they may hold, and how what they may not hold is told.

use crate::common::{World, config, done_as, says};
use crate::support::repo::short;
use std::collections::BTreeMap;

#[test]
fn what_is_known_when_the_config_is_read_is_an_error_then() {
    let world = World::new();
    world.scratch.write("secret.env", "TOKEN=abcd1234\n");
    let site = world.site("");
    let cases = [
        (
            "tags = ['localhost/p:${BUILD_SHORT_COMIT}']",
            "there is no variable `BUILD_SHORT_COMIT`",
            "BUILD_SHORT_COMMIT",
        ),
        (
            "release = ['localhost/p:$NOWHERE']",
            "there is no variable `NOWHERE`",
            "write $$ for a dollar",
        ),
        (
            "staging = 'r.example.org/$BUILD_OUTCOME:1'",
            "there is no variable `BUILD_OUTCOME`",
            "only callbacks see it",
        ),
        (
            "labels = { a = '${BUILD_ERROR}' }",
            "there is no variable `BUILD_ERROR`",
            "only callbacks see it",
        ),
        (
            "build_args = { A = '$a_b' }",
            "there is no variable `a_b`",
            "set it in `env`",
        ),
        ("release = ['localhost/P:1']", "P", "release"),
        ("release = ['localhost/p:a/b']", "a/b", "release"),
        ("tags = ['localhost/p:${']", "${", "tags"),
    ];
    for (keys, error, help) in cases {
        site.write_config(&config(&format!(
            "[projects.p]\nremote = '/r'\n[projects.p.image]\n{keys}\n"
        )));
        let text = says(&site, &["check"], 3);
        assert!(text.contains(error) && text.contains(help), "{keys}: {text}");
    }
    // All of them at once, and an env file may set anything.
    site.write_config(&config(&format!(
        "[projects.a]\nremote = '/r'\nenv_file = '{}'\n[projects.a.image]\ntags = ['localhost/$MAYBE']\n\
         [projects.b]\nremote = '/r'\n[projects.b.image]\ntags = ['localhost/$ONE']\nlabels = {{ x = '$TWO' }}\n",
        world.scratch.join("secret.env").display()
    )));
    let text = says(&site, &["check"], 3);
    assert!(
        text.contains("`ONE`") && text.contains("`TWO`") && !text.contains("MAYBE"),
        "{text}"
    );
}

#[test]
fn what_is_only_known_when_a_job_starts_fails_before_anything_is_built() {
    let world = World::new();
    world.scratch.write("secret.env", "TOKEN=abcd1234\n");
    let mut commits = BTreeMap::new();
    let mut toml = String::new();
    let cases = [
        ("unknown", "release = ['localhost/p:${LATER}']", "LATER"),
        ("not-yet", "tags = ['localhost/p:${BUILD_IMAGE_ID}']", "BUILD_IMAGE_ID"),
        (
            "slash",
            "release = ['localhost/p:${WITH_SLASH}']",
            "localhost/p:feature/x",
        ),
        (
            "capital",
            "staging = 'localhost:1/${WITH_CAPITAL}:1'",
            "localhost:1/Feature:1",
        ),
        ("tag", "tags = ['localhost/p:${WITH_SLASH}']", "localhost/p:feature/x"),
        ("empty", "release = ['localhost/p:${EMPTY}']", "localhost/p:"),
        (
            "secret",
            "release = ['localhost/p:${TOKEN}']",
            "TOKEN comes from an env_file",
        ),
        (
            "secret-tag",
            "tags = ['localhost/p:$TOKEN']",
            "TOKEN comes from an env_file",
        ),
        (
            "secret-label",
            "labels = { a = '$TOKEN' }",
            "TOKEN comes from an env_file",
        ),
        (
            "secret-arg",
            "build_args = { a = '$TOKEN' }",
            "TOKEN comes from an env_file",
        ),
    ];
    for (name, keys, _) in cases {
        // The first image is fine; the mistake is in the second one.
        let files = [("Containerfile", "FROM localhost/busybox\n"), ("name", name)];
        let (_repo, commit) = world.repo(name, &files);
        commits.insert(name, commit);
        toml += &format!(
            "[projects.{name}]\nremote = '{}'\nenv_file = '{}'\n\
             env = {{ WITH_SLASH = 'feature/x', WITH_CAPITAL = 'Feature', EMPTY = '' }}\n\
             [projects.{name}.images.a]\n[projects.{name}.images.b]\n{keys}\n",
            world.remote(name),
            world.scratch.join("secret.env").display(),
        );
    }
    // What is only filled in at the end, too.
    for (name, table) in [
        ("late-run", "run]\nimage = 'a'\nenv = { X = '$LATER' }"),
        ("late", "rsync]\ndestination = '/x/$LATER'"),
    ] {
        let (_repo, commit) = world.repo(name, &[("Containerfile", "FROM localhost/busybox\n"), ("name", name)]);
        commits.insert(name, commit);
        let env = world.scratch.join("secret.env");
        toml += &format!(
            "[projects.{name}]\nremote = '{}'\nenv_file = '{}'\n[projects.{name}.images.a]\n[projects.{name}.{table}\n",
            world.remote(name),
            env.display(),
        );
    }
    let cases = cases
        .into_iter()
        .chain([("late-run", "", "LATER"), ("late", "", "LATER")]);
    let site = world.site(&toml);
    let _daemon = site.start();
    for (name, _, error) in cases {
        let job = done_as(&site, name, &commits[name], "failed");
        assert!(job.error().contains(error), "{name}: {}", job.error());
        assert!(!job.error().contains("abcd1234"), "{name}");
        assert!(!job.log.contains("podman build"), "{name}: {}", job.log);
    }
}

#[test]
fn images_share_a_template_and_a_dollar_is_a_dollar() {
    let world = World::new();
    let containerfile =
        "FROM localhost/busybox\nARG WHO\nARG BUILD_IMAGE_NAME\nRUN echo $WHO:$BUILD_IMAGE_NAME >/who\n";
    let (repo, first) = world.repo("repo", &[("Containerfile", containerfile)]);
    let toml = format!(
        "[defaults.image]\ntags = ['localhost/${{BUILD_PROJECT}}/${{BUILD_IMAGE_NAME}}:${{BUILD_SHORT_COMMIT}}']\n\
         release = ['localhost/$BUILD_PROJECT/$BUILD_IMAGE_NAME']\ntest = ['cat', '/who']\n\
         build_args = {{ WHO = '$$$BUILD_IMAGE_NAME$$x' }}\nlabels = {{ price = '$$5 $$$$' }}\n\
         [projects.p]\nremote = '{remote}'\n[projects.p.images.one]\n[projects.p.images.two]\n\
         [projects.single]\nremote = '{remote}'\nbranches = ['**']\n[projects.single.image]\n",
        remote = world.remote("repo")
    );
    let site = world.site(&toml);
    let _daemon = site.start();
    let job = done_as(&site, "p", &first, "succeeded");
    done_as(&site, "single", &first, "succeeded");
    assert!(
        job.log.contains("\n$one$x:one\n") && job.log.contains("\n$two$x:two\n"),
        "{}",
        job.log
    );
    for name in ["p/one", "p/two", "single/single"] {
        for tag in ["latest", short(&first)] {
            let label = "{{index .Labels \"price\"}}";
            let said = world
                .podman
                .run(&["inspect", "--format", label, &format!("localhost/{name}:{tag}")]);
            assert_eq!(said, "$5 $$", "{name}");
        }
    }
    drop(repo);
}
