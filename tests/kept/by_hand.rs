//! `pipelined updates`: what it says, how it exits, and what it starts.

use crate::common::seen;
use crate::made::Made;
use crate::scene::{COPY, Scene, brief};
use crate::support::servers::faults::Fault;
use serde_json::Value;

#[test]
fn a_person_looks_and_only_then_wants_it_built() {
    let mut scene = Scene::empty(COPY);
    let (holder, hold) = scene.holder();
    scene.configure_project(&format!(
        "prepare_callback = '{holder}'\n[projects.p.image]\nrelease = ['HOST/p:1']\n\
         build_args = {{ BASE = 'HOST/base:1' }}\nupdate = {{ every = '1h', quiet = '1h' }}\n"
    ));
    let before = scene.base().push(&Made::new(&["old"]));
    let first = scene.released();
    let name = format!("{}/base:1", scene.proxy.host());
    let (code, out, errors) = scene.run(&["updates"]);
    assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"), "{errors}");

    let after = scene.base().push(&Made::new(&["new"]));
    let reference = format!("{}/p:1", scene.proxy.host());
    let moved = format!("{name} {} → {}", brief(&before), brief(&after));
    for words in [&[][..], &["p"], &["p/p"], &[&reference], &["p", &reference]] {
        let (code, out, errors) = scene.run(&[&["updates"], words].concat());
        assert_eq!(code, 100, "{words:?}: {out}{errors}");
        let row = out.lines().nth(1).unwrap();
        assert!(
            row.starts_with("p") && row.contains(" base ") && row.contains(&moved),
            "{words:?}: {out}"
        );
        assert!(out.contains("nothing was started: "), "{words:?}: {out}");
    }
    let (code, out, _) = scene.run(&["updates", "--json"]);
    assert_eq!(code, 100);
    let shown: Value = serde_json::from_str(&out).unwrap();
    let base = &shown[0]["bases"][0];
    assert_eq!(base["name"], *name, "{shown}");
    assert_eq!(
        (&base["from"], &base["to"]),
        (&before.as_str().into(), &after.as_str().into())
    );
    assert_eq!(shown[0]["rebuild"], Value::Null);

    for unknown in ["nothing", "p/nothing", "q", "127.0.0.1:1/p:1"] {
        let (code, out, errors) = scene.run(&["updates", unknown]);
        assert_eq!((code, out.as_str()), (2, ""), "{unknown}: {errors}");
        assert!(errors.contains(unknown), "{errors}");
    }
    scene
        .proxy
        .set(|r| r.is("HEAD", "/base/").then_some(Fault::Answer(403, String::new())));
    let (code, out, _) = scene.run(&["updates"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains(&format!("cannot check {name} (below p main): ")), "{out}");
    scene.proxy.set(|_| None);
    // Looking has started nothing, and is on nobody's record.
    assert_eq!(scene.jobs().len(), 1);
    assert_eq!(scene.status()["failing"], serde_json::json!([]));

    std::fs::write(&hold, "").unwrap();
    let (code, out, errors) = scene.run(&["updates", "--rebuild", "p"]);
    assert_eq!(code, 100, "{out}{errors}");
    let job = "job 2 builds p main again; follow it with: pipelined log p --job 2 -f\n";
    assert!(out.contains(job), "{out}");
    let (code, out, _) = scene.run(&["updates", "--rebuild"]);
    assert_eq!(code, 100, "{out}");
    assert!(
        out.contains("p main: not queued: job 2 of this ref is running"),
        "{out}"
    );
    std::fs::remove_file(hold).unwrap();
    let jobs = scene.wait_jobs(2);
    scene.assert_good(&jobs[1]);
    assert_eq!((jobs[0].id, jobs[1].id), (first.id, 2));
    let report = scene.report(&jobs[1]);
    assert_eq!(report["reason"], "base updated");
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.contains(&moved) && cause.ends_with("asked for"), "{cause}");
    scene.assert_on("p:1", &Made::new(&["new"]));
    let (code, out, _) = scene.run(&["updates", "--rebuild"]);
    assert_eq!((code, out.as_str()), (0, "1 image has no updates\n"));
    assert_eq!(scene.jobs().len(), 2);
    assert!(seen(&scene.place("p:1")).is_some());

    scene.stop();
    let (code, out, errors) = scene.run(&["updates"]);
    assert_eq!((code, out.as_str()), (4, ""), "{errors}");
}
