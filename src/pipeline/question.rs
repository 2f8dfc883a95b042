//! What a project's remote is asked with, outside of jobs. Errors of such a question are shown to people, so it must
//! never have a secret that could not be masked in them.

use super::env::project_variables_and_secrets;
use crate::config::Project;
use crate::git::Question;

/// The question for the project's refs, as far as its env files can be read now.
pub fn question(project: &Project) -> Question {
    let (variables, secrets) = project_variables_and_secrets(project);
    let question = Question::new(&project.remote, variables).with_secrets(secrets);
    if let Err(error) = question.masks() {
        // Its jobs fail with the same words.
        tracing::warn!(project = %project.name, %error, "the remote is asked without the variables of the env_file");
        return question.without_secrets();
    }
    question
}
