//! What a look into an image has found, from how its command ended and what it has written. Pure.
//!
//! It must never make "no update" of anything but a plain statement that there is none.

use crate::model::PackageUpdate;

/// Bytes of a result file.
pub(super) const MOST_BYTES: u64 = 1 << 20;
/// Packages that are recorded; of more, these are enough.
const MOST_PACKAGES: usize = 10_000;
/// Characters of a name or a version.
const LONGEST_WORD: usize = 200;
/// Of why there is no result.
const LONGEST_REASON: usize = 500;

const NEEDED: &str = "UPGRADE_NEEDED";
const NOT_NEEDED: &str = "NO_UPGRADE_NEEDED";
/// The last line of our own script's results: what is cut off does not have it.
const END: &str = "END";
/// The beginning of the file if it could not find out.
const FAILED: &[u8] = b"ERROR ";

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub needed: bool,
    pub updates: Vec<PackageUpdate>,
}

/// Of our own script: it exits with 0 and has written a whole result.
pub(super) fn of_script(exit: i64, file: Option<&[u8]>) -> Result<Found, String> {
    match (exit, file) {
        (0, Some(file)) => {
            let text = String::from_utf8_lossy(file);
            let whole = text.strip_suffix('\n').and_then(|text| text.strip_suffix(END));
            let result = whole.filter(|text| text.ends_with('\n'));
            result.ok_or_else(|| "its result is cut off".to_owned()).and_then(read)
        }
        (0, None) => Err("it has no result".to_owned()),
        (3, _) => Err(
            "packages = \"auto\" knows apt, apk, dnf, microdnf, yum and pacman, and none of these is in the image: use a \
             command"
                .to_owned(),
        ),
        (exit, file) => Err(match file.and_then(|file| file.strip_prefix(FAILED)) {
            Some(why) => clean(String::from_utf8_lossy(why).trim(), LONGEST_REASON),
            None => format!("it exited with {exit}"),
        }),
    }
}

/// Of a command of the user's: 0 is none, 100 or 101 is some; a result file has the last word of these.
pub(super) fn of_command(exit: i64, file: Option<&[u8]>) -> Result<Found, String> {
    let by_exit = match exit {
        0 => false,
        100 | 101 => true,
        exit => {
            return Err(format!(
                "the command exited with {exit}: 0 is no update, 100 and 101 are some"
            ));
        }
    };
    let Some(file) = file else {
        return Ok(Found {
            needed: by_exit,
            updates: Vec::new(),
        });
    };
    let found = read(&String::from_utf8_lossy(file))?;
    match by_exit && !found.needed {
        true => Err(format!(
            "the command exited with {exit}, and its result is {NOT_NEEDED}"
        )),
        false => Ok(found),
    }
}

/// `UPGRADE_NEEDED` with lines `name old new` (`-` for an old version that there is not), or `NO_UPGRADE_NEEDED` and nothing
/// else.
fn read(text: &str) -> Result<Found, String> {
    let mut lines = text.lines().map(str::trim);
    let needed = match lines.next() {
        Some(NEEDED) => true,
        Some(NOT_NEEDED) => false,
        _ => {
            return Err(format!(
                "the first line of the result is neither {NEEDED} nor {NOT_NEEDED}"
            ));
        }
    };
    let mut updates = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        if !needed {
            return Err(format!("the result is {NOT_NEEDED}, and there is more in it"));
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [name, old, new] = words[..] else {
            return Err(format!("line {} of the result is not `name old new`", number + 2));
        };
        if updates.len() < MOST_PACKAGES {
            updates.push(PackageUpdate {
                name: clean(name, LONGEST_WORD),
                old: Some(clean(old, LONGEST_WORD)).filter(|old| old != "-"),
                new: Some(clean(new, LONGEST_WORD)),
            });
        }
    }
    Ok(Found { needed, updates })
}

/// Text from an image, as it can be shown: no control characters, and not too much of it.
fn clean(text: &str, longest: usize) -> String {
    let shown = text.chars().map(|c| if c.is_control() { '?' } else { c });
    shown.take(longest).collect()
}

/// One line for people.
pub(super) fn in_words(found: &Found) -> String {
    const SHOWN: usize = 20;
    let count = found.updates.len();
    if !found.needed {
        return "no updates".to_owned();
    }
    if count == 0 {
        return "updates".to_owned();
    }
    let shown: Vec<String> = found.updates.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{count} update{s}: {}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn update(name: &str, old: Option<&str>, new: &str) -> PackageUpdate {
        PackageUpdate {
            name: name.to_owned(),
            old: old.map(str::to_owned),
            new: Some(new.to_owned()),
        }
    }

    #[test]
    fn a_command_says_it_by_its_exit_code_or_by_its_file() {
        let table: &[(i64, Option<&str>, Option<bool>)] = &[
            (0, None, Some(false)),
            (100, None, Some(true)),
            (101, None, Some(true)),
            (1, None, None),
            (7, None, None),
            (125, None, None),
            (126, None, None),
            (127, None, None),
            (137, None, None),
            (-1, None, None),
            (0, Some("UPGRADE_NEEDED"), Some(true)),
            (0, Some("UPGRADE_NEEDED\n"), Some(true)),
            (0, Some("UPGRADE_NEEDED\r\n"), Some(true)),
            (0, Some("NO_UPGRADE_NEEDED\n"), Some(false)),
            (100, Some("UPGRADE_NEEDED\nopenssl 3.0.1 3.0.2\n"), Some(true)),
            (0, Some("UPGRADE_NEEDED\n\nopenssl\t3.0.1\t3.0.2\n"), Some(true)),
            (100, Some("NO_UPGRADE_NEEDED\n"), None),
            (101, Some("NO_UPGRADE_NEEDED"), None),
            (7, Some("NO_UPGRADE_NEEDED"), None),
            (7, Some("UPGRADE_NEEDED"), None),
            (0, Some(""), None),
            (0, Some("\nNO_UPGRADE_NEEDED"), None),
            (0, Some("no_upgrade_needed"), None),
            (0, Some("NO_UPGRADE_NEEDED openssl"), None),
            (0, Some("NO_UPGRADE_NEEDED\nopenssl 1 2\n"), None),
            (0, Some("UPGRADE_NEEDED\nopenssl 1\n"), None),
            (0, Some("UPGRADE_NEEDED\nopenssl 1 2 3\n"), None),
            (0, Some("NO_UPGRADE_NEEDED\0"), None),
        ];
        for (exit, file, expected) in table {
            let found = of_command(*exit, file.map(str::as_bytes));
            assert_eq!(found.ok().map(|found| found.needed), *expected, "{exit} {file:?}");
        }
    }

    #[test]
    fn packages_are_recorded_as_they_can_be_shown() {
        let found = of_command(
            0,
            Some(b"UPGRADE_NEEDED\nopenssl 3.0.1 3.0.2\nnew - 1\n\x1b[31mred 1 \xff\n"),
        )
        .unwrap();
        let expected = [
            update("openssl", Some("3.0.1"), "3.0.2"),
            update("new", None, "1"),
            update("?[31mred", Some("1"), "\u{fffd}"),
        ];
        assert_eq!(found.updates, expected);
        assert!(in_words(&found).starts_with("3 updates: openssl 3.0.1 → 3.0.2, new 1, "));
        let many: String = (0..MOST_PACKAGES + 5).map(|n| format!("p{n} 1 2\n")).collect();
        let found = of_command(100, Some(format!("UPGRADE_NEEDED\n{many}").as_bytes())).unwrap();
        assert_eq!(found.updates.len(), MOST_PACKAGES);
        assert!(
            in_words(&found).ends_with("p19 1 → 2, and 9980 more"),
            "{}",
            in_words(&found)
        );
    }

    #[test]
    fn the_script_has_a_whole_result() {
        let needed = |exit, file: Option<&str>| of_script(exit, file.map(str::as_bytes)).ok().map(|f| f.needed);
        assert_eq!(needed(0, Some("NO_UPGRADE_NEEDED\nEND\n")), Some(false));
        assert_eq!(needed(0, Some("UPGRADE_NEEDED\na 1 2\nEND\n")), Some(true));
        for file in [
            "",
            "END\n",
            "NO_UPGRADE_NEEDED\n",
            "NO_UPGRADE_NEEDED\nEND",
            "NO_UPGRADE_NEEDEDEND\n",
            "UPGRADE_NEEDED\na 1 2\n",
        ] {
            assert_eq!(needed(0, Some(file)), None, "{file:?}");
        }
        assert_eq!(needed(0, None), None);
        assert_eq!(needed(1, Some("NO_UPGRADE_NEEDED\nEND\n")), None);
        assert_eq!(of_script(1, Some(b"ERROR no\nnetwork\n")).unwrap_err(), "no?network");
        assert!(of_script(0, Some(b"ERROR no network\n")).is_err());
        assert!(of_script(3, None).unwrap_err().contains("use a command"));
    }

    proptest! {
        /// Whatever is in the file: "no update" is only what says so.
        #[test]
        fn garbage_is_never_no_update(exit in -3i64..260, file in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200))) {
            let says_no = file.as_ref().is_some_and(|file| file.trim_ascii() == NOT_NEEDED.as_bytes());
            if let Ok(found) = of_command(exit, file.as_deref()) {
                prop_assert!(found.needed || exit == 0 && (file.is_none() || says_no));
            }
            if let Ok(found) = of_script(exit, file.as_deref()) {
                prop_assert!(found.needed);
            }
        }

        #[test]
        fn nearly_right_is_not_right(cut in 0usize..60, extra in "[ -~]{0,12}") {
            let whole = "UPGRADE_NEEDED\nopenssl 3.0.1 3.0.2\nzlib 1 2\nEND\n";
            let cut = cut.min(whole.len());
            let text = format!("{}{extra}", &whole[..cut]);
            if let Ok(found) = of_script(0, Some(text.as_bytes())) {
                prop_assert!(found.needed);
            }
            let no = format!("NO_UPGRADE_NEEDED{extra}");
            if let Ok(found) = of_command(0, Some(no.as_bytes())) {
                prop_assert!(found.needed || extra.trim().is_empty());
            }
        }
    }
}
