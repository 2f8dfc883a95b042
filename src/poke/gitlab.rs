//! How a pipeline of GitLab is triggered: a form with the token in its body, where no log of a proxy has it.

use crate::model::{Poke, Template};
use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

/// GitLab wants the slashes of a project's path encoded; what RFC 3986 calls unreserved is not.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where pipelines of a project are triggered.
pub(super) fn url(base: &str, project: &str) -> String {
    let project = utf8_percent_encode(project, ENCODED);
    format!("{base}/api/v4/projects/{project}/trigger/pipeline")
}

/// The body.
pub(super) fn form(poke: &Poke, reference: &str, token: &str, variables: &BTreeMap<String, Template>) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("token", token).append_pair("ref", reference);
    for (name, template) in variables {
        // The config was refused if it names any other variable.
        let value = template.render(|name| Some(variable(poke, name))).unwrap_or_default();
        form.append_pair(&format!("variables[{name}]"), &value);
    }
    form.finish()
}

/// [`crate::config::POKE_VARIABLES`], each as a job has it.
fn variable(poke: &Poke, name: &str) -> String {
    let node = &poke.node;
    match name {
        "BUILD_PROJECT" => node.project.to_string(),
        "BUILD_REF" => node.reference.to_string(),
        "BUILD_REF_NAME" => node.reference.short().to_string(),
        "BUILD_COMMIT" => poke.commit.to_string(),
        "BUILD_SHORT_COMMIT" => poke.commit.short().to_owned(),
        "BUILD_IMAGE_NAME" => node.image.to_string(),
        "BUILD_IMAGE" => poke.image.to_string(),
        "BUILD_IMAGE_DIGEST" => poke.digest.as_ref().map_or_else(String::new, ToString::to_string),
        "BUILD_WAVE" => poke.wave.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::POKE_VARIABLES;
    use crate::poke::send::tests::poke;

    #[test]
    fn every_variable_that_the_config_allows_has_a_value() {
        for name in POKE_VARIABLES {
            assert_ne!(variable(&poke(), name), "", "{name}");
        }
    }

    #[test]
    fn paths_are_one_segment_and_values_are_whole() {
        assert_eq!(
            url("https://h/gitlab", "a b/c.d"),
            "https://h/gitlab/api/v4/projects/a%20b%2Fc.d/trigger/pipeline"
        );
        let value = Template::new("${BUILD_IMAGE} & more=$$1").unwrap();
        let form = form(&poke(), "ma/in", "t&k", &[("BASE".to_owned(), value)].into());
        let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [
            pair("token", "t&k"),
            pair("ref", "ma/in"),
            pair("variables[BASE]", "r.io/ruby:1 & more=$1"),
        ];
        assert_eq!(pairs, expected);
    }
}
