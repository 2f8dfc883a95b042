//! The record of pokes: those that are to be delivered, and for people the last ones of each place.

use super::open::{Store, StoreError, sql};
use super::rows::{from_json, get, json};
use super::write::execute;
use crate::model::{Poke, PokeId, ProjectName};
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;

/// How many of those that have ended are kept for each image on each ref and each place. The newest of all is among them, so
/// that no number is used twice.
const KEPT: i64 = 5;

impl Store {
    /// Those that are to be delivered, and the number of the next one.
    pub(super) fn waiting_pokes(&self) -> Result<(BTreeMap<PokeId, Poke>, i64), StoreError> {
        let text = "SELECT known FROM pokes WHERE state = 'waiting'";
        let waiting = self.rows(text, [], |row| from_json("poke", &get::<String>(row, 0)?))?;
        let newest: i64 = self
            .connection
            .query_row("SELECT coalesce(max(id), 0) FROM pokes", [], |row| row.get(0))
            .map_err(sql("read"))?;
        let waiting = waiting.into_iter().map(|poke: Poke| (poke.id, poke)).collect();
        Ok((waiting, newest + 1))
    }

    /// All that are kept, of a project or of all, the newest first.
    pub fn pokes(&self, project: Option<&ProjectName>) -> Result<Vec<Poke>, StoreError> {
        self.rows(
            "SELECT known FROM pokes WHERE ?1 IS NULL OR project = ?1 ORDER BY id DESC",
            [project.map(ProjectName::as_str)],
            |row| from_json("poke", &get::<String>(row, 0)?),
        )
    }
}

/// Records a poke. Of those that have ended, the last ones are kept, and the last that was delivered.
pub(super) fn put(transaction: &Transaction<'_>, poke: &Poke) -> Result<(), StoreError> {
    let node = &poke.node;
    let (project, reference, image) = (node.project.as_str(), node.reference.as_bytes(), node.image.as_str());
    execute(
        transaction,
        "INSERT INTO pokes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET state = excluded.state, known = excluded.known",
        params![
            poke.id.0,
            project,
            reference,
            image,
            poke.place.key,
            poke.word(),
            json(poke)?
        ],
    )?;
    if poke.end.is_none() {
        return Ok(());
    }
    execute(
        transaction,
        "DELETE FROM pokes
         WHERE project = ?1 AND ref = ?2 AND image = ?3 AND target = ?4 AND state <> 'waiting'
           AND id NOT IN (SELECT id FROM pokes WHERE project = ?1 AND ref = ?2 AND image = ?3 AND target = ?4
                            AND state <> 'waiting' ORDER BY id DESC LIMIT ?5)
           AND id NOT IN (SELECT max(id) FROM pokes WHERE project = ?1 AND ref = ?2 AND image = ?3 AND target = ?4
                            AND state = 'delivered' HAVING max(id) IS NOT NULL)",
        params![project, reference, image, poke.place.key, KEPT],
    )
}
