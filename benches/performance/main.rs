//! What the daemon costs, as a whole and beside git: `make bench`, or parts of it by
//! `cargo bench --bench performance -- http ssh`. The tables go into `docs/performance.md`.
//!
//! It judges a figure in words and never fails by one: a busy machine is no defect.

mod chain;
mod chainplan;
mod checkout;
mod figures;
mod fleet;
mod forest;
mod load;
mod machine;
#[allow(dead_code, reason = "what the tests of updates have, and a part of it")]
#[path = "../../tests/updates/made.rs"]
mod made;
mod many;
mod note;
mod played;
mod polls;
mod push;
#[path = "../../tests/updates/released.rs"]
mod released;
mod served;
mod stats;
#[path = "../../tests/support/mod.rs"]
mod support;
mod updates;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// One table of the note.
struct Part {
    name: &'static str,
    /// Its rounds, and the text between its markers.
    run: fn(usize) -> String,
}

const PARTS: &[Part] = &[
    Part {
        name: "machine",
        run: |_| machine::describe(),
    },
    Part {
        name: "http",
        run: |rounds| polls::http(rounds),
    },
    Part {
        name: "https",
        run: |rounds| polls::https(rounds),
    },
    Part {
        name: "ssh",
        run: |rounds| polls::ssh(rounds),
    },
    Part {
        name: "git",
        run: |rounds| polls::git(rounds),
    },
    Part {
        name: "file",
        run: |rounds| polls::file(rounds),
    },
    Part {
        name: "thousand",
        run: |rounds| many::thousand(rounds),
    },
    Part {
        name: "tenthousand",
        run: |_| many::ten_thousand(),
    },
    Part {
        name: "push",
        run: |_| push::to_start(),
    },
    Part {
        name: "checkout",
        run: |rounds| checkout::second(rounds),
    },
    Part {
        name: "updates",
        run: |rounds| updates::twenty_bases(rounds),
    },
    Part {
        name: "manyupdates",
        run: |rounds| updates::many_bases(rounds),
    },
    Part {
        name: "chainplan",
        run: |rounds| chainplan::ten_thousand(rounds),
    },
    Part {
        name: "chain20",
        run: |rounds| chain::twenty(rounds),
    },
    Part {
        name: "figures",
        run: |_| figures::others(),
    },
];

const USAGE: &str = "usage: cargo bench --bench performance -- [rounds=N] [PART…]";

/// Pairs of runs behind each median.
const ROUNDS: usize = 7;

fn main() -> ExitCode {
    // Only `cargo bench` says `--bench`. Runners of tests list and run every target: here is no test.
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    words.retain(|word| word != "--bench");
    let mut rounds = ROUNDS;
    let mut wanted = BTreeSet::new();
    for word in &words {
        let count = word
            .strip_prefix("rounds=")
            .and_then(|n| n.parse().ok())
            .filter(|n| *n > 0);
        match count {
            Some(count) => rounds = count,
            None if word == "all" || PARTS.iter().any(|part| part.name == word) => {
                wanted.insert(word.as_str());
            }
            None => {
                let parts: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
                eprintln!("{USAGE}\nparts: all {}", parts.join(" "));
                return ExitCode::from(2);
            }
        }
    }
    let note = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    for part in PARTS {
        if wanted.is_empty() || wanted.contains("all") || wanted.contains(part.name) {
            eprintln!("{}…", part.name);
            let text = (part.run)(rounds);
            println!("{text}");
            // At once: what is measured is kept, whatever becomes of the next part.
            note::replace(&note, part.name, &text);
        }
    }
    ExitCode::SUCCESS
}
