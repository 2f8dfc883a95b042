//! The images that a Containerfile needs: `FROM`, `COPY --from` and `RUN --mount=from=`.

use super::expand::expand;
use super::lines::{Instruction, instructions};
use std::collections::{BTreeSet, HashMap, HashSet};

/// An image that a build needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Base {
    /// By its reference.
    Image(String),
    /// As it is written: it holds a variable that has no value here.
    Unresolved(String),
}

/// No image: the empty file system.
const SCRATCH: &str = "scratch";

/// The bases of a file, each once, in the order in which they occur. `build_args` gives the values that are passed;
/// an ARG's own default is second to it. With a target, stages after it are left out: no builder looks at them.
///
/// Which of the earlier stages a builder skips because nothing needs them is its own affair: all of them count.
pub fn bases(text: &str, build_args: &dyn Fn(&str) -> Option<String>, target: Option<&str>) -> Vec<Base> {
    let (instructions, escape) = instructions(text);
    let mut reader = Reader {
        escape,
        build_args,
        global: HashMap::new(),
        local: None,
        stages: HashSet::new(),
        count: 0,
        found: Vec::new(),
    };
    let mut reached = false;
    for instruction in &instructions {
        if instruction.name == "FROM" {
            if reached {
                break;
            }
            let stage = reader.from(instruction);
            reached = target.is_some_and(|target| {
                stage.is_some_and(|name| name.eq_ignore_ascii_case(target)) || target.parse() == Ok(reader.count - 1)
            });
        } else {
            reader.read(instruction);
        }
    }
    let mut seen = HashSet::new();
    reader.found.retain(|base| seen.insert(base.clone()));
    reader.found
}

/// The names of every ARG, in any stage.
pub fn declared_args(text: &str) -> BTreeSet<String> {
    let (instructions, _) = instructions(text);
    instructions
        .iter()
        .filter(|i| i.name == "ARG")
        .flat_map(|i| words(&i.rest))
        .map(|word| unquote(word.split('=').next().unwrap_or_default()))
        .filter(|name| crate::model::is_env_name(name))
        .collect()
}

type Variables = HashMap<String, Option<String>>;

struct Reader<'a> {
    escape: char,
    build_args: &'a dyn Fn(&str) -> Option<String>,
    /// ARGs before the first FROM.
    global: Variables,
    /// ARGs and ENVs of the current stage.
    local: Option<Variables>,
    /// In lower case.
    stages: HashSet<String>,
    count: usize,
    found: Vec<Base>,
}

impl Reader<'_> {
    /// Answers with the name of the stage that it begins.
    fn from(&mut self, instruction: &Instruction) -> Option<String> {
        let words = words(&instruction.rest);
        let mut words = words.iter().skip_while(|word| word.starts_with("--"));
        if let Some(image) = words.next() {
            // Only ARGs before the first FROM count here.
            let base = self.resolve(image, &self.global);
            self.add(base);
        }
        let stage = match (words.next(), words.next()) {
            (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => Some(name.clone()),
            _ => None,
        };
        self.stages.extend(stage.iter().map(|name| name.to_lowercase()));
        self.count += 1;
        self.local = Some(HashMap::new());
        stage
    }

    fn read(&mut self, instruction: &Instruction) {
        match instruction.name.as_str() {
            "ARG" => words(&instruction.rest).iter().for_each(|word| self.arg(word)),
            "COPY" | "ADD" => {
                let words = words(&instruction.rest);
                let flags = words.iter().take_while(|word| word.starts_with("--"));
                let images = flags.filter_map(|flag| flag.strip_prefix("--from="));
                images.for_each(|image| self.other_stage_or_image(image));
            }
            "RUN" => {
                let words = words(&instruction.rest);
                let flags = words.iter().take_while(|word| word.starts_with("--"));
                let mounts = flags.filter_map(|flag| flag.strip_prefix("--mount="));
                let images = mounts.flat_map(|mount| mount.split(',').filter_map(|part| part.strip_prefix("from=")));
                images.for_each(|image| self.other_stage_or_image(image));
            }
            _ => {}
        }
    }

    /// A value that is passed wins over the default; in a stage, a bare ARG takes the global one's value.
    fn arg(&mut self, word: &str) {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (unquote(name), Some(default)),
            None => (unquote(word), None),
        };
        let scope = self.local.as_ref().unwrap_or(&self.global);
        let value = (self.build_args)(&name)
            .or_else(|| default.and_then(|default| expand(default, self.escape, scope)))
            .or_else(|| match default {
                None => self.global.get(&name).cloned().flatten(),
                Some(_) => None,
            });
        self.local.as_mut().unwrap_or(&mut self.global).insert(name, value);
    }

    /// `--from` takes the name of an earlier stage, its number, or an image.
    fn other_stage_or_image(&mut self, word: &str) {
        let empty = Variables::new();
        let base = self.resolve(word, self.local.as_ref().unwrap_or(&empty));
        let is_number = matches!(&base, Base::Image(name) if name.parse::<usize>().is_ok_and(|n| n < self.count));
        if !is_number {
            self.add(base);
        }
    }

    fn resolve(&self, word: &str, variables: &Variables) -> Base {
        match expand(word, self.escape, variables) {
            Some(image) if !image.is_empty() => Base::Image(image),
            _ => Base::Unresolved(word.to_owned()),
        }
    }

    fn add(&mut self, base: Base) {
        let is_image = match &base {
            Base::Image(name) => name != SCRATCH && !self.stages.contains(&name.to_lowercase()),
            Base::Unresolved(_) => true,
        };
        if is_image {
            self.found.push(base);
        }
    }
}

/// Splits at white space that is not in quotes or braces; quotes stay.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut braces = 0usize;
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '{') => braces += 1,
            (None, '}') => braces = braces.saturating_sub(1),
            (None, _) if c.is_whitespace() && braces == 0 => {
                words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn unquote(word: &str) -> String {
    word.replace(['"', '\''], "")
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
    fn finds_bases(#[case] text: &str, #[case] expected: &[&str]) {
        assert_eq!(of(text, &[], None), expected, "{text}");
    }

    #[test]
    fn values_that_are_passed_win() {
        assert_eq!(of("ARG V=1\nFROM a:$V", &[("V", "2")], None), ["a:2"]);
        assert_eq!(of("FROM a:$V", &[("V", "2")], None), ["?a:$V"]);
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
