use super::*;
use crate::config::Pattern;
use crate::config::load::tests::checked;
use crate::model::Template;
use proptest::prelude::*;
use rstest::rstest;

/// A project with an image that has these lines.
fn project(lines: &str) -> Project {
    let text = format!(
        "workdir = \"/w\"\n[projects.ruby]\nremote = \"https://u:hunter2@h/x\"\n\
         env = {{ HOST = \"r.io\", NONE = \"\" }}\n{lines}"
    );
    let loaded = checked("p.toml", &text).unwrap_or_else(|e| panic!("{text}: {e}"));
    loaded.config.projects.into_values().next().unwrap()
}

fn released(release: &str) -> Project {
    project(&format!("image = {{ test = \"t\", release = \"{release}\" }}"))
}

fn reference(name: &str) -> RefName {
    RefName::new(name).unwrap()
}

fn main_could(project: &Project, target: &str) -> bool {
    project.could_release(&reference("refs/heads/Main_1"), &ImageRef::parse(target).unwrap())
}

#[rstest]
// The same, however it is written.
#[case("r.io/a:1", "r.io/a:1", true)]
#[case("r.io/a", "r.io/a:latest", true)]
#[case("a", "docker.io/library/a:latest", true)]
#[case("library/a:latest", "a", true)]
#[case("index.docker.io/a", "a", true)]
#[case("registry-1.docker.io/u/a:1", "u/a:1", true)]
#[case("localhost/a", "localhost/a:latest", true)]
#[case("r.io/a:1", "r.io/a:2", false)]
#[case("r.io/a", "r.io/a/b", false)]
#[case("r.io/a", "a", false)]
#[case("a", "r.io/library/a", false)]
#[case("localhost/a", "a", false)]
// By its digest alone it is not what a tag is moved to.
#[case(
    "r.io/a:1",
    "r.io/a@sha256:0000000000000000000000000000000000000000000000000000000000000000",
    false
)]
// What is known of a job.
#[case("r.io/${BUILD_PROJECT}", "r.io/ruby", true)]
#[case("r.io/${CI_PROJECT_NAME}", "r.io/other", false)]
#[case("r.io/a:${BUILD_REF_NAME}", "r.io/a:Main_1", true)]
#[case("r.io/a:${CI_COMMIT_REF_NAME}", "r.io/a:main", false)]
#[case("r.io/a:${CI_COMMIT_BRANCH}", "r.io/a:Main_1", true)]
#[case("r.io/a:${BUILD_REF_SLUG}", "r.io/a:main-1", true)]
#[case("r.io/a:${CI_COMMIT_REF_SLUG}", "r.io/a:Main_1", false)]
#[case("r.io/a:${BUILD_REF_TYPE}", "r.io/a:branch", true)]
#[case("r.io/a:${BUILD_REF_TYPE}", "r.io/a:tag", false)]
#[case("r.io/${BUILD_IMAGE_NAME}:x", "r.io/ruby:x", true)]
#[case("r.io/${BUILD_IMAGE_NAME}:x", "r.io/rubi:x", false)]
#[case("r.io/a:${CI}", "r.io/a:true", true)]
#[case("${HOST}/a", "r.io/a", true)]
#[case("${HOST}/a", "q.io/a", false)]
#[case("r.io/a${NONE}:1", "r.io/a:1", true)]
// A variable's value may be any part of it.
#[case("r.io/a:${BUILD_COMMIT}", "r.io/a:abc", true)]
#[case("r.io/a:${BUILD_COMMIT}", "r.io/b:abc", false)]
#[case("r.io/a:v${BUILD_NUMBER}-x", "r.io/a:v12-x", true)]
#[case("r.io/a:v${BUILD_NUMBER}-x", "r.io/a:v-x", true)]
#[case("r.io/a:v${BUILD_NUMBER}-x", "r.io/a:v-", false)]
#[case("a${BUILD_NUMBER}", "a1", true)]
#[case("a${BUILD_NUMBER}", "docker.io/library/a1:7", true)]
#[case("a${BUILD_NUMBER}", "r.io/a1:7", false)]
#[case("a${BUILD_NUMBER}", "a.b/x", true)]
#[case("r.io/${BUILD_NUMBER}/${BUILD_REASON}:1", "r.io/x/y/z:1", true)]
#[case("r.io/${BUILD_NUMBER}/${BUILD_REASON}:1", "r.io/x:1", false)]
fn what_a_template_could_come_to(#[case] template: &str, #[case] target: &str, #[case] could: bool) {
    assert_eq!(main_could(&released(template), target), could);
}

#[test]
fn what_a_file_may_say_is_not_known() {
    let with = |lines: &str, env: &str| {
        let mut project = project(&format!(
            "image = {{ test = \"t\", release = \"r.io/a:${{T}}\" }}\n{lines}"
        ));
        let table = |value: &str| EnvLayer::Table([("T".to_owned(), value.to_owned())].into());
        let layers = env.chars().map(|c| match c {
            'f' => EnvLayer::File("/e".into()),
            c => table(&c.to_string()),
        });
        project.env = layers.collect();
        (main_could(&project, "r.io/a:1"), main_could(&project, "r.io/a:other"))
    };
    let file = "env_file = \"/e\"";
    for (layers, expected) in [
        ("1", (true, false)),
        ("12", (false, false)),
        ("21", (true, false)),
        ("f1", (true, false)),
        ("f2", (false, false)),
        ("2f", (true, true)),
        ("f", (true, true)),
        // The daemon may have been started with it.
        ("", (true, true)),
    ] {
        assert_eq!(with(file, layers), expected, "{layers}");
    }
}

#[test]
fn a_ref_that_is_not_released_releases_nothing() {
    let of = |refs: &str, name: &str| {
        let project = project(&format!("image = {{ test = \"t\", release = \"r.io/a\"{refs} }}"));
        project.could_release(&reference(name), &ImageRef::parse("r.io/a").unwrap())
    };
    for (refs, name, could) in [
        ("", "refs/heads/main", true),
        ("", "refs/heads/dev", true),
        ("", "refs/tags/v1", false),
        (", release_refs = [\"main\", \"v*\"]", "refs/heads/main", true),
        (", release_refs = [\"main\", \"v*\"]", "refs/tags/v1", true),
        (", release_refs = [\"main\", \"v*\"]", "refs/heads/dev", false),
        (", release_refs = []", "refs/heads/main", false),
    ] {
        assert_eq!(of(refs, name), could, "{refs} {name}");
    }
    assert!(!main_could(&project("image = {}"), "r.io/a"), "it is released nowhere");
    assert!(!main_could(&project(""), "r.io/a"), "there is no image");
}

#[test]
fn a_ref_of_odd_bytes_has_odd_names() {
    let project = released("r.io/a:x${BUILD_REF_SLUG}");
    let odd = RefName::new(b"refs/heads/a\xffb".to_vec()).unwrap();
    assert!(project.could_release(&odd, &ImageRef::parse("r.io/a:xa-b").unwrap()));
}

/// As a job does it, with these values for what no config tells.
fn rendered(image: &Image, project: &Project, reference: &RefName, values: &[String]) -> Vec<String> {
    let value = |name: &str| {
        let place = ["BUILD_COMMIT", "BUILD_NUMBER", "X"].iter().position(|n| *n == name);
        place.map_or_else(|| image.known(project, reference, name), |i| Some(values[i].clone()))
    };
    let all = image.release.iter();
    all.map(|template| template.render(value).unwrap()).collect()
}

/// A piece of a template: text, what is known, what is not.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a1/:.]{1,2}|library/|docker[.]io/|index[.]docker[.]io/|localhost/|:latest|/|:",
        prop::sample::select(vec![
            "${BUILD_PROJECT}",
            "${BUILD_REF_NAME}",
            "${BUILD_REF_SLUG}",
            "${BUILD_REF_TYPE}",
            "${BUILD_IMAGE_NAME}",
            "${HOST}",
            "${NONE}",
            "${BUILD_COMMIT}",
            "${BUILD_NUMBER}",
            "${X}",
            "${X}",
        ])
        .prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_a_job_comes_to_was_possible(
        pieces in prop::collection::vec(piece(), 1..6),
        values in prop::collection::vec("[a1]{0,2}(|/|:|[.])[b2]{0,2}|docker[.]io|library|latest|:latest|", 3),
        branch in "[a-zA-Z][a-z0-9./_]{0,5}[a-z]",
    ) {
        let Ok(reference) = RefName::new(format!("refs/heads/{branch}")) else { return Ok(()) };
        let mut project = project("image = {}");
        project.images[0].release = Template::new(pieces.concat()).into_iter().collect();
        project.images[0].release_refs = Some(vec![Pattern::new("**").unwrap()]);
        for text in rendered(&project.images[0], &project, &reference, &values) {
            if let Ok(target) = ImageRef::parse(&text) {
                prop_assert!(project.could_release(&reference, &target), "{} of {:?}", target, pieces);
            }
        }
    }

    /// Whatever parts of a reference stand in variables, and in whichever way it is written.
    #[test]
    fn any_part_may_come_from_a_variable(
        host in "(|[aZ]{1,2}[.]b/|localhost/|a:[1-9][0-9]{0,2}/|docker[.]io/|index[.]docker[.]io/|registry-1[.]docker[.]io/)",
        path in "(|library/)[a1]{1,2}(([.]|_|-{1,2}|/)[b2]{1,2}){0,2}",
        tag in "(|:latest|:[aZ_][aZ0._-]{0,3})",
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let text = format!("{host}{path}{tag}");
        let target = ImageRef::parse(&text).unwrap();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let template = format!("{}${{X}}{}${{Y}}{}", &text[..cuts[0]], &text[cuts[1]..cuts[2]], &text[cuts[3]..]);
        let mut project = project("image = {}");
        for template in [template, text] {
            project.images[0].release = vec![Template::new(template.clone()).unwrap()];
            prop_assert!(main_could(&project, &target.to_string()), "{} of {}", template, target);
        }
    }
}
