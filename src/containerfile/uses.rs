//! Where a file uses an image or a stage, in the order in which a builder comes by.

use super::bases::Base;
use super::budget::Budget;
use super::lines::{Instruction, Instructions, Keyword};
use super::scope::{Scope, Values};
use super::words::{Flag, flags, images_of_flag, plain_words, quoted_words};
use std::collections::HashMap;
use std::ops::Range;

/// No image: the empty file system.
const SCRATCH: &str = "scratch";

/// How an image is named.
#[derive(Debug)]
pub(super) enum Place<'a> {
    /// In a FROM: where the word stands in its arguments.
    From(Range<usize>),
    /// In a flag: where in what it says.
    Flag(&'a Flag<'a>, Range<usize>),
}

/// An image that is used.
pub(super) struct Use<'a> {
    pub base: Base,
    pub instruction: &'a Instruction<'a>,
    pub place: Place<'a>,
}

/// The stages that have begun.
#[derive(Default)]
pub(super) struct Stages {
    /// By their names in lower case; with the variables that a stage FROM it begins with.
    named: HashMap<String, Scope>,
    count: usize,
}

impl Stages {
    /// Whether a name means an image here. Names of stages come first, but only of those that have begun: a builder that
    /// comes from above knows no others. Numbers are for flags only.
    pub fn is_image(&self, name: &str, place: &Place<'_>) -> bool {
        let number = matches!(place, Place::Flag(..)) && name.parse::<usize>().is_ok_and(|n| n < self.count);
        name != SCRATCH && !number && !self.named.contains_key(&name.to_lowercase())
    }
}

/// Shows every use of an image up to the end of the target. Answers with the image that the last stage stands on, by way
/// of whatever other stages; none if that is `scratch`, or cannot be told.
pub(super) fn each_use(
    text: &str,
    build_args: &dyn Fn(&str) -> Option<String>,
    target: Option<&str>,
    see: &mut dyn FnMut(&Stages, Use<'_>),
) -> Option<String> {
    let instructions = Instructions::new(text);
    let values = Values {
        escape: instructions.escape,
        build_args,
        budget: Budget::new(),
        global: Scope::default(),
    };
    let mut walk = Walk {
        values,
        stages: Stages::default(),
        stage: None,
        roots: HashMap::new(),
        see,
    };
    let mut reached = false;
    for instruction in instructions {
        if instruction.keyword != Keyword::From {
            walk.read(&instruction);
        } else if reached {
            break;
        } else {
            walk.from(&instruction);
            reached = target.is_some_and(|target| walk.is_stage(target));
        }
    }
    walk.stage.and_then(|stage| stage.root)
}

struct Stage {
    name: Option<String>,
    /// The image at the bottom of it.
    root: Option<String>,
    scope: Scope,
}

struct Walk<'a> {
    values: Values<'a>,
    stages: Stages,
    stage: Option<Stage>,
    /// Of the stages that have begun, by their names in lower case.
    roots: HashMap<String, Option<String>>,
    see: &'a mut dyn FnMut(&Stages, Use<'_>),
}

impl Walk<'_> {
    fn is_stage(&self, target: &str) -> bool {
        let name = self.stage.as_ref().and_then(|stage| stage.name.as_deref());
        name == Some(target.to_lowercase().as_str()) || target.parse() == Ok(self.stages.count - 1)
    }

    fn from(&mut self, instruction: &Instruction<'_>) {
        if let Some(Stage {
            name: Some(name),
            root,
            scope,
        }) = self.stage.take()
        {
            self.roots.insert(name.clone(), root);
            self.stages.named.insert(name, scope);
        }
        let args = instruction.args();
        let (_, rest) = flags(args);
        let mut words = plain_words(&args[rest..]).map(|word| rest + word.start..rest + word.end);
        let mut scope = Scope::default();
        let mut root = None;
        if let Some(image) = words.next() {
            // Only ARGs before the first FROM count here.
            let base = self.resolve(&args[image.clone()], None);
            if let Base::Image(name) = &base {
                // A stage goes on with the variables of the stage that it is FROM.
                scope = self.stages.named.get(&name.to_lowercase()).cloned().unwrap_or_default();
                root = self.roots.get(&name.to_lowercase()).cloned().flatten();
            }
            let place = Place::From(image);
            if let Base::Image(name) = &base
                && self.stages.is_image(name, &place)
            {
                root = Some(name.clone());
            }
            self.show(base, instruction, place);
        }
        let name = match (words.next(), words.next()) {
            (Some(word), Some(name)) if args[word.clone()].eq_ignore_ascii_case("as") => {
                Some(args[name].to_lowercase())
            }
            _ => None,
        };
        if let Some(name) = &name {
            self.stages.named.insert(name.clone(), Scope::default());
        }
        self.stages.count += 1;
        self.stage = Some(Stage { name, root, scope });
    }

    fn read(&mut self, instruction: &Instruction<'_>) {
        let args = instruction.args();
        let words = || quoted_words(args, self.values.escape);
        match (instruction.keyword, &mut self.stage) {
            (Keyword::Arg, None) => words().into_iter().for_each(|word| self.values.global_arg(word)),
            (Keyword::Arg, Some(stage)) => self.values.stage_args(&words(), &mut stage.scope),
            (Keyword::Env, Some(stage)) => self.values.env(args, &words(), &mut stage.scope),
            (Keyword::Copy | Keyword::Add | Keyword::Run, _) => {
                let (flags, _) = flags(args);
                for flag in &flags {
                    for image in images_of_flag(&flag.text, instruction.keyword == Keyword::Run) {
                        let scope = self.stage.as_ref().map(|stage| &stage.scope);
                        let base = self.resolve(&flag.text[image.clone()], Some(scope.unwrap_or(&Scope::default())));
                        self.show(base, instruction, Place::Flag(flag, image));
                    }
                }
            }
            _ => {}
        }
    }

    fn resolve(&self, word: &str, stage: Option<&Scope>) -> Base {
        match self.values.fill(word, stage) {
            Some(filled) if !filled.unset && !filled.unknown && !filled.text.is_empty() => Base::Image(filled.text),
            _ => Base::Unresolved(word.to_owned()),
        }
    }

    fn show(&mut self, base: Base, instruction: &Instruction<'_>, place: Place<'_>) {
        let is_image = match &base {
            Base::Image(name) => self.stages.is_image(name, &place),
            Base::Unresolved(_) => true,
        };
        if is_image {
            (self.see)(
                &self.stages,
                Use {
                    base,
                    instruction,
                    place,
                },
            );
        }
    }
}
