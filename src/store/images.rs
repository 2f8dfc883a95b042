//! The record of images: what became of each in a job, what is being released, and where release references point.

use super::open::{Store, StoreError, sql};
use super::rows::{self, from_json, get, json};
use super::write::execute;
use crate::model::{
    CommitId, Digest, ImageName, ImageRef, ImageResult, ImageStatus, JobId, ProjectName, RefName, Release, ReleasePlan,
};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::BTreeMap;

/// What became of an image in a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// Whose image.
    pub project: ProjectName,
    /// On which ref.
    pub reference: RefName,
    /// At which commit.
    pub commit: CommitId,
    /// In which job.
    pub job: JobId,
    /// In which wave.
    pub wave: JobId,
    /// When it was recorded.
    pub at: Timestamp,
    /// What became of it.
    pub result: ImageResult,
}

/// The columns that [`record`] reads, in its order.
const RECORD: &str = "project, ref, commit_id, job, at, image, status, image_results.note, fingerprint, image_id, digest, \
                      bases, released, alike, wave";

impl Store {
    /// Of each image of a project on each of its refs, the last build that was found good.
    pub fn last_good(&self, project: &ProjectName) -> Result<BTreeMap<(RefName, ImageName), ImageRecord>, StoreError> {
        let records = self.newest(Some(project), true)?;
        let keyed = records.into_iter();
        Ok(keyed
            .map(|r| ((r.reference.clone(), r.result.image.clone()), r))
            .collect())
    }

    /// The newest record of each image on each ref: of all of them, or of good builds only.
    fn newest(&self, project: Option<&ProjectName>, good: bool) -> Result<Vec<ImageRecord>, StoreError> {
        let statuses = ImageStatus::ALL.into_iter().filter(|status| status.is_good() || !good);
        self.newest_of(project, &statuses.collect::<Vec<_>>())
    }

    /// The newest record of each image on each ref among those with one of these statuses.
    pub(super) fn newest_of(
        &self,
        project: Option<&ProjectName>,
        statuses: &[ImageStatus],
    ) -> Result<Vec<ImageRecord>, StoreError> {
        let statuses: Vec<String> = statuses.iter().map(|status| format!("'{}'", status.as_str())).collect();
        let text = format!(
            "SELECT {RECORD} FROM image_results JOIN jobs ON jobs.id = job
             WHERE (job, image) IN (
                SELECT max(job), image FROM image_results JOIN jobs ON jobs.id = job
                WHERE (?1 IS NULL OR project = ?1) AND status IN ({}) GROUP BY project, ref, image)
             ORDER BY project, image, ref",
            statuses.join(", ")
        );
        self.rows(&text, [project.map(ProjectName::as_str)], record)
    }

    /// What became of the images of a job.
    pub fn images_of_job(&self, job: JobId) -> Result<Vec<ImageRecord>, StoreError> {
        let text =
            format!("SELECT {RECORD} FROM image_results JOIN jobs ON jobs.id = job WHERE job = ?1 ORDER BY image");
        self.rows(&text, [job.0], record)
    }

    /// Every image on every ref: its last good build, and its newest record, which may be the same one.
    pub fn images(&self, project: Option<&ProjectName>) -> Result<Vec<(Option<ImageRecord>, ImageRecord)>, StoreError> {
        let key = |r: &ImageRecord| (r.project.clone(), r.result.image.clone(), r.reference.clone());
        let good = self.newest(project, true)?;
        let mut good: BTreeMap<_, _> = good.into_iter().map(|record| (key(&record), record)).collect();
        let newest = self.newest(project, false)?.into_iter();
        Ok(newest.map(|record| (good.remove(&key(&record)), record)).collect())
    }

    /// Where these release references point, as far as we have moved them.
    pub fn releases<'a>(
        &self,
        references: impl IntoIterator<Item = &'a ImageRef>,
    ) -> Result<BTreeMap<ImageRef, Release>, StoreError> {
        let mut releases = BTreeMap::new();
        for reference in references {
            let text = "SELECT digest, job, at FROM releases WHERE reference = ?1";
            let rows = self.rows(text, [reference.to_string()], |row| {
                Ok(Release {
                    reference: reference.clone(),
                    digest: digest(get(row, 0)?)?,
                    job: JobId(get(row, 1)?),
                    at: rows::time(get(row, 2)?)?,
                })
            })?;
            releases.extend(rows.into_iter().map(|release| (reference.clone(), release)));
        }
        Ok(releases)
    }

    /// Jobs whose release has begun and is not finished.
    pub fn release_plans(&self) -> Result<BTreeMap<JobId, ReleasePlan>, StoreError> {
        let rows = self.rows("SELECT job, plan FROM release_plans", [], |row| {
            Ok((JobId(get(row, 0)?), from_json("release plan", &get::<String>(row, 1)?)?))
        })?;
        Ok(rows.into_iter().collect())
    }
}

fn record(row: &Row<'_>) -> Result<ImageRecord, StoreError> {
    let status: String = get(row, 6)?;
    Ok(ImageRecord {
        project: rows::project(get(row, 0)?)?,
        reference: rows::reference(get(row, 1)?)?,
        commit: rows::commit(get(row, 2)?)?,
        job: JobId(get(row, 3)?),
        wave: JobId(get::<Option<i64>>(row, 14)?.map_or_else(|| get(row, 3), Ok)?),
        at: rows::time(get(row, 4)?)?,
        result: ImageResult {
            image: ImageName::new(get::<String>(row, 5)?).map_err(|e| StoreError::Row(e.to_string()))?,
            status: ImageStatus::parse(&status)
                .ok_or_else(|| StoreError::Row(format!("the image status {status:?}")))?,
            note: get(row, 7)?,
            fingerprint: get(row, 8)?,
            id: get::<Option<String>>(row, 9)?.map(digest).transpose()?,
            digest: get::<Option<String>>(row, 10)?.map(digest).transpose()?,
            bases: from_json("list of bases", &get::<String>(row, 11)?)?,
            released: from_json("list of references", &get::<String>(row, 12)?)?,
            alike: from_json("list of digests", &get::<String>(row, 13)?)?,
        },
    })
}

/// Records what became of a job's images, and which references moved.
pub(super) fn put_results(
    transaction: &Transaction<'_>,
    job: JobId,
    results: &[ImageResult],
    now: Timestamp,
) -> Result<(), StoreError> {
    for result in results {
        execute(
            transaction,
            "INSERT INTO image_results VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
             ON CONFLICT (job, image) DO UPDATE SET
               status = excluded.status, note = excluded.note, fingerprint = excluded.fingerprint,
               image_id = excluded.image_id, digest = excluded.digest, bases = excluded.bases,
               released = excluded.released, at = excluded.at, alike = excluded.alike",
            params![
                job.0,
                result.image.as_str(),
                result.status.as_str(),
                result.note,
                result.fingerprint,
                result.id.as_ref().map(Digest::as_str),
                result.digest.as_ref().map(Digest::as_str),
                json(&result.bases)?,
                json(&result.released)?,
                now.as_millisecond(),
                json(&result.alike)?,
            ],
        )?;
        for target in &result.released {
            // What is only in the engine's storage has no manifest.
            let digest = if target.is_local() { &result.id } else { &result.digest };
            let Some(digest) = digest else { continue };
            execute(
                transaction,
                "INSERT INTO releases VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (reference) DO UPDATE SET
                   digest = excluded.digest, image = excluded.image, job = excluded.job, at = excluded.at
                 WHERE releases.job <= excluded.job",
                params![
                    target.to_string(),
                    digest.as_str(),
                    result.image.as_str(),
                    job.0,
                    now.as_millisecond()
                ],
            )?;
        }
    }
    Ok(())
}

/// The archives that a plan needs are in the directory of the newest attempt.
pub(super) fn put_plan(transaction: &Transaction<'_>, job: JobId, plan: &ReleasePlan) -> Result<(), StoreError> {
    execute(
        transaction,
        "INSERT INTO release_plans (job, attempt, plan)
         VALUES (?1, (SELECT max(n) FROM attempts WHERE job = ?1), ?2)
         ON CONFLICT (job) DO UPDATE SET attempt = excluded.attempt, plan = excluded.plan",
        params![job.0, json(plan)?],
    )
}

pub(super) fn forget_plan(transaction: &Transaction<'_>, job: JobId) -> Result<(), StoreError> {
    execute(transaction, "DELETE FROM release_plans WHERE job = ?1", [job.0])
}

/// The attempt that a plan belongs to, and the plan.
pub(super) fn plan(transaction: &Transaction<'_>, job: JobId) -> Result<Option<(i64, ReleasePlan)>, StoreError> {
    let row: Option<(i64, String)> = transaction
        .query_row(
            "SELECT attempt, plan FROM release_plans WHERE job = ?1",
            [job.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(sql("read"))?;
    row.map(|(attempt, plan)| Ok((attempt, from_json("release plan", &plan)?)))
        .transpose()
}

fn digest(text: String) -> Result<Digest, StoreError> {
    Digest::new(text).map_err(|e| StoreError::Row(e.to_string()))
}
