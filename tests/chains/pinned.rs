//! What is built again is built on exactly what made it stale.

use crate::scene::{Farm, ROOT, on};

#[test]
fn a_push_in_between_does_not_mix_generations() {
    let mut farm = Farm::new(&[
        ("app", &on(&["ruby"])),
        ("base", ROOT),
        ("foreign", ROOT),
        ("ruby", &on(&["base"])),
    ]);
    farm.calm();
    let armed = farm.scratch.join("armed");
    let (from, to) = (farm.place("foreign"), farm.place("base"));
    let push = format!(
        "[ ! -e {} ] || skopeo copy --quiet --src-tls-verify=false --dest-tls-verify=false docker://{from} docker://{to}",
        armed.display()
    );
    let script = farm.scratch.script("push", &push).display().to_string();
    farm.project("ruby", &format!("prepare_callback = '{script}'"));
    farm.start();
    farm.wait_jobs(4);
    std::fs::write(armed, "").unwrap();
    farm.change("base", "2\n");
    let jobs = farm.wait_built(4, &["base", "ruby", "app"]);
    // Somebody's push stays where it is: nobody but a new commit takes it away.
    assert_eq!(farm.at("base"), farm.at("foreign"));
    let query = format!("SELECT digest FROM image_results WHERE job = {}", jobs[0].id);
    let ours: Vec<String> = farm.query(&query, |row| row.get(0));
    let stands = farm.label("ruby", "org.opencontainers.image.base.digest");
    assert_eq!([stands], *ours, "{}", farm.story());
    farm.assert_on("app", "ruby");
}
