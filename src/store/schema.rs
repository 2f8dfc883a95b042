//! The tables, version by version.

/// `PRAGMA application_id`: "PIPD".
pub(super) const APPLICATION_ID: i32 = 0x5049_5044;

/// One script a version: the first makes an empty database version 1, the next takes 1 to 2, and so on. Times are
/// milliseconds since 1970, refs are bytes.
pub(super) const MIGRATIONS: &[&str] = &[
    "
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE projects (
    name        TEXT PRIMARY KEY,
    selection   TEXT,
    last_number INTEGER NOT NULL DEFAULT 0,
    -- what polling has to complain about
    failing_since INTEGER,
    poll_error    TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE refs (
    project   TEXT NOT NULL,
    ref       BLOB NOT NULL,
    commit_id TEXT NOT NULL,
    PRIMARY KEY (project, ref)
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id         INTEGER PRIMARY KEY,
    project    TEXT NOT NULL,
    ref        BLOB NOT NULL,
    commit_id  TEXT NOT NULL,
    number     INTEGER NOT NULL,
    reason     TEXT NOT NULL,
    -- why it was made, in words
    cause      TEXT NOT NULL,
    place      INTEGER NOT NULL,
    created    INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('queued', 'running', 'cancelling', 'done')),
    not_before INTEGER,
    outcome    TEXT,
    lasting    INTEGER NOT NULL,
    finished   INTEGER,
    attempts   INTEGER NOT NULL,
    -- why it stands where it stands; empty while that goes without saying
    note       TEXT NOT NULL,
    failure    TEXT,
    CHECK ((state = 'done') = (outcome IS NOT NULL)),
    CHECK ((state = 'done') = (finished IS NOT NULL))
) STRICT;
CREATE INDEX jobs_of_ref ON jobs (project, ref, commit_id);
CREATE INDEX jobs_live ON jobs (id) WHERE state <> 'done';

CREATE TABLE attempts (
    job      INTEGER NOT NULL REFERENCES jobs (id),
    n        INTEGER NOT NULL,
    dir      TEXT NOT NULL,
    run      INTEGER NOT NULL,
    started  INTEGER NOT NULL,
    ended    INTEGER,
    failure  TEXT,
    image_id TEXT,
    PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
",
    "
CREATE TABLE image_results (
    job         INTEGER NOT NULL REFERENCES jobs (id),
    image       TEXT NOT NULL,
    status      TEXT NOT NULL,
    note        TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    image_id    TEXT,
    digest      TEXT,
    -- JSON: the bases with their digests, and the references that were moved
    bases       TEXT NOT NULL,
    released    TEXT NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (job, image)
) STRICT, WITHOUT ROWID;

-- where each release reference points, as far as we moved it
CREATE TABLE releases (
    reference TEXT PRIMARY KEY,
    digest    TEXT NOT NULL,
    image     TEXT NOT NULL,
    job       INTEGER NOT NULL REFERENCES jobs (id),
    at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- releases that have begun and are to be finished, with the attempt whose directory has what they need
CREATE TABLE release_plans (
    job     INTEGER PRIMARY KEY REFERENCES jobs (id),
    attempt INTEGER NOT NULL,
    plan    TEXT NOT NULL
) STRICT;
",
    "
-- JSON: the images that a job builds again, with the jobs whose releases it renews
ALTER TABLE jobs ADD COLUMN rebuild TEXT;

-- what was seen of bases (JSON); project is not empty for what is only in the storage that its env names
CREATE TABLE bases (
    reference TEXT NOT NULL,
    project   TEXT NOT NULL,
    seen      TEXT NOT NULL,
    PRIMARY KEY (reference, project)
) STRICT, WITHOUT ROWID;

-- what is known of an image on a ref, as JSON: what is found inside of it (packages), what was built elsewhere
-- (elsewhere), up to when its schedule was heeded (scheduled), its last rebuild (tried)
CREATE TABLE updates (
    kind    TEXT NOT NULL,
    project TEXT NOT NULL,
    ref     BLOB NOT NULL,
    image   TEXT NOT NULL,
    known   TEXT NOT NULL,
    PRIMARY KEY (kind, project, ref, image)
) STRICT, WITHOUT ROWID;
",
    "
-- the job that began the wave which a job belongs to, none: itself; and the one whose atomic wave it moves with
ALTER TABLE jobs ADD COLUMN wave INTEGER;
ALTER TABLE jobs ADD COLUMN atomic INTEGER;
CREATE INDEX jobs_of_wave ON jobs (wave) WHERE wave IS NOT NULL;

-- the attempt has ended for now, and goes on in the same directory: since when it waits; and how many milliseconds it
-- had waited in all before that
ALTER TABLE attempts ADD COLUMN waits_since INTEGER;
ALTER TABLE attempts ADD COLUMN waited INTEGER NOT NULL DEFAULT 0;

-- JSON: digests of earlier releases with the same content
ALTER TABLE image_results ADD COLUMN alike TEXT NOT NULL DEFAULT '[]';

-- who outside is told of which release, and how that went (known, JSON); target is the place that is told
CREATE TABLE pokes (
    id      INTEGER PRIMARY KEY,
    project TEXT NOT NULL,
    ref     BLOB NOT NULL,
    image   TEXT NOT NULL,
    target  TEXT NOT NULL,
    state   TEXT NOT NULL,
    known   TEXT NOT NULL
) STRICT;
CREATE INDEX pokes_of_target ON pokes (project, ref, image, target);
CREATE INDEX pokes_waiting ON pokes (id) WHERE state = 'waiting';
",
];
