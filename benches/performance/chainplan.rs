//! What the planner does with ten thousand images that stand on each other, with no daemon around it, beside
//! `make --dry-run` that has the same to decide.

use crate::forest::{Forest, IMAGES, Shape};
use crate::load;
use crate::note::Table;
use crate::played::{Played, Told, play};
use crate::stats::{Pair, Pairs, median, ms, round};
use crate::support::scratch::Scratch;
use pipelined::model::State;
use pipelined::reconcile::{Event, graph, handle};
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A wave is played for so long at most.
const LONGEST_WAVE: Duration = Duration::from_secs(60);

/// Wall and CPU of something, and what it gave.
fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let cpu = || load::of_process(std::process::id().try_into().unwrap()).unwrap();
    let (before, begin) = (cpu(), Instant::now());
    let made = what();
    let wall = begin.elapsed();
    (made, wall, cpu() - before)
}

/// Of each shape the graph, the start, one release, and a whole wave.
pub fn ten_thousand(rounds: usize) -> String {
    let mut table = Table::new(["10,000 images", "20 trees, 6 deep", "one chain", "one star"]);
    let shapes = [Shape::Trees, Shape::Chain, Shape::Star];
    let figures = shapes.map(|shape| Figures::of(shape, rounds));
    for (title, figure) in FIGURES {
        let [first, second, third] = figures.each_ref().map(figure);
        table.row([(*title).to_owned(), first, second, third]);
    }
    table.into_text() + &format!("\n{rounds} rounds; each wave is played once.\n")
}

/// What was measured of one shape; milliseconds.
struct Figures {
    graph: (f64, f64),
    start: (f64, f64),
    release: (f64, f64),
    queued: usize,
    pairs: Pairs,
    printed: usize,
    played: Played,
    peak: f64,
}

impl Figures {
    fn of(shape: Shape, rounds: usize) -> Self {
        // What was used at most from now on.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let forest = Forest::new(shape);
        let quiet = forest.state();
        let make = Makefile::new(&forest);
        let (mut graphs, mut starts, mut releases, mut pairs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut queued, mut printed) = (0, 0);
        for _ in 0..rounds {
            let mut state = quiet.clone();
            let (start, wall, cpu) = timed(|| handle(&mut state, &forest.config, forest.now(0), Event::Recovered));
            starts.push((ms(wall), ms(cpu)));
            drop(start);
            // As it is when the attempt of the root is about to end: it has learned what it stands on.
            let end = forest.root_is_built(&mut state);
            let (made, graph_wall, graph_cpu) = timed(|| graph(&state, &forest.config));
            graphs.push((ms(graph_wall), ms(graph_cpu)));
            assert_eq!(made.nodes().len(), IMAGES);
            let (decision, wall, cpu) = timed(|| handle(&mut state, &forest.config, forest.now(9), end));
            releases.push((ms(wall), ms(cpu)));
            drop(decision);
            queued = state.jobs.len();
            let (lines, git) = make.dry_run();
            printed = lines;
            pairs.push(Pair {
                ours: ms(graph_cpu + cpu),
                git,
            });
        }
        let peak = load::status(std::process::id().try_into().unwrap(), "VmHWM") / 1024.0;
        let mut state: State = quiet;
        handle(&mut state, &forest.config, forest.now(0), Event::Recovered);
        let played = play(&forest, &mut state, LONGEST_WAVE);
        Self {
            graph: middle(&graphs),
            start: middle(&starts),
            release: middle(&releases),
            queued,
            pairs: Pairs(pairs),
            printed,
            played,
            peak,
        }
    }
}

fn middle(costs: &[(f64, f64)]) -> (f64, f64) {
    let of = |part: fn(&(f64, f64)) -> f64| median(&costs.iter().map(part).collect::<Vec<_>>());
    (of(|cost| cost.0), of(|cost| cost.1))
}

fn both((wall, cpu): (f64, f64)) -> String {
    format!("{} ({})", round(wall), round(cpu))
}

type Figure = fn(&Figures) -> String;

const FIGURES: &[(&str, Figure)] = &[
    ("the start, ms", |f| both(f.start)),
    ("the graph from nothing, ms", |f| both(f.graph)),
    ("a root is released: until its dependents are queued, ms", |f| {
        both(f.release)
    }),
    ("jobs that this queues", |f| f.queued.to_string()),
    ("`make --dry-run` of the same, CPU, ms", |f| round(f.pairs.git())),
    ("what it prints, lines", |f| f.printed.to_string()),
    ("make / (graph + release), CPU", |f| f.pairs.ratio_text()),
    ("a whole wave: jobs", |f| f.played.title()),
    ("of each job, ms", |f| round(ms(f.played.each()))),
    ("that is: what it has learned", |f| {
        round(ms(f.played.mean(Told::Learned)))
    }),
    ("its plan for the release", |f| {
        round(ms(f.played.mean(Told::Releasing)))
    }),
    ("its end, with the start of the next, ms", |f| {
        round(ms(f.played.mean(Told::Ended)))
    }),
    ("jobs at the same time, at most", |f| f.played.queue.to_string()),
    ("the longest decision, ms", |f| round(ms(f.played.longest))),
    ("peak memory, MiB", |f| round(f.peak)),
];

/// The same graph for make, with files that are all older than what is done with the root.
struct Makefile {
    scratch: Scratch,
}

impl Makefile {
    fn new(forest: &Forest) -> Self {
        let scratch = Scratch::new();
        let mut text = "all:".to_owned();
        (0..IMAGES).for_each(|n| write!(text, " {}", forest.name(n)).unwrap());
        text.push('\n');
        for n in 0..IMAGES {
            let on = forest.parent(n).map_or_else(|| "base".to_owned(), |up| forest.name(up));
            write!(text, "{}: {on}\n\tbuild {}\n", forest.name(n), forest.name(n)).unwrap();
            scratch.write(forest.name(n), "");
        }
        scratch.write("base", "");
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let touch = |name: &str, at| {
            std::fs::File::options()
                .append(true)
                .open(scratch.join(name))
                .unwrap()
                .set_modified(at)
                .unwrap()
        };
        (0..IMAGES).for_each(|n| touch(&forest.name(n), old));
        touch("base", old);
        // The root itself is built, and new.
        touch(&forest.name(0), old + Duration::from_secs(60));
        scratch.write("Makefile", text);
        Self { scratch }
    }

    /// How many lines it prints, and its CPU in milliseconds.
    fn dry_run(&self) -> (usize, f64) {
        let before = load::of_our_children();
        let output = dry_run(self.scratch.path());
        (output, ms(load::of_our_children() - before))
    }
}

fn dry_run(dir: &Path) -> usize {
    let mut command = Command::new("make");
    command.args(["--dry-run", "--no-builtin-rules", "--no-builtin-variables", "all"]);
    let output = command
        .current_dir(dir)
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}
