//! Where hooks are taken: at the start, and after another config.

use crate::common::*;
use crate::support::daemon::Site;
use crate::support::scratch::{SOON, Scratch, wait_for_state};
use crate::support::servers::child::free_port;
use std::net::{TcpListener, TcpStream};

fn config(scratch: &Scratch, site: &Site, listen: Option<&str>) {
    let listen = listen.map(|at| format!("listen = '{at}'\n")).unwrap_or_default();
    let project = format!("[projects.a]\nremote = {:?}\n", scratch.join("nothing"));
    site.write_config(&format!("interval = '1h'\n{listen}{}{project}", secrets(scratch)));
}

fn heard(door: &str) -> u16 {
    let bearer = format!("Bearer {SECRET}");
    post(door, "/hooks/form", &[("authorization", &bearer)], "project=a").status
}

#[test]
fn the_door_moves_with_the_config() {
    let scratch = Scratch::new();
    let site = Site::new(&scratch, "");
    let [one, two] = [free_port(), free_port()];
    let (first, second) = (format!("127.0.0.1:{one}"), format!("127.0.0.1:{two}"));
    config(&scratch, &site, None);
    let daemon = site.start();
    assert!(site.json(&["status", "--json"])["daemon"]["hooks"]["listen"].is_null());
    let text = String::from_utf8(site.cli(&["status"]).stdout).unwrap();
    assert!(!text.contains("webhooks"), "{text}");
    let reload = |listen: Option<&str>, settings: &str| {
        config(&scratch, &site, listen);
        let output = site.cli(&["reload"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(settings), "{output:?}");
    };
    let moved = |to: Option<&str>| {
        wait_for_state("the door to be moved", SOON, || {
            let status = site.json(&["status", "--json"]);
            let listen = status["daemon"]["hooks"]["listen"].as_str();
            if listen == to {
                Ok(())
            } else {
                Err(format!("{listen:?} {}", daemon.log()))
            }
        });
    };
    reload(Some(&first), "settings: listen");
    moved(Some(&first));
    assert_eq!(heard(&first), 200);
    reload(Some(&second), "settings: listen");
    moved(Some(&second));
    assert_eq!(heard(&second), 200);
    assert!(TcpStream::connect(&first).is_err(), "the old one is closed");
    // The same port of all addresses cannot be had beside it.
    let all = format!("0.0.0.0:{two}");
    reload(Some(&all), "settings: listen");
    moved(Some(&all));
    assert_eq!(heard(&second), 200);
    assert!(daemon.log().contains("plain http"), "{}", daemon.log());
    // One that is taken: the old one stays.
    let other = TcpListener::bind(&first).unwrap();
    reload(Some(&first), "settings: listen\nerror: ");
    wait_for_state("an error", SOON, || {
        let log = daemon.log();
        let told = format!("webhooks are taken on {all} as before");
        if log.contains(&told) && log.contains("another program does") {
            Ok(())
        } else {
            Err(log)
        }
    });
    assert_eq!(heard(&second), 200);
    // It is tried again by the next reload, although nothing has changed.
    drop(other);
    reload(Some(&first), "nothing changed");
    moved(Some(&first));
    assert_eq!(heard(&first), 200);
    // Another secret counts from the next hook on, without a reload.
    scratch.write("secret", "another one\n");
    assert_eq!(heard(&first), 403);
    scratch.write("secret", "");
    assert_eq!(heard(&first), 503);
    assert!(daemon.log().contains("its secret cannot be read"), "{}", daemon.log());
    reload(None, "settings: listen");
    moved(None);
    assert!(TcpStream::connect(&first).is_err());
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let scratch = Scratch::new();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = other.local_addr().unwrap().to_string();
    let site = Site::new(&scratch, "");
    config(&scratch, &site, Some(&at));
    let mut daemon = site.spawn(&[]);
    assert!(!daemon.wait_exit(SOON).success());
    let log = daemon.log();
    let told = format!("cannot listen on {at} for webhooks: another program does, end it or change `listen`");
    assert!(log.contains(&told), "{log}");
    // Nothing is left that would keep the next one from starting.
    drop(other);
    let _daemon = site.start();
    assert_eq!(heard(&at), 200);
    assert_eq!(door(&site), at);
}

#[test]
fn doctor_looks_at_the_secrets() {
    let scratch = Scratch::new();
    let site = Site::new(&scratch, "");
    config(&scratch, &site, Some("127.0.0.1:8075"));
    let findings = |site: &Site| {
        let output = site.cli(&["doctor", "--json"]);
        let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
        all.into_iter()
            .filter(|f| f["about"] == "hooks")
            .map(|f| f["level"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(findings(&site), ["ok"; 5]);
    std::fs::remove_file(scratch.join("secret")).unwrap();
    assert_eq!(findings(&site), ["bad"; 5]);
}
