//! The units are what systemd takes, and the strict profile really is stricter.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

const UNIT: &str = include_str!("../systemd/pipelined.service");
const STRICT: &str = include_str!("../systemd/strict.conf");

/// Writes the unit, with a binary that exists, and the drop-in if asked.
fn install(dir: &Path, strict: bool) -> std::path::PathBuf {
    let unit = dir.join("pipelined.service");
    let text = UNIT.replace("/usr/bin/pipelined", env!("CARGO_BIN_EXE_pipelined"));
    assert_ne!(
        text, UNIT,
        "ExecStart names /usr/bin/pipelined, which `make install` replaces"
    );
    std::fs::write(&unit, text).unwrap();
    if strict {
        let drop_in = dir.join("pipelined.service.d");
        std::fs::create_dir(&drop_in).unwrap();
        std::fs::write(drop_in.join("strict.conf"), STRICT).unwrap();
    }
    unit
}

/// What `systemd-analyze ARGS UNIT` says, on both outputs; it must end well.
fn analyze(args: &[&str], unit: &Path) -> String {
    let output = Command::new("systemd-analyze").args(args).arg(unit).output().unwrap();
    let text = [output.stdout, output.stderr]
        .map(|o| String::from_utf8(o).unwrap())
        .concat();
    assert!(output.status.success(), "systemd-analyze {args:?}: {text}");
    text
}

/// From `→ Overall exposure level for pipelined.service: 9.2 UNSAFE`.
fn exposure(unit: &Path) -> f64 {
    let text = analyze(&["security", "--offline=yes", "--no-pager"], unit);
    let (_, level) = text
        .split_once("Overall exposure level for pipelined.service: ")
        .unwrap();
    level.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn systemd_takes_the_units_without_a_word() {
    for strict in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let unit = install(dir.path(), strict);
        assert_eq!(analyze(&["verify", "--man=no"], &unit), "", "strict: {strict}");
    }
}

#[test]
fn the_strict_profile_exposes_far_less() {
    let (plain, strict) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let plain = exposure(&install(plain.path(), false));
    let strict = exposure(&install(strict.path(), true));
    assert!(strict < 2.0 && strict < plain, "strict {strict}, default {plain}");
}

/// Seccomp filters are inherited by builds, and mount namespaces hide the engine's mounts.
#[test]
fn the_default_profile_takes_nothing_from_builds() {
    for line in UNIT.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('=').next().unwrap();
        let filters = [
            "SystemCall",
            "Restrict",
            "Protect",
            "Private",
            "LockPersonality",
            "NoNewPrivileges",
        ]
        .iter()
        .chain(&[
            "MemoryDeny",
            "CapabilityBounding",
            "ReadOnly",
            "Inaccessible",
            "DeviceAllow",
            "DevicePolicy",
        ])
        .any(|prefix| name.starts_with(prefix));
        assert!(!filters, "{line}");
    }
}
