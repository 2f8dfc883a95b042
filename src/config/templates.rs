//! Templates of a project, seen with the variables that will be there.
//!
//! It must never let a template through whose variable is known to be missing when a job runs.

use super::raw_project::Templates;
use super::reader::At;
use super::resolve_project::Scope;
use super::variables::{is_known, nearest};
use super::{Diagnostic, EnvLayer};
use crate::model::{CALLBACK_VARIABLES, Template};
use std::collections::BTreeMap;

/// Where a template's variables are looked for.
pub(super) struct TemplateScope<'a> {
    pub(super) layers: &'a [EnvLayer],
    pub(super) scope: &'a Scope<'a>,
}

impl TemplateScope<'_> {
    /// The project's own and, where it has none of that name, the default's.
    pub(super) fn merge(&self, own: Templates, defaults: &Templates) -> BTreeMap<String, Template> {
        let mut all = defaults.clone();
        all.extend(own);
        all.into_iter()
            .map(|(name, template)| (name, self.check(template)))
            .collect()
    }

    /// Notes each variable that will not be there when the template is filled in.
    pub(super) fn check(&self, template: At<Template>) -> Template {
        for name in template.value.variables() {
            if is_known(name, self.layers, self.scope.inherited) {
                continue;
            }
            let error = Diagnostic::error(template.span.clone(), format!("there is no variable `{name}`"));
            self.scope.notes.push(if CALLBACK_VARIABLES.contains(&name) {
                error.help("only callbacks see it")
            } else if let Some(meant) = nearest(name, self.layers) {
                error.help(format!("did you mean `{meant}`?"))
            } else {
                error.help("set it in `env` or in an `env_file`; write $$ for a dollar")
            });
        }
        template.value
    }
}
