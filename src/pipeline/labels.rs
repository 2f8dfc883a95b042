//! What an image says about its own origin: labels, and annotations of its manifest.
//!
//! A parent's values are overwritten, never trusted: an image without a base says so by an empty value.

use crate::model::{BaseUsed, Job, JobId, mask_url};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What is known when an image is built.
pub(super) struct Origin<'a> {
    pub job: &'a Job,
    pub remote: &'a str,
    /// All that it builds FROM.
    pub bases: &'a [BaseUsed],
    /// With what it is released.
    pub wave: JobId,
    /// The name of the one that its last stage stands on.
    pub final_base: Option<&'a str>,
    /// The commit's time, if the image is to be the same whenever it is built: then nothing of this run may be in it.
    pub source_date: Option<Timestamp>,
}

impl Origin<'_> {
    /// The keys of the image-spec ("Pre-Defined Annotation Keys") and our own.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let job = self.job;
        let created = self.source_date.unwrap_or_else(Timestamp::now);
        let base = self
            .final_base
            .and_then(|name| self.bases.iter().find(|base| base.name == name));
        let base_name = base.map(|base| base.reference.as_ref().map_or(base.name.clone(), ToString::to_string));
        let mut labels = self.own();
        labels.extend(
            [
                ("created", format!("{created:.0}")),
                ("source", mask_url(self.remote)),
                ("revision", job.commit.to_string()),
                ("ref.name", job.reference.short().to_string()),
                ("base.name", base_name.unwrap_or_default()),
                ("base.digest", base.and_then(digest).unwrap_or_default()),
            ]
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value)),
        );
        labels
    }

    fn own(&self) -> BTreeMap<String, String> {
        let job = self.job;
        let mut own = vec![("project", job.project.to_string()), ("bases", self.bases_json())];
        if self.source_date.is_none() {
            own.push(("job", job.number.to_string()));
            own.push(("reason", job.reason.as_str().to_owned()));
            own.push(("wave", self.wave.to_string()));
        }
        own.into_iter()
            .map(|(key, value)| (format!("pipelined.{key}"), value))
            .collect()
    }

    /// `[{"name": …, "digest": …}, …]`
    fn bases_json(&self) -> String {
        let bases: Vec<_> = self
            .bases
            .iter()
            .map(|base| serde_json::json!({ "name": base.name, "digest": digest(base) }))
            .collect();
        serde_json::Value::from(bases).to_string()
    }
}

/// The digest by which a registry knows the base, else the image's id.
fn digest(base: &BaseUsed) -> Option<String> {
    let known = base.digests.first().or(base.id.as_ref());
    known.map(ToString::to_string)
}
