//! The same content moves nothing, other content is released, and the layer cache stands in nobody's way.

use crate::common::*;
use crate::job::Done;
use crate::support::podman::BUSYBOX;
use crate::support::servers::faults::Faults;
use crate::support::servers::registry::Registry;
use pipelined::model::Reason;
use rstest::rstest;
use serde_json::json;

const COPY: &str = "FROM localhost/busybox\nCOPY data /data\n";

/// Two repositories behind a proxy.
struct Two {
    bench: Bench,
    registry: Registry,
    proxy: Faults,
}

impl Two {
    fn new(containerfile: &str, image: &str) -> Self {
        let bench = Bench::new(containerfile);
        let registry = Registry::start(&bench.scratch);
        let proxy = Faults::start(registry.port(), |_| None);
        let (host, there) = (proxy.host(), registry.host());
        let told = bench.scratch.join("told");
        let tell = format!(
            "printf '%s\\n' \"$BUILD_REASON\" \"$BUILD_IMAGE\" \"$BUILD_IMAGE_DIGEST\" \"$BUILD_IMAGE_ID\" >{}",
            told.display()
        );
        let tell = bench.scratch.script("tell", &tell);
        bench.config(
            &insecure(&[host.clone(), there]),
            &format!(
                "success_callback = '{}'\n[projects.p.image]\nrelease = ['{host}/a:1', '{host}/b:1']\n\
                 test = 'grep -x first /data'\n{}",
                tell.display(),
                image.replace("HOST", &host)
            ),
        );
        Self { bench, registry, proxy }
    }

    fn tags(&self) -> [String; 2] {
        ["a", "b"].map(|name| seen(&format!("{}/{name}:1", self.registry.host())).unwrap())
    }

    fn rebuild(&self, reason: Reason, renews: i64) -> Done {
        self.proxy.forget();
        let done = self
            .bench
            .rebuild(reason, &self.bench.repo.head(), &[("p", Some(renews))]);
        assert_eq!(done.outcome, "succeeded", "{}", done.log);
        done
    }

    /// What was written to where images are released.
    fn written(&self) -> Vec<String> {
        let writes = self.proxy.requests().into_iter();
        writes
            .filter(|r| !matches!(r.method.as_str(), "GET" | "HEAD") && !r.path.starts_with("/v2/staging/"))
            .map(|r| format!("{} {}", r.method, r.path))
            .collect()
    }

    fn told(&self) -> Vec<String> {
        let text = text(&self.bench.scratch.join("told"));
        text.lines().map(str::to_owned).collect()
    }
}

#[rstest]
#[case::from_the_cache("", Reason::BaseUpdated)]
#[case::staged("staging = 'HOST/staging/p:1'\n", Reason::BaseUpdated)]
#[case::built_anew("source_date_epoch = 'commit'\n", Reason::PackagesUpdated)]
#[case::built_anew_on_schedule("source_date_epoch = 'commit'\n", Reason::Schedule)]
fn the_same_content_moves_nothing(#[case] image: &str, #[case] reason: Reason) {
    let two = Two::new(COPY, image);
    let first = two.bench.released();
    let before = two.tags();
    let kept = manifest(&format!("{}/a:1", two.registry.host()));
    let done = two.rebuild(reason, first);
    assert_eq!(two.written(), Vec::<String>::new(), "{}", done.log);
    assert_eq!(two.tags(), before);
    assert_eq!(manifest(&format!("{}/a:1", two.registry.host())), kept);
    let host = two.proxy.host();
    let result = done.image("p");
    assert_eq!(
        (&result["status"], &result["released"]),
        (&json!("unchanged"), &json!([]))
    );
    let note = format!("the content is that of what is released as {host}/a:1, {host}/b:1: nothing is released");
    assert_eq!(done.why("p"), note);
    assert!(done.log.contains(&note), "{}", done.log);
    // It was built and tested all the same.
    assert!(
        done.log.contains("STEP 1/") && done.log.contains("test: $ "),
        "{}",
        done.log
    );
    assert_eq!(result["bases"][0]["name"], "localhost/busybox", "{result}");
    assert!(result["id"].is_string(), "{result}");
    let (callback, id) = (two.told(), result["id"].as_str().unwrap());
    assert_eq!(callback, [reason.as_str(), &format!("{host}/a:1"), &before[0], id]);
    assert_eq!(done.report["reason"], reason.as_str());
    assert_eq!(done.report["cause"], "something is new");
    assert_eq!(done.report["image"]["digest"], *before[0]);
    assert!(
        done.log.contains(&format!("{}: something is new", reason.as_str())),
        "{}",
        done.log
    );
    let no_cache = done
        .log
        .contains(&format!("{}: without the layer cache", reason.as_str()));
    assert_eq!(no_cache, reason.needs_no_cache(), "{}", done.log);
    assert!(done.dir.file_name().unwrap().to_str().unwrap().ends_with(".2"));
    assert!(!done.dir.join(".release").exists());
    // It is the released build that counts still.
    let shown = two.bench.site.json(&["images", "--json"]);
    assert_eq!(shown[0]["state"], "current", "{shown}");
    assert_eq!(shown[0]["digest"], *before[0], "{shown}");
}

#[test]
fn what_a_run_fetches_is_new_without_the_cache_only() {
    let text = format!("{COPY}RUN head -c 9 /dev/urandom >/random\n");
    let two = Two::new(&text, "");
    let first = two.bench.released();
    let before = two.tags();
    let done = two.rebuild(Reason::BaseUpdated, first);
    assert_eq!(done.status("p"), "unchanged", "{}", done.log);
    assert_eq!(two.tags(), before);
    let done = two.rebuild(Reason::PackagesUpdated, first);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    let host = two.proxy.host();
    let why = format!("p is not what is released: {host}/a:1: its layers differ");
    assert!(done.log.contains(&why), "{}", done.log);
    let after = two.tags();
    assert_ne!(after, before);
    assert_eq!(after[0], after[1]);
    assert_eq!(
        done.image("p")["released"],
        json!([format!("{host}/a:1"), format!("{host}/b:1")])
    );
    assert_eq!(two.told()[..3], ["packages updated", &format!("{host}/a:1"), &after[0]]);
    let config = skopeo(&[
        "inspect",
        "--config",
        "--tls-verify=false",
        &format!("docker://{}/a:1", two.registry.host()),
    ]);
    let config: serde_json::Value = serde_json::from_slice(&config.stdout).unwrap();
    assert_eq!(config["config"]["Labels"]["pipelined.reason"], "packages updated");
    // The next one renews what this one has released.
    let done = two.rebuild(Reason::Schedule, done.id);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert_ne!(two.tags(), after);
}

/// What is on a registry decides, and not what was built on last time.
#[test]
fn a_base_that_moves() {
    let two = Two::new(
        "ARG BASE\nFROM $BASE\nCOPY data /data\n",
        "build_args = { BASE = 'HOST/base:1' }\n",
    );
    let direct = format!("{}/base:1", two.registry.host());
    let put = two.bench.put(BUSYBOX, &direct);
    let first = two.bench.released();
    let before = two.tags();
    // The same, in a list with others of its kind.
    let listed = two.bench.put_list(BUSYBOX, &direct);
    assert_ne!(put, listed);
    let done = two.rebuild(Reason::BaseUpdated, first);
    assert_eq!(done.status("p"), "unchanged", "{}", done.log);
    assert_eq!(done.image("p")["bases"][0]["digests"][0], *listed, "{:#}", done.report);
    assert_eq!(two.tags(), before);
    // Another config is another content, although no layer has changed.
    let file = two
        .bench
        .scratch
        .write("base/Containerfile", "FROM localhost/busybox\nENV NEW=1\n");
    let dir = file.parent().unwrap().to_str().unwrap();
    let podman = &two.bench.podman;
    podman.run(&["build", "--quiet", "--tag", "localhost/newer", dir]);
    let newer = two.bench.put("localhost/newer", &direct);
    let done = two.rebuild(Reason::BaseUpdated, first);
    assert_eq!(done.status("p"), "released", "{}", done.log);
    assert_eq!(done.image("p")["bases"][0]["digests"][0], *newer, "{:#}", done.report);
    assert!(done.log.contains("p is not what is released"), "{}", done.log);
    assert_ne!(two.tags(), before);
}

/// A failure holds for what the image was built on.
#[test]
fn what_fails_says_what_it_stood_on() {
    let two = Two::new(COPY, "");
    let first = two.bench.released();
    let before = two.tags();
    let toml = text(&two.bench.site.config).replace("grep -x first", "grep -x never");
    std::fs::write(&two.bench.site.config, toml).unwrap();
    let done = two
        .bench
        .rebuild(Reason::BaseUpdated, &two.bench.repo.head(), &[("p", Some(first))]);
    assert_eq!(
        (done.outcome.as_str(), done.status("p")),
        ("failed", "failed"),
        "{}",
        done.log
    );
    assert_eq!(
        done.image("p")["bases"][0]["name"],
        "localhost/busybox",
        "{:#}",
        done.report
    );
    assert!(done.image("p")["bases"][0]["id"].is_string(), "{:#}", done.report);
    assert_eq!(two.tags(), before);
    assert_eq!(two.bench.image(MAIN)["digest"], *before[0]);
}
