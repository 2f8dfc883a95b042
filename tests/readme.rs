//! What the README and the demo show is what the program takes.

#![cfg(test)]

mod support;

use pipelined::config::{Overrides, load};
use support::scratch::Scratch;

/// The text between each `start` line and the next `end` line.
fn blocks(text: &str, start: &str, end: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while lines.any(|line| line.ends_with(start)) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        blocks.push(block.join("\n") + "\n");
    }
    blocks
}

/// Loads it as a config file; panics with the diagnostics.
fn assert_loads(toml: &str) {
    let scratch = Scratch::new();
    if let Err(error) = load(&scratch.write("pipelined.toml", toml), &Overrides::default()) {
        panic!("{error:?}\n{toml}");
    }
}

#[test]
fn the_configs_of_the_readme_are_fine() {
    let blocks = blocks(include_str!("../README.md"), "```toml", "```");
    assert!(!blocks.is_empty());
    blocks.iter().for_each(|toml| assert_loads(toml));
}

#[test]
fn the_readme_has_each_exit_code() {
    let help = pipelined::cli::command().get_after_help().unwrap().to_string();
    let (_, codes) = help.split_once("Exit codes:").unwrap();
    let words = codes.split(|c: char| !c.is_ascii_alphanumeric());
    let codes: Vec<u8> = words.filter_map(|word| word.parse().ok()).collect();
    assert!(codes.contains(&0) && codes.contains(&130), "{codes:?}");
    for code in codes {
        let row = format!("\n| {code} | ");
        assert!(include_str!("../README.md").contains(&row), "{code}");
    }
}

#[test]
fn the_config_of_the_demo_is_fine() {
    let demo = include_str!("../scripts/demo.sh");
    let blocks = blocks(demo, "cat >\"$dir/pipelined.toml\" <<CONF", "CONF");
    let [toml] = blocks.as_slice() else {
        panic!("{blocks:?}")
    };
    assert_loads(&toml.replace("$dir", "/tmp/demo"));
}

#[test]
fn the_config_that_the_demo_ends_with_is_fine() {
    let demo = include_str!("../scripts/demo.sh");
    let (_, after) = demo.split_once("put this in pipelined.toml:").unwrap();
    let (toml, _) = after.split_once("\nand then\n").unwrap();
    assert_loads(toml);
}
