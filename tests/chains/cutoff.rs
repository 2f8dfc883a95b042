//! What comes to the same makes nothing stale.

use crate::scene::{Farm, ROOT, on};

#[test]
fn a_commit_that_changes_nothing_of_the_image_stops_there() {
    let mut farm = Farm::new(&[("app", &on(&["ruby"])), ("base", ROOT), ("ruby", &on(&["base"]))]);
    farm.start();
    farm.wait_jobs(3);
    let before = farm.all_at(&["ruby", "app"]);
    let base = farm.at("base");
    farm.push("base", &[("README", "outside of what is copied\n")]);
    let jobs = farm.wait_built(3, &["base"]);
    // It is released all the same: it says from which commit it is.
    assert_ne!(farm.at("base"), base);
    let revision = farm.label("base", "org.opencontainers.image.revision");
    assert_eq!(revision, farm.repo("base").head());
    let log = farm.build_log(&jobs[0]);
    assert!(log.contains("the content is that of what was released before"), "{log}");
    farm.assert_quiet("base");
    assert_eq!(farm.all_at(&["ruby", "app"]), before);
    let explained = farm.run(&["explain", "ruby"]);
    assert!(explained.contains("the same content"), "{explained}");

    // The same once more, and then something new: what is compared is not lost on the way.
    farm.push("base", &[("README", "again\n")]);
    farm.wait_built(4, &["base"]);
    farm.assert_quiet("base");
    farm.change("base", "2\n");
    farm.wait_built(5, &["base", "ruby", "app"]);
    farm.assert_on("ruby", "base");
    farm.assert_on("app", "ruby");

    // Rebuilt by hand, what is the same goes nowhere either.
    let output = farm.site.cli(&["build", "ruby"]);
    assert!(output.status.success(), "{output:?}");
    farm.wait_built(8, &["ruby"]);
    farm.assert_quiet("base");
}
