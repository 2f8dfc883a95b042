//! Containerfiles as people write them: what they build FROM, and that a pinned one, or one with labels, builds the same
//! image.

#![cfg(test)]

mod support;

use pipelined::containerfile::{Base, bases, declared_args, label, pin};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use support::podman::{BUSYBOX, Podman};
use support::scratch::Scratch;

fn fixtures() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/containerfiles");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = paths.filter(|p| p.extension().unwrap() == "Containerfile").collect();
    files.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files
        .iter()
        .map(|path| (name(path), fs::read_to_string(path).unwrap()))
        .collect()
}

fn of(text: &str) -> Vec<String> {
    let show = |base| match base {
        Base::Image(name) => name,
        Base::Unresolved(word) => format!("?{word}"),
    };
    bases(text, &|_| None, None).into_iter().map(show).collect()
}

fn images(text: &str) -> Vec<String> {
    of(text).into_iter().filter(|base| !base.starts_with('?')).collect()
}

#[test]
fn bases_of_fixtures() {
    let all = fixtures();
    assert!(all.len() >= 12, "{}", all.len());
    for (name, text) in all {
        let expected = format!("{}/fixtures/containerfiles/{name}.bases", env!("CARGO_MANIFEST_DIR"));
        let expected = fs::read_to_string(expected).unwrap();
        assert_eq!(of(&text), expected.lines().collect::<Vec<_>>(), "{name}");
        // None of them hides a base from pins: each is replaced, or said to be left.
        let pins: BTreeMap<String, String> = images(&text)
            .into_iter()
            .enumerate()
            .map(|(n, base)| (base, format!("sha256:{n:064}")))
            .collect();
        let pinned = pin(&text, &|_| None, None, &pins);
        let left: BTreeSet<String> = images(&pinned.text)
            .into_iter()
            .filter(|base| pins.contains_key(base))
            .collect();
        assert_eq!(left, pinned.left.iter().cloned().collect(), "{name}");
        assert_eq!(left.is_empty(), name != "escapes", "{name}: {left:?}");
    }
}

/// The layers of an image, and how they came to be.
fn made_of(podman: &Podman, id: &str) -> (String, String) {
    let inspect = |format: &str| podman.run(&["image", "inspect", "--format", format, id]);
    (
        inspect("{{json .RootFS.Layers}}"),
        inspect("{{range .History}}{{println .CreatedBy}}{{end}}"),
    )
}

#[test]
fn pinned_files_build_the_same_image() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let id = format!(
        "sha256:{}",
        podman.run(&["image", "inspect", "--format", "{{.Id}}", BUSYBOX])
    );
    let context = scratch.mkdir("context");
    fs::write(context.join("fixture"), "1").unwrap();
    let build = |name: &str, text: &str| {
        let file = scratch.join(name);
        fs::write(&file, text).unwrap();
        let (file, context) = (file.display().to_string(), context.display().to_string());
        // Every stage, or a mistake in one that the last does not need would not show.
        let args = [
            "build",
            "--quiet",
            "--no-cache",
            "--timestamp",
            "0",
            "--pull-never",
            "--skip-unused-stages=false",
        ];
        podman.run(&[&args[..], &["--file", &file, &context]].concat())
    };
    let mut built = 0;
    for (name, text) in fixtures() {
        if !images(&text).iter().all(|base| base.starts_with("localhost/busybox")) {
            continue;
        }
        let plain = made_of(&podman, &build("plain", &text));
        let pins = images(&text).into_iter().map(|base| (base, id.clone())).collect();
        let pinned = pin(&text, &|_| None, None, &pins);
        // Without a name, only what is pinned finds the image.
        if pinned.left.is_empty() {
            podman.run(&["tag", &id, "localhost/elsewhere"]);
            podman.run(&["untag", BUSYBOX]);
        }
        let (layers, history) = made_of(&podman, &build("pinned", &pinned.text));
        // A RUN is in the history as it was written, mounts and all; nothing else tells of the pin.
        let (plain_layers, plain_history) = plain;
        assert_eq!(layers, plain_layers, "{name}:\n{}", pinned.text);
        assert_eq!(
            history.replace(&id, "localhost/busybox"),
            plain_history,
            "{name}:\n{}",
            pinned.text
        );
        podman.run(&["tag", &id, BUSYBOX]);
        built += 1;
    }
    assert!(built >= 7, "only {built}");
}

/// What labels must be able to say, and what no instruction can.
fn odd_labels() -> BTreeMap<String, String> {
    [
        ("pipelined.bases", r#"[{"digest":"sha256:1","name":"r.io/a:1"}]"#),
        ("forged", "ours"),
        ("quotes", r#"it's "x" \" \' \\"#),
        ("variables", "$X ${X} \\$X `X` $(X) ${X:-y} %X%"),
        ("blanks", "  two  \t "),
        ("empty", ""),
        ("hash", "# no comment"),
        ("end", "\\"),
        ("tick", "`"),
        ("unicode", "ü 🦀 \u{a0}"),
        ("equal", "a=b c=d"),
        ("two.lines", "one\ntwo $X"),
        ("odd name", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// The options do the same, but for what podman finds in its cache.
#[test]
fn labels_are_those_of_the_option() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    podman.load_busybox();
    let context = scratch.mkdir("context");
    fs::write(context.join("f"), "1").unwrap();
    let labels = odd_labels();
    let build = |name: &str, text: &str, target: Option<&str>, labels: &BTreeMap<String, String>| {
        let file = scratch.join(name);
        fs::write(&file, text).unwrap();
        let mut args: Vec<String> = ["build", "--quiet", "--no-cache", "--timestamp=0", "--pull-never"]
            .map(str::to_owned)
            .into();
        args.extend(target.map(|target| format!("--target={target}")));
        args.extend(labels.iter().map(|(k, v)| format!("--label={k}={v}")));
        args.extend([format!("--file={}", file.display()), context.display().to_string()]);
        let id = podman.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        let inspect = |format: &str| podman.run(&["image", "inspect", "--format", format, &id]);
        (inspect("{{json .Config}}"), inspect("{{json .RootFS.Layers}}"))
    };
    let forged = "LABEL forged=theirs 'forged'=\"again\"\n";
    for (text, target) in [
        (format!("FROM scratch\nENV X=no\nCOPY f /f\n{forged}"), None),
        (format!("FROM scratch\nARG X=no\n{forged}COPY f /f"), None),
        ("FROM scratch\r\nENV X=no\r\nCOPY f /f\r\nCMD [\"/x\"]\r\n# end\r\n\r\n".to_owned(), None),
        (format!("# escape=`\nFROM scratch\nENV X=no\n{forged}COPY `\n f `\n # c\n /f\nENV Y=c:\\"), None),
        (format!("FROM scratch AS a\nENV X=no\nCOPY f /a\n{forged}FROM a\nCOPY f /b\nONBUILD LABEL forged=later\n"), None),
        (format!("FROM scratch AS a\nENV X=no\nCOPY f /a\n{forged}\n # next\n  FROM a AS b\nCOPY f /b\n"), Some("a")),
        (format!("FROM scratch AS a\nCOPY f /a\nFROM scratch AS b\nCOPY --from=a /a /b\n{forged}FROM a"), Some("b")),
        ("FROM localhost/busybox\nENV X=no\nUSER 1\nRUN [\"true\"]\nENTRYPOINT [\"/bin/busybox\"]\n\n".to_owned(), None),
        ("FROM localhost/busybox AS a\nENV X=no\nRUN echo \\\n  one\nFROM scratch AS b\nCOPY --from=a /bin/busybox /x".to_owned(), Some("b")),
    ] {
        let plain = build("plain", &text, target, &labels);
        let labelled = label(&text, target, &labels).unwrap();
        assert_eq!(labelled.left.len(), 2, "{:?}", labelled.left);
        let ours = build("ours", &labelled.text, target, &labelled.left);
        assert_eq!(ours, plain, "{}", labelled.text);
        let config: serde_json::Value = serde_json::from_str(&ours.0).unwrap();
        for (name, value) in &labels {
            assert_eq!(config["Labels"][name], **value, "{name} of {}", labelled.text);
        }
    }
}

/// Seen with podman 4.3: where the target is not the last stage, and in the cache, the option changes nothing.
#[test]
fn labels_are_those_of_this_build_whatever_is_in_the_cache() {
    let scratch = Scratch::new();
    let podman = Podman::new(&scratch);
    let context = scratch.mkdir("context");
    fs::write(context.join("f"), "1").unwrap();
    let text = "FROM scratch AS a\nCOPY f /a\nFROM a AS b\nCOPY f /b\n";
    let mut layers = BTreeSet::new();
    for run in ["1", "2", "2"] {
        let labels = BTreeMap::from([("run".to_owned(), run.to_owned())]);
        fs::write(scratch.join("file"), label(text, Some("a"), &labels).unwrap().text).unwrap();
        let (file, context) = (
            scratch.join("file").display().to_string(),
            context.display().to_string(),
        );
        let id = podman.run(&["build", "--quiet", "--target", "a", "--file", &file, &context]);
        let inspect = |format: &str| podman.run(&["image", "inspect", "--format", format, &id]);
        assert_eq!(inspect("{{index .Config.Labels \"run\"}}"), run);
        layers.insert((
            inspect("{{json .RootFS.Layers}}"),
            inspect("{{(index .History 0).Created}}"),
        ));
    }
    assert_eq!(
        layers.len(),
        1,
        "what comes before the labels is out of the cache: {layers:?}"
    );
}

/// Long files, and what was made to be slow: none takes long, even here where nothing is optimised. What is not in
/// proportion to the length takes minutes.
#[test]
fn long_files_are_read_quickly() {
    const LENGTH: usize = 2_000_000;
    let repeat = |text: &str| text.repeat(LENGTH / text.len());
    let numbered = |line: &dyn Fn(usize) -> String| (0..LENGTH / line(100_000).len()).map(line).collect::<String>();
    let doubling = format!("ARG A=aaaaaaaa\n{}FROM $A", "ARG A=$A$A\n".repeat(64));
    for (name, text) in [
        ("lines", repeat("FROM a:1 AS b\nRUN echo \"$X\" && x\n")),
        ("one word", format!("FROM {}", repeat("a"))),
        ("continued", format!("RUN x {}", repeat("\\\n# c\n  y "))),
        (
            "flags",
            format!("RUN {}", repeat("--mount=type=bind,from=a,target=/x ")),
        ),
        ("quoted flag", format!("COPY --from=\"{}\" x y", repeat("a"))),
        ("mounts in one", format!("RUN --mount={}", repeat("from=a,"))),
        ("heredocs without end", numbered(&|n| format!("RUN <<E{n}\n"))),
        ("heredocs in a line", format!("RUN {}\nFROM a", repeat("<<E "))),
        ("stages", numbered(&|n| format!("FROM a{n} AS s{n}\n"))),
        ("heirs", numbered(&|n| format!("FROM s{n} AS s{}\nARG A{n}=1\n", n + 1))),
        (
            "arguments",
            numbered(&|n| format!("ARG A{n}=$A{}x\n", n.wrapping_sub(1))),
        ),
        ("doubling", doubling.repeat(LENGTH / doubling.len())),
        ("braces", format!("ARG A={}", repeat("${A:-"))),
        ("brackets", repeat("FROM ${A:-${B:-${C:-${D")),
        (
            "patterns",
            format!("ARG A={}\n{}", "a".repeat(4000), repeat("FROM ${A//*a*a*a*b/x}\n")),
        ),
        ("quotes", repeat("'\"\\")),
        ("a line of blanks", format!("FROM{}", repeat(" "))),
    ] {
        let begin = Instant::now();
        let found = images(&text);
        let pins = found
            .first()
            .map(|base| (base.clone(), "sha256:1".to_owned()))
            .into_iter()
            .collect();
        let pinned = pin(&text, &|_| None, None, &pins);
        declared_args(&text);
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
        eprintln!("{name}: {took:?}, {} bases, {} bytes", found.len(), pinned.text.len());
    }
}
