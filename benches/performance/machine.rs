//! Where the figures come from, without names.

use std::process::Command;

/// Cores, memory, and the versions of what takes part.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().unwrap();
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kib: f64 = total.split_whitespace().next().unwrap().parse().unwrap();
    format!(
        "{cores} cores, {:.0} GiB of memory, Linux {}, {}, {}, {}.",
        kib / 1024.0 / 1024.0,
        std::env::consts::ARCH,
        said("git", &["--version"]),
        said("/usr/sbin/nginx", &["-v"]).replace("version: nginx/", ""),
        said("ssh", &["-V"]).split([' ', ',']).next().unwrap(),
    )
}

/// The first line that a program says of itself, on whichever stream.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
