//! Images that we have no record of: whether they are where they would be released, and what they stand on.

use crate::common::Bench;
use crate::made::Made;
use crate::support::repo::Repo;
use crate::support::servers::faults::Fault;
use pipelined::config::{Overrides, Project, load};
use pipelined::model::{CheckError, CommitId, Evidence, ImageRef, Node, ProjectName, RefName, Standing, Used};
use pipelined::updates::look_elsewhere;
use rstest::rstest;
use serde_json::json;

/// A project on a repository with one image.
struct Site {
    bench: Bench,
    repo: Repo,
    /// Whether its checkouts have no history.
    shallow: bool,
    /// Of the image's table.
    image: String,
}

impl Site {
    fn new() -> Self {
        Self::of(Bench::new())
    }

    fn of(bench: Bench) -> Self {
        let repo = Repo::new(bench.scratch.join("repo"));
        repo.commit(&[("Containerfile", "FROM base\n")]);
        let image = format!("release = [\"{}/ruby:${{BUILD_REF_SLUG}}\"]", bench.proxy.host());
        Self {
            bench,
            repo,
            shallow: false,
            image,
        }
    }

    fn project(&self) -> Project {
        let remote = self.repo.path().display();
        let toml = format!(
            "workdir = \"work\"\n[projects.p]\nremote = \"{remote}\"\nshallow = {}\nenv = {{ VERSION = \"3\" }}\n\
             env_file = \"secrets\"\n[projects.p.image]\n{}\n",
            self.shallow, self.image
        );
        self.bench.scratch.write("secrets", "TOKEN=hunter2hunter2\n");
        let path = self.bench.scratch.write("pipelined.toml", toml);
        let loaded = load(&path, &Overrides::default());
        let mut config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
        let mut project = config.projects.remove(&ProjectName::new("p").unwrap()).unwrap();
        let env = self.bench.env.iter();
        let env = env.map(|(name, value)| (name.to_str().unwrap().to_owned(), value.to_str().unwrap().to_owned()));
        project.env.push(pipelined::config::EnvLayer::Table(env.collect()));
        project
    }

    async fn look_on(&self, reference: &str) -> Result<Option<Standing>, CheckError> {
        let project = self.project();
        let node = Node {
            project: project.name.clone(),
            reference: RefName::new(reference).unwrap(),
            image: project.images[0].name.clone(),
        };
        let commit = CommitId::new(self.repo.rev(reference)).unwrap();
        let tools = self.bench.tools.clone();
        // As the daemon does it: on a task of its own.
        let looking = async move { look_elsewhere(&tools, &project, &project.images[0], &node, &commit).await };
        tokio::spawn(looking).await.unwrap()
    }

    async fn look(&self) -> Result<Option<Standing>, CheckError> {
        self.look_on("refs/heads/main").await
    }

    async fn found(&self) -> Standing {
        self.look().await.unwrap().unwrap()
    }

    fn push(&self, image: &Made) {
        self.bench.repository("ruby").push_as("main", image);
    }
}

/// What each of these is on, by its evidence.
fn on(standing: &Standing) -> (Evidence, Vec<&str>) {
    let names = standing.bases.iter().map(|base| base.name.as_str());
    (standing.evidence, names.collect())
}

#[tokio::test]
async fn what_is_not_there_is_not_there() {
    let site = Site::new();
    assert_eq!(site.look().await, Ok(None));
    assert_eq!(site.bench.asked(), ["HEAD main"]);
    // Nor is what this ref would not release.
    site.repo.git(&["branch", "dev"]);
    site.bench.repository("ruby").push_as("dev", &Made::new(&["a"]));
    assert_eq!(site.look_on("refs/heads/dev").await, Ok(None));
    assert_eq!(site.bench.asked(), [""; 0]);
}

#[tokio::test]
async fn refs_that_release_by_the_config() {
    let mut site = Site::new();
    site.image += "\nrelease_refs = [\"dev/*\"]";
    site.push(&Made::new(&["a"]));
    assert_eq!(site.look().await, Ok(None));
    site.repo.branch("dev/1");
    site.bench.repository("ruby").push_as("dev-1", &Made::new(&["a"]));
    let standing = site.look_on("refs/heads/dev/1").await.unwrap().unwrap();
    assert_eq!(standing.released, [site.bench.reference("ruby:dev-1")]);
}

#[tokio::test]
async fn by_our_own_labels() {
    let site = Site::new();
    let (base, tool) = (Made::new(&["base"]).digest(), Made::new(&["tool"]).digest());
    let local = Made::new(&["local"]).id();
    let bases = json!([
        { "name": "r.example.org/base:1", "digest": base },
        { "name": "tool", "digest": tool },
        { "name": "localhost/l", "digest": local },
    ]);
    let mut image = Made::new(&["base", "ruby"]);
    image.config = json!({ "Labels": { "pipelined.project": "p", "pipelined.bases": bases.to_string() } });
    let before = jiff::Timestamp::now();
    site.push(&image);
    let standing = site.found().await;
    assert_eq!(
        on(&standing),
        (Evidence::OurLabels, vec!["r.example.org/base:1", "tool", "localhost/l"])
    );
    assert_eq!(standing.bases[0].digests, [base]);
    assert_eq!(standing.bases[1].reference, ImageRef::parse("tool").ok());
    assert_eq!(
        (&standing.bases[2].id, standing.bases[2].digests.len()),
        (&Some(local), 0)
    );
    assert_eq!(standing.bases[0].platform.as_deref(), Some(image.platform.as_str()));
    assert_eq!((standing.job, standing.commit.to_string()), (None, site.repo.head()));
    assert_eq!((standing.id, standing.digest), (Some(image.id()), Some(image.digest())));
    assert_eq!(standing.released, [site.bench.reference("ruby:main")]);
    assert!(standing.verified >= before && standing.layers.is_empty());
    // Four requests at most, and no clone.
    assert_eq!(site.bench.asked(), ["HEAD main", "GET manifest", "GET blob"]);
    assert!(!site.bench.tools.layout.mirrors().exists());

    // What another project's build says, it says of what this image stands on.
    image.config = json!({ "Labels": {
        "pipelined.project": "q", "pipelined.bases": bases.to_string(),
        "org.opencontainers.image.base.name": "r.example.org/grandparent:1",
    } });
    site.push(&image);
    assert_eq!(on(&site.found().await), (Evidence::Layers, vec!["base"]));
}

#[tokio::test]
async fn by_the_labels_of_others() {
    let site = Site::new();
    let digest = Made::new(&["base"]).digest();
    let mut image = Made::new(&["base", "ruby"]);
    let mut texts = [
        ("name", "r.example.org/base:1".to_owned()),
        ("digest", digest.to_string()),
    ]
    .map(|(key, value)| (format!("org.opencontainers.image.base.{key}"), value));
    image.config = json!({ "Labels": texts.clone().into_iter().collect::<std::collections::BTreeMap<_, _>>() });
    site.push(&image);
    let standing = site.found().await;
    assert_eq!(on(&standing), (Evidence::BaseLabels, vec!["r.example.org/base:1"]));
    assert_eq!(
        (standing.bases[0].digests.clone(), &standing.bases[0].id),
        (vec![digest], &None)
    );

    // An annotation of the manifest is its own, and a label may be inherited.
    texts[0].1 = "r.example.org/other:1".to_owned();
    image.annotations = texts.clone().into_iter().collect();
    site.push(&image);
    assert_eq!(
        on(&site.found().await),
        (Evidence::BaseLabels, vec!["r.example.org/other:1"])
    );

    // A name alone does not say which state of it.
    image.annotations.remove("org.opencontainers.image.base.digest");
    site.push(&image);
    let standing = site.found().await;
    assert_eq!(on(&standing), (Evidence::Layers, vec!["r.example.org/other:1"]));
    assert_eq!(standing.layers, image.diff_ids());
}

/// An image says nothing; its Containerfile does, and the base that it names is looked at by layers.
#[tokio::test]
async fn by_its_first_layers() {
    let mut site = Site::new();
    let base = site.bench.reference("base:3");
    let name = base.to_string();
    let host = site.bench.proxy.host();
    site.image += "\nbuild_args = { BASE = \"base:${VERSION}\" }\nfile = \"./images/ruby/Containerfile\"";
    let text = format!("ARG BASE=none\nFROM tool AS tool\nFROM {host}/$BASE\nCOPY --from=tool / /\n");
    site.repo.commit(&[("images/ruby/Containerfile", &text)]);
    let image = Made::new(&["a", "b", "c"]);
    site.push(&image);
    let standing = site.found().await;
    assert_eq!(on(&standing), (Evidence::Layers, vec![name.as_str()]));
    assert_eq!((&standing.layers, standing.bases.len()), (&image.diff_ids(), 1));
    // Which is then compared with what is there.
    let used = [Used {
        base: standing.bases[0].clone(),
        layers: Some(standing.layers.clone()),
    }];
    for (layers, same) in [(&["a", "b"], true), (&["a", "x"], false)] {
        site.bench.repository("base").push_as("3", &Made::new(layers));
        let (_, compared) = site.bench.look_at(base.clone(), &used, None).await.unwrap();
        assert_eq!(compared[0].same, same, "{compared:?}");
    }
}

#[rstest]
#[case("FROM scratch\nCOPY a /a\n", Ok(vec![]))]
#[case("FROM 0123456789ab\n", Ok(vec!["0123456789ab"]))]
#[case("FROM $NOBODY_KNOWS\n", Err("$NOBODY_KNOWS"))]
#[case("FROM a:$TOKEN\n", Err("a:$TOKEN"))]
#[tokio::test]
async fn what_a_containerfile_tells(#[case] text: &str, #[case] expected: Result<Vec<&str>, &str>) {
    let site = Site::new();
    site.repo.commit(&[("Containerfile", text)]);
    site.push(&Made::new(&["a"]));
    match (site.look().await, expected) {
        (Ok(Some(standing)), Ok(expected)) => assert_eq!(on(&standing), (Evidence::Layers, expected)),
        (Err(error), Err(part)) => assert!(error.message.contains(part), "{error:?}"),
        (looked, expected) => panic!("{looked:?} and not {expected:?}"),
    }
}

/// The commit has none, or what is in its place leads out of the repository.
#[rstest]
#[case::none(None, "has no Containerfile to tell")]
#[case::out(Some("../../etc/passwd"), "leads out")]
#[case::absolute(Some("/etc/passwd"), "leads out")]
#[case::circle(Some("Containerfile"), "circle")]
#[case::directory(Some("dir"), "not a regular file")]
#[case::dangling(Some("nothing"), "has no Containerfile to tell")]
#[tokio::test]
async fn no_containerfile(#[case] link: Option<&str>, #[case] part: &str) {
    let site = Site::new();
    std::fs::remove_file(site.repo.path().join("Containerfile")).unwrap();
    if let Some(to) = link {
        std::os::unix::fs::symlink(to, site.repo.path().join("Containerfile")).unwrap();
    }
    site.repo.commit(&[("dir/a", "FROM a\n")]);
    site.push(&Made::new(&["a"]));
    let error = site.look().await.unwrap_err();
    assert!(error.message.contains(part), "{error:?}");
}

#[rstest]
#[tokio::test]
async fn a_containerfile_by_another_name(#[values(false, true)] shallow: bool) {
    let mut site = Site::new();
    site.shallow = shallow;
    site.push(&Made::new(&["a"]));
    site.repo.git(&["mv", "Containerfile", "Dockerfile"]);
    std::fs::create_dir_all(site.repo.path().join("sub")).unwrap();
    std::os::unix::fs::symlink("../Dockerfile", site.repo.path().join("sub/link")).unwrap();
    site.repo.commit::<&str>(&[]);
    assert_eq!(on(&site.found().await), (Evidence::Layers, vec!["base"]));
    site.image += "\nfile = \"sub/link\"";
    assert_eq!(on(&site.found().await), (Evidence::Layers, vec!["base"]));
    // The mirror is no more than a shortcut.
    let mirrors = site.bench.tools.layout.mirrors();
    let mirror = std::fs::read_dir(&mirrors).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_dir_all(mirror.join("objects")).unwrap();
    assert_eq!(on(&site.found().await), (Evidence::Layers, vec!["base"]));
}

/// A remote that is away is trouble, and not an image that stands on nothing.
#[tokio::test]
async fn a_remote_that_is_away() {
    let mut site = Site::new();
    site.image += "\nrelease_refs = [\"main\"]";
    site.push(&Made::new(&["a"]));
    let project = site.project();
    let commit = CommitId::new(site.repo.head()).unwrap();
    let node = Node {
        project: project.name.clone(),
        reference: RefName::new("refs/heads/main").unwrap(),
        image: project.images[0].name.clone(),
    };
    std::fs::rename(site.repo.path(), site.bench.scratch.join("away")).unwrap();
    let looked = look_elsewhere(&site.bench.tools, &project, &project.images[0], &node, &commit).await;
    assert!(looked.is_err(), "{looked:?}");
    std::fs::rename(site.bench.scratch.join("away"), site.repo.path()).unwrap();
    assert!(site.look().await.unwrap().is_some());
    // A commit that is gone is trouble too.
    let gone = CommitId::new("1234567890123456789012345678901234567890").unwrap();
    let looked = look_elsewhere(&site.bench.tools, &project, &project.images[0], &node, &gone).await;
    assert!(looked.unwrap_err().message.contains("does not give commit"));
}

#[tokio::test]
async fn where_it_is_released_may_not_be_known() {
    let mut site = Site::new();
    let host = site.bench.proxy.host();
    site.image = format!("release = [\"{host}/ruby:${{BUILD_NUMBER}}\"]");
    let error = site.look().await.unwrap_err();
    assert!(error.message.contains("in each job"), "{error:?}");
    // What is the same for each job is looked for.
    site.image = format!("release = [\"{host}/ruby:${{BUILD_NUMBER}}\", \"localhost/ruby\", \"{host}/ruby:$VERSION\"]");
    site.bench.repository("ruby").push_as("3", &Made::new(&["a"]));
    let released = site.found().await.released;
    assert_eq!(
        released,
        [
            ImageRef::parse("localhost/ruby").unwrap(),
            site.bench.reference("ruby:3")
        ]
    );
    // A secret is never part of a name.
    site.image = format!("release = [\"{host}/ruby:${{TOKEN}}\"]");
    let error = site.look().await.unwrap_err();
    assert!(!error.message.contains("hunter2"), "{error:?}");
}

#[rstest]
#[case(Fault::Answer(500, String::new()))]
#[case(Fault::Answer(403, String::new()))]
#[case(Fault::Drop)]
#[tokio::test]
async fn a_registry_in_trouble_has_not_lost_it(#[case] fault: Fault) {
    let site = Site::new();
    site.push(&Made::new(&["a"]));
    for at in 0..3 {
        let mean = fault.clone();
        site.bench.asked();
        site.bench
            .proxy
            .set(move |request| (request.number >= at).then(|| mean.clone()));
        site.look().await.unwrap_err();
    }
    site.bench.proxy.set(|_| None);
    site.look().await.unwrap().unwrap();
}

#[tokio::test]
async fn in_an_index_it_is_the_image_of_this_machine() {
    let mut site = Site::new();
    site.image = format!("release = [\"{}/ruby:1\"]", site.bench.proxy.host());
    let (mine, other) = (Made::new(&["a"]), Made::on("linux/s390x", &["b"]));
    let repository = site.bench.repository("ruby");
    let digest = repository.push_index(&[&other, &mine]);
    let standing = site.found().await;
    assert_eq!((standing.digest, standing.id), (Some(digest), Some(mine.id())));
    assert_eq!(standing.layers, mine.diff_ids());
    repository.push_index(&[&other]);
    let error = site.look().await.unwrap_err();
    assert!(error.message.contains("has nothing for"), "{error:?}");
}

/// What is released under a local name only is in the engine's storage, with its labels.
#[tokio::test]
async fn in_the_storage_of_the_engine() {
    let (bench, podman) = Bench::with_podman();
    let mut site = Site::of(bench);
    site.image = "release = [\"localhost/ruby:1\"]".to_owned();
    assert_eq!(site.look().await, Ok(None));
    let digest = Made::new(&["base"]).digest();
    let bases = json!([{ "name": "r.example.org/base:1", "digest": digest }]).to_string();
    let build = |lines: &str| {
        let text = format!("FROM scratch\nCOPY Containerfile /\n{lines}");
        let file = site.bench.scratch.write("context/Containerfile", text);
        let dir = file.parent().unwrap().display().to_string();
        podman.run(&["build", "--quiet", "--tag", "localhost/ruby:1", &dir])
    };
    let label = format!("LABEL pipelined.project=p pipelined.bases='{bases}'\n");
    let id = build(&label);
    let standing = site.found().await;
    assert_eq!(on(&standing), (Evidence::OurLabels, vec!["r.example.org/base:1"]));
    assert_eq!((&standing.id, &standing.digest), (&standing.digest, &standing.id));
    assert_eq!(standing.id.unwrap().hex(), id.lines().last().unwrap());
    build("");
    assert_eq!(on(&site.found().await), (Evidence::Layers, vec!["base"]));
    assert_eq!(site.bench.asked(), [""; 0]);
    drop(podman);
}
