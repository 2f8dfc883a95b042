//! What `benches/figures.sh` prints: memory when idle, a job that does nothing, the size of the binary.

use std::path::Path;
use std::process::Command;

/// Runs it with the binary of this bench.
pub fn others() -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figures.sh");
    let binary = env!("CARGO_BIN_EXE_pipelined");
    let output = Command::new("bash")
        .arg(script)
        .env("PIPELINED", binary)
        .output()
        .unwrap();
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if !output.status.success() {
        eprintln!("figures.sh: {}: {errors}", output.status);
        return "**Could not be measured.**".to_owned();
    }
    let lines: Vec<String> = text.lines().map(|line| format!("- {line}")).collect();
    lines.join("\n")
}
