//! The images that a Containerfile needs: `FROM`, `COPY --from` and `RUN --mount=from=`.

use super::lines::{Instructions, Keyword};
use super::scope::{PROXIES, unquoted};
use super::uses::each_use;
use super::words::{Flag, flags, quoted_words};
use std::collections::{BTreeSet, HashSet};

/// An image that a build needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// By its reference.
    Image(String),
    /// As it is written: it holds a variable that has no value here.
    Unresolved(String),
}

/// The bases of a file, each once, in the order in which they occur. With a target, stages after it are left out: no
/// builder looks at them.
///
/// `build_args` gives the values that are passed; an ARG's own default is second to it. It is also asked for what builders
/// set by themselves (`TARGETARCH` and its like), which is unresolved if it has no answer.
///
/// A builder may leave out an earlier stage that the target does not need: BuildKit always does, podman unless it gets
/// `--skip-unused-stages=false`, kaniko only if it gets `--skip-unused-stages`, and docker's classic builder never. All of
/// them count here: what is brought in may be more than what is used, but never less.
///
/// A stage may also get variables from the image that it is FROM, which the file does not tell. They matter only in
/// `--from` with a variable in it, which not every builder takes.
pub fn bases(text: &str, build_args: &dyn Fn(&str) -> Option<String>, target: Option<&str>) -> Vec<Base> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    each_use(text, build_args, target, &mut |_, used| {
        if seen.insert(used.base.clone()) {
            found.push(used.base);
        }
    });
    found
}

/// The image that the target, or the last stage, stands on, by way of whatever stages: what the image-spec calls the base
/// image. None if it is `scratch`, or if it holds a variable that has no value here.
pub fn final_base(text: &str, build_args: &dyn Fn(&str) -> Option<String>, target: Option<&str>) -> Option<String> {
    each_use(text, build_args, target, &mut |_, _| {})
}

/// Whether a FROM asks for another platform than the one that builds: what an engine has under the base's name need not
/// be what the build uses then. `$BUILDPLATFORM` and `$TARGETPLATFORM` are the platform that builds, as long as nobody
/// asks for another one.
pub fn names_a_platform(text: &str) -> bool {
    const OWN: [&str; 4] = [
        "$BUILDPLATFORM",
        "${BUILDPLATFORM}",
        "$TARGETPLATFORM",
        "${TARGETPLATFORM}",
    ];
    let other = |flag: &Flag<'_>| {
        let platform = flag.text.strip_prefix("--platform=");
        platform.is_some_and(|platform| !OWN.contains(&platform.trim_matches(['"', '\''])))
    };
    let mut stages = Instructions::new(text).filter(|i| i.keyword == Keyword::From);
    stages.any(|stage| flags(stage.args()).0.iter().any(other))
}

/// The names of every ARG, in any stage.
pub fn declared_args(text: &str) -> BTreeSet<String> {
    let instructions = Instructions::new(text);
    let escape = instructions.escape;
    let mut names = BTreeSet::new();
    for instruction in instructions.filter(|i| i.keyword == Keyword::Arg) {
        let words = quoted_words(instruction.args(), escape).into_iter();
        let bare = words.map(|word| unquoted(word.split('=').next().unwrap_or_default()));
        names.extend(bare.filter(|name| crate::model::is_env_name(name)));
    }
    names
}

/// Whether builders take this argument without an ARG for it: the proxies.
pub fn is_predefined_arg(name: &str) -> bool {
    PROXIES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn of(text: &str, args: &[(&str, &str)], target: Option<&str>) -> Vec<String> {
        let lookup = |name: &str| args.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        bases(text, &lookup, target)
            .into_iter()
            .map(|base| match base {
                Base::Image(image) => image,
                Base::Unresolved(text) => format!("?{text}"),
            })
            .collect()
    }

    #[rstest]
    #[case("FROM debian:12", &["debian:12"])]
    #[case("from debian\nfrom debian", &["debian"])]
    #[case("FROM scratch", &[])]
    #[case("FROM --platform=$BUILDPLATFORM a AS b\nFROM b\nCOPY --from=b /x /x", &["a"])]
    #[case("FROM a AS Build\nFROM c\nCOPY --from=build /x /x\nCOPY --from=0 /y /y", &["a", "c"])]
    #[case("FROM a\nCOPY --chown=1 --from=r.io/x:1 /x /x", &["a", "r.io/x:1"])]
    #[case("FROM a\nCOPY x --from=no /x", &["a"])]
    #[case("FROM a\nRUN --mount=type=bind,from=t:1,source=/,target=/m ls", &["a", "t:1"])]
    #[case("FROM a\nRUN --mount=type=cache,target=/m --mount=from=t,target=/n ls", &["a", "t"])]
    #[case("ARG V=1\nFROM a:$V", &["a:1"])]
    #[case("ARG V\nFROM a:${V}", &["?a:${V}"])]
    #[case("ARG V\nFROM a:${V:-2}", &["a:2"])]
    #[case("ARG R=r.io\nARG I=\"$R/a\"\nFROM ${I}", &["r.io/a"])]
    #[case("ARG V=1\nFROM a\nARG V\nCOPY --from=b:$V /x /x", &["a", "b:1"])]
    #[case("ARG V=1\nFROM a\nCOPY --from=b:$V /x /x", &["a", "?b:$V"])]
    #[case("FROM a\nARG V=1\nFROM b:$V", &["a", "?b:$V"])]
    #[case("FROM \\\n  # why\n  a \\\n AS x\nRUN <<E\nFROM no\nE\nFROM b", &["a", "b"])]
    #[case("FROM b\nFROM a AS b\nFROM b", &["b", "a"])]
    #[case("FROM", &[])]
    #[case("", &[])]
    #[case("\u{feff}FROM \"a\"\r\nCOPY --from=b\\\r\n# c\r\n:1 /x /x\r\n", &["a", "b:1"])]
    #[case("FROM a\nFROM b AS a\nCOPY --from=later / /\nFROM c AS later", &["a", "b", "later", "c"])]
    #[case("FROM a\nCOPY --from=1 / /\nFROM 0", &["a", "1", "0"])]
    #[case("FROM a\nCOPY --from=scratch / /", &["a"])]
    #[case("FROM a AS x\nFROM X AS y\nFROM Y\nRUN --mount=from=Y,target=/y x", &["a"])]
    #[case("ONBUILD FROM a\nFROM b\nONBUILD COPY --from=c / /\nONBUILD RUN <<E\nFROM d\nE", &["b"])]
    #[case("FROM a\nENV V=1\nARG V=2\nCOPY --from=b:$V / /", &["a", "b:1"])]
    #[case("FROM a\nENV V one two\nENV W=\"${V%% *}\" X=$W\nCOPY --from=b:$W$X / /\nCOPY --from=c:$W / /", &["a", "?b:$W$X", "c:one"])]
    #[case("FROM a AS x\nARG V=1\nENV W=2\nFROM x\nCOPY --from=b:$V$W / /\nFROM c\nCOPY --from=d:$W / /", &["a", "b:12", "c", "?d:$W"])]
    #[case("ARG A=1 B=2$A\nFROM a:$B", &["a:21"])]
    #[case("ARG A=1\nARG A\nFROM a:$A", &["a:1"])]
    #[case("ARG A=$NO\nFROM a${A}\nFROM b${A:-1}", &["?a${A}", "b1"])]
    #[case("FROM a-$TARGETARCH\nFROM b-${TARGETARCH:-x}", &["?a-$TARGETARCH", "?b-${TARGETARCH:-x}"])]
    #[case("FROM a\nCOPY --from=b-${TARGETARCH:-x} / /\nARG TARGETARCH\nCOPY --from=b-$TARGETARCH / /", &["a", "b-x", "?b-$TARGETARCH"])]
    #[case("FROM a\nADD --chown=1 --from=\"b c\" / /\nCOPY -- --from=d / /\nCOPY [\"--from=e\", \"/\"]", &["a", "b c"])]
    #[case("FROM a\nRUN --mount='type=bind,\"from=b\"' x --mount=from=c", &["a", "b"])]
    fn finds_bases(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(of(text, &[], None), expected, "{text}");
    }

    #[rstest]
    #[case("FROM a", None, Some("a"))]
    #[case("FROM a AS x\nFROM b\nCOPY --from=x / /", None, Some("b"))]
    #[case("FROM a AS x\nFROM X AS y\nFROM b\nFROM y", None, Some("a"))]
    #[case("FROM a AS x\nFROM b", Some("x"), Some("a"))]
    #[case("FROM a AS a\nFROM a", None, Some("a"))]
    #[case("FROM a AS x\nFROM scratch AS x\nFROM x", None, None)]
    #[case("FROM a\nFROM $NO", None, None)]
    #[case("FROM scratch", None, None)]
    #[case("", None, None)]
    fn finds_what_the_target_stands_on(
        #[case] text: &str,
        #[case] target: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(final_base(text, &|_| None, target).as_deref(), expected);
    }

    #[rstest]
    #[case("FROM a", false)]
    #[case("FROM --platform=$BUILDPLATFORM a\nFROM --platform=${TARGETPLATFORM} b", false)]
    #[case("FROM a\nfrom --platform=linux/arm64 b", true)]
    #[case("FROM --platform=$X a", true)]
    #[case("FROM a\nRUN echo FROM --platform=x", false)]
    fn sees_platforms(#[case] text: &str, #[case] other: bool) {
        assert_eq!(names_a_platform(text), other, "{text}");
    }

    #[test]
    fn values_that_are_passed_win() {
        assert_eq!(of("ARG V=1\nFROM a:$V", &[("V", "2")], None), ["a:2"]);
        assert_eq!(of("FROM a:$V", &[("V", "2")], None), ["?a:$V"]);
        // What builders set by themselves needs no ARG before the first FROM, and one in a stage.
        let arch = [("TARGETARCH", "arm64")];
        let text = "FROM a-$TARGETARCH\nCOPY --from=b-$TARGETARCH / /\nARG TARGETARCH\nCOPY --from=c-$TARGETARCH / /";
        assert_eq!(of(text, &arch, None), ["a-arm64", "?b-$TARGETARCH", "c-arm64"]);
        let proxy = [("https_proxy", "p")];
        assert_eq!(of("FROM a:${https_proxy}${http_proxy:-x}", &proxy, None), ["a:px"]);
    }

    #[test]
    fn stages_after_the_target_do_not_count() {
        let text = "FROM a AS one\nFROM b AS two\nCOPY --from=c / /\nFROM d";
        assert_eq!(of(text, &[], Some("TWO")), ["a", "b", "c"]);
        assert_eq!(of(text, &[], Some("0")), ["a"]);
        assert_eq!(of(text, &[], Some("none")), ["a", "b", "c", "d"]);
    }

    #[test]
    fn finds_declared_args() {
        let text = "ARG A\narg B=1 C=\"x y\"\nFROM a\nARG 'D'=2\nRUN <<E\nARG NO\nE\nENV F=1";
        let names: Vec<String> = declared_args(text).into_iter().collect();
        assert_eq!(names, ["A", "B", "C", "D"]);
        assert!(is_predefined_arg("no_proxy") && !is_predefined_arg("TARGETARCH"));
    }

    #[test]
    fn escapes_by_the_character_of_the_file() {
        let text = "# escape=`\nARG A=c:`$x\nFROM a `\n AS b\nARG A\nCOPY --from=$A C:\\ D:\\\nFROM d";
        assert_eq!(of(text, &[], None), ["a", "c:$x", "d"]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(\\PC|[ \\n\\\\$\"'`{}<#=]|FROM |ARG |RUN |COPY --from=|<<E|as ){0,40}") {
            bases(&text, &|_| None, Some("x"));
            bases(&text, &|name| Some(name.to_owned()), None);
            declared_args(&text);
        }
    }
}
