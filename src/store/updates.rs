//! The record of updates: what is released, what it stands on, and what was found out about that.

use super::open::{Store, StoreError};
use super::rows::{self, from_json, get, json};
use super::write::execute;
use crate::model::{
    BaseKey, Check, Elsewhere, Evidence, ImageName, ImageRef, ImageStatus, Look, Node, ProjectName, Standing, Updates,
};
use rusqlite::{Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What is known of an image on a ref.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Packages,
    Elsewhere,
    Scheduled,
    Tried,
    Links,
    Thing,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Elsewhere => "elsewhere",
            Self::Scheduled => "scheduled",
            Self::Tried => "tried",
            Self::Links => "links",
            Self::Thing => "thing",
        }
    }
}

impl Store {
    /// Everything that is known of updates.
    pub fn updates(&self) -> Result<Updates, StoreError> {
        let elsewhere: BTreeMap<Node, Check<Elsewhere>> = self.known(Kind::Elsewhere)?;
        let mut standings: BTreeMap<Node, Standing> = elsewhere
            .iter()
            .filter_map(|(node, check)| Some((node.clone(), check.last.clone()?.found?)))
            .collect();
        // What is on record is known better.
        standings.extend(self.standings()?);
        Ok(Updates {
            standings: standings.into_iter().collect(),
            bases: self.bases()?,
            packages: self.known(Kind::Packages)?,
            elsewhere,
            scheduled: self.known(Kind::Scheduled)?,
            tried: self.known(Kind::Tried)?,
            links: self.known(Kind::Links)?,
            things: self.known(Kind::Thing)?,
        })
    }

    fn bases(&self) -> Result<BTreeMap<BaseKey, Check<Look>>, StoreError> {
        let rows = self.rows("SELECT reference, project, seen FROM bases", [], |row| {
            let (reference, project): (String, String) = (get(row, 0)?, get(row, 1)?);
            let key = BaseKey {
                reference: ImageRef::parse(&reference).map_err(|e| StoreError::Row(e.to_string()))?,
                project: match project.is_empty() {
                    true => None,
                    false => Some(rows::project(project)?),
                },
            };
            Ok((key, from_json("look at a base", &get::<String>(row, 2)?)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    fn known<T: DeserializeOwned>(&self, kind: Kind) -> Result<BTreeMap<Node, T>, StoreError> {
        let text = "SELECT project, ref, image, known FROM updates WHERE kind = ?1";
        let rows = self.rows(text, [kind.as_str()], |row| {
            Ok((node(row)?, from_json(kind.as_str(), &get::<String>(row, 3)?)?))
        })?;
        Ok(rows.into_iter().collect())
    }

    /// The newest release of each image on each ref, as long as one of its references is its own still.
    fn standings(&self) -> Result<BTreeMap<Node, Standing>, StoreError> {
        let owners: BTreeMap<String, (i64, String)> = self
            .rows("SELECT reference, job, image FROM releases", [], |row| {
                Ok((get(row, 0)?, (get(row, 1)?, get(row, 2)?)))
            })?
            .into_iter()
            .collect();
        let mut standings = BTreeMap::new();
        for record in self.newest_of(None, &[ImageStatus::Released])? {
            let mut released = record.result.released;
            let own = (record.job.0, record.result.image.as_str().to_owned());
            released.retain(|reference| owners.get(&reference.to_string()) == Some(&own));
            if released.is_empty() {
                continue;
            }
            let node = Node {
                project: record.project,
                reference: record.reference,
                image: record.result.image,
            };
            let standing = Standing {
                job: Some(record.job),
                commit: record.commit,
                id: record.result.id,
                digest: record.result.digest,
                released,
                bases: record.result.bases,
                verified: record.at,
                evidence: Evidence::Record,
                layers: Vec::new(),
                since: record.at,
                wave: Some(record.wave),
                alike: record.result.alike,
            };
            standings.insert(node, standing);
        }
        for record in self.newest_of(None, &[ImageStatus::Unchanged])? {
            let node = Node {
                project: record.project,
                reference: record.reference,
                image: record.result.image,
            };
            if let Some(standing) = standings.get_mut(&node)
                && standing.job < Some(record.job)
            {
                standing.bases = record.result.bases;
                standing.verified = record.at;
            }
        }
        Ok(standings)
    }
}

fn node(row: &Row<'_>) -> Result<Node, StoreError> {
    Ok(Node {
        project: rows::project(get(row, 0)?)?,
        reference: rows::reference(get(row, 1)?)?,
        image: ImageName::new(get::<String>(row, 2)?).map_err(|e| StoreError::Row(e.to_string()))?,
    })
}

pub(super) fn put_base(
    transaction: &Transaction<'_>,
    base: &BaseKey,
    check: Option<&Check<Look>>,
) -> Result<(), StoreError> {
    let (reference, project) = (base.reference.to_string(), base.project.as_ref());
    let project = project.map_or("", ProjectName::as_str);
    match check {
        Some(check) => execute(
            transaction,
            "INSERT INTO bases VALUES (?1, ?2, ?3) ON CONFLICT (reference, project) DO UPDATE SET seen = excluded.seen",
            params![reference, project, json(check)?],
        ),
        None => execute(
            transaction,
            "DELETE FROM bases WHERE reference = ?1 AND project = ?2",
            params![reference, project],
        ),
    }
}

pub(super) fn put(
    transaction: &Transaction<'_>,
    kind: Kind,
    node: &Node,
    known: Option<&impl Serialize>,
) -> Result<(), StoreError> {
    let (project, reference, image) = (node.project.as_str(), node.reference.as_bytes(), node.image.as_str());
    match known {
        Some(known) => execute(
            transaction,
            "INSERT INTO updates VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (kind, project, ref, image) DO UPDATE SET known = excluded.known",
            params![kind.as_str(), project, reference, image, json(known)?],
        ),
        None => execute(
            transaction,
            "DELETE FROM updates WHERE kind = ?1 AND project = ?2 AND ref = ?3 AND image = ?4",
            params![kind.as_str(), project, reference, image],
        ),
    }
}
