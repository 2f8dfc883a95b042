//! What commands say of images, with and without a daemon.

use crate::common::{World, config, done_again, done_as, image_row, says};
use crate::support::scratch::{SOON, wait_for};
use nix::sys::signal::Signal;

#[test]
fn every_state_with_its_reason() {
    let world = World::new();
    let fine = "FROM localhost/busybox\nCOPY f /\n";
    let (repo, first) = world.repo("repo", &[("Containerfile", fine), ("f", "1")]);
    let (upstream, one) = world.repo("upstream", &[("Containerfile", fine), ("f", "up")]);
    let (_down, down) = world.repo("down", &[("Containerfile", "FROM localhost/up:1\n")]);
    let gate = world.scratch.join("gate");
    let waits = world.scratch.script(
        "waits",
        &format!("until test -e '{}'; do sleep 0.02; done", gate.display()),
    );
    let toml = |more: &str| {
        format!(
            "{more}[projects.p]\nremote = '{}'\nprepare_callback = '{}'\n[projects.p.image]\n\
             release = ['localhost/p:1', 'localhost/p:2']\nlabels = {{ l = '1' }}\n",
            world.remote("repo"),
            waits.display()
        )
    };
    let site = world.site(&toml(""));
    // No workdir at all, and no daemon.
    let row = image_row(&site, "p", "p");
    assert_eq!(
        (&row["state"], &row["ref"]),
        (&"never built".into(), &serde_json::Value::Null)
    );
    assert!(says(&site, &["images"], 0).contains("p   never built"));
    assert!(says(&site, &["images", "q"], 1).contains("there is no project q; there are: p"));
    assert!(says(&site, &["explain", "p"], 1).contains("no daemon has worked in this workdir yet"));

    let daemon = site.start();
    wait_for("building", SOON, || {
        (image_row(&site, "p", "p")["state"] == "building").then_some(())
    });
    assert!(says(&site, &["images", "p"], 0).contains("building: job 1 is running"));
    // A second one for another commit waits for the first.
    let second = repo.commit(&[("f", "2")]);
    says(&site, &["poll"], 0);
    std::fs::write(&gate, "").unwrap();
    done_as(&site, "p", &first, "succeeded");
    done_as(&site, "p", &second, "succeeded");
    let row = image_row(&site, "p", "p");
    assert_eq!(
        (&row["state"], &row["why"], &row["commit"]),
        (&"current".into(), &"".into(), &second.as_str().into())
    );
    assert_eq!(row["released"].as_array().unwrap().len(), 2);
    assert_eq!(row["bases"][0]["name"], "localhost/busybox");
    let text = says(&site, &["images"], 0);
    for line in [
        "p main  current\n",
        "  digest    sha256:",
        "  released  localhost/p:1\n",
        "  base      localhost/busybox sha256:",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }

    // Waiting: for its turn, behind a job that does not end.
    std::fs::remove_file(&gate).unwrap();
    says(&site, &["build", "p", "main"], 0);
    wait_for("running", SOON, || {
        (image_row(&site, "p", "p")["state"] == "building").then_some(())
    });
    // What it was last stays told.
    assert_eq!(image_row(&site, "p", "p")["commit"], second.as_str());
    std::fs::write(&gate, "").unwrap();
    done_again(&site, "p", "refs/heads/main", &second, 2);

    // Failed, and why; what is there still is what was good.
    let third = repo.commit(&[("Containerfile", "FROM localhost/busybox\nRUN exit 5\n")]);
    says(&site, &["poll"], 0);
    done_as(&site, "p", &third, "failed");
    let row = image_row(&site, "p", "p");
    assert_eq!(
        (&row["state"], &row["commit"]),
        (&"failed".into(), &second.as_str().into())
    );
    assert!(row["why"].as_str().unwrap().contains("exited with 5"), "{row}");
    assert!(says(&site, &["explain", "p", "main"], 0).contains("exited with 5"));
    let fourth = repo.commit(&[("Containerfile", fine)]);
    says(&site, &["poll"], 0);
    done_as(&site, "p", &fourth, "succeeded");

    // Outdated: by its config.
    let more = format!(
        "[projects.up]\nremote = '{}'\n[projects.up.image]\nrelease = ['localhost/up:1']\n",
        world.remote("upstream")
    );
    site.write_config(&config(&toml(&more).replace("l = '1'", "l = '2'")));
    let row = image_row(&site, "p", "p");
    assert_eq!(
        (&row["state"], &row["why"]),
        (&"outdated".into(), &"its config has changed since".into())
    );
    says(&site, &["reload"], 0);
    done_as(&site, "up", &one, "succeeded");
    // By a base of ours that was released since.
    let more = format!(
        "{more}[projects.down]\nremote = '{}'\nimage = {{}}\n",
        world.remote("down")
    );
    site.write_config(&config(&toml(&more)));
    says(&site, &["reload"], 0);
    done_as(&site, "down", &down, "succeeded");
    assert_eq!(image_row(&site, "down", "down")["state"], "current");
    let two = upstream.commit(&[("f", "new")]);
    says(&site, &["poll"], 0);
    done_as(&site, "up", &two, "succeeded");
    let row = image_row(&site, "down", "down");
    assert_eq!(row["state"], "outdated");
    assert!(
        row["why"].as_str().unwrap().starts_with("localhost/up:1 is at sha256:"),
        "{row}"
    );

    // Without a daemon the same is told; and of what is not in the config any more.
    let told = says(&site, &["images", "--json"], 0);
    daemon.signal(Signal::SIGTERM);
    drop(daemon);
    assert_eq!(says(&site, &["images", "--json"], 0), told);
    assert!(says(&site, &["status"], 0).contains('p'));
    site.write_config(&config(&more));
    let row = image_row(&site, "p", "p");
    assert_eq!(
        (&row["state"], &row["why"]),
        (&"outdated".into(), &"it is not in the config any more".into())
    );
    let said = says(&site, &["images", "downn"], 1);
    assert!(said.contains("down"), "{said}");
}

#[test]
fn a_huge_containerfile_hinders_nobody() {
    let world = World::new();
    let stages = |bytes: usize| {
        let mut text = "FROM localhost/busybox AS base\n".to_owned();
        let line = "ENV A=${A:-x}b # x\nCOPY --from=base /bin/busybox /b \\\n  ${B:-/c}\n";
        while text.len() + line.len() < bytes {
            text += line;
        }
        text
    };
    // Large, and can be built.
    let comments = "# nothing of note is written in this line of the file, nor in any one like it\n".repeat(130_000);
    let cases = [
        ("ten", stages(10 << 20)),
        ("comments", format!("FROM scratch\n{comments}COPY f /\n")),
        ("seventeen", stages(17 << 20)),
    ];
    let mut toml = String::new();
    let mut commits = Vec::new();
    for (name, text) in &cases {
        let (_repo, commit) = world.repo(name, &[("Containerfile", text.as_str()), ("f", name)]);
        commits.push(commit);
        let run = if *name == "comments" { "" } else { "timeout = '8s'\n" };
        toml += &format!(
            "[projects.{name}]\nremote = '{}'\n{run}image = {{ pull = 'never' }}\n",
            world.remote(name)
        );
    }
    let site = world.site(&toml);
    let _daemon = site.start();
    let mut slowest = std::time::Duration::ZERO;
    wait_for("all to be over", SOON, || {
        let before = std::time::Instant::now();
        let status = site.json(&["status", "--json"]);
        slowest = slowest.max(before.elapsed());
        let over = crate::support::jobs::jobs(&site.workdir)
            .iter()
            .filter(|job| job.state == "done")
            .count();
        assert!(!status["daemon"].is_null(), "it does not answer");
        (over == cases.len()).then_some(())
    });
    assert!(
        slowest < std::time::Duration::from_secs(2),
        "an answer took {slowest:?}"
    );
    let job = done_as(&site, "seventeen", &commits[2], "failed");
    assert!(job.error().contains("that is no Containerfile"), "{}", job.error());
    done_as(&site, "comments", &commits[1], "succeeded");
}
