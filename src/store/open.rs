//! Opening: what is there is checked, and refused rather than guessed at.

use super::DATABASE;
use super::schema::{APPLICATION_ID, MIGRATIONS};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An open database.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    instance: String,
}

/// What can go wrong with the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing is there.
    #[error("there is no {path}: no daemon has worked in this workdir yet")]
    Missing {
        /// Of the database.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "{path} was written by a newer pipelined (schema {found}, this one knows {known}): \
         install that version again, or use another workdir; the file was left as it is"
    )]
    Newer {
        /// Of the database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Our version.
        known: i64,
    },
    /// It cannot be read as what it should be.
    #[error(
        "{path} is damaged ({what}): restore it from a backup, or move it away to begin anew; the file was left as it is"
    )]
    Damaged {
        /// Of the database.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file system does not let us.
    #[error("cannot use {path}")]
    Io {
        /// Of the file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite does not let us.
    #[error("cannot {what} the database")]
    Sql {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A row holds what no version of ours writes.
    #[error("the database holds {0}")]
    Row(String),
}

/// Names what was tried when SQLite refuses.
pub(super) fn sql(what: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |source| StoreError::Sql { what, source }
}

impl Store {
    /// Opens the database of a workdir for the daemon, and makes it if there is none. The caller holds the [`super::Lock`].
    pub fn open(workdir: &Path) -> Result<Self, StoreError> {
        let path = workdir.join(DATABASE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(&path)?,
            Err(source) => return Err(StoreError::Io { path, source }),
            Ok(_) => {}
        }
        check_header(&path)?;
        let found = examine(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(sql("open"))?;
        migrate(&mut connection, found)?;
        // FULL: what was decided is on disk before it is acted on, also when the power goes.
        connection
            .pragma_update(None, "synchronous", "FULL")
            .map_err(sql("open"))?;
        Self::with(connection)
    }

    /// Opens the database for reading, beside a daemon or without one.
    pub fn open_read(workdir: &Path) -> Result<Self, StoreError> {
        let path = workdir.join(DATABASE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::Missing { path }),
            Err(source) => return Err(StoreError::Io { path, source }),
        }
        check_header(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(sql("open"))?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(sql("open"))?;
        let found = version(&connection, &path)?;
        if found < MIGRATIONS.len() as i64 {
            return Err(StoreError::Row(format!(
                "schema {found}, older than this pipelined: start the daemon once to bring it up to date"
            )));
        }
        Self::with(connection)
    }

    fn with(connection: Connection) -> Result<Self, StoreError> {
        let instance = connection
            .query_row("SELECT value FROM meta WHERE key = 'instance'", [], |row| row.get(0))
            .map_err(sql("read"))?;
        Ok(Self { connection, instance })
    }

    /// The workdir's own random name, by which its processes and containers are known.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

/// Makes a whole database under another name first, so that a file with the right name is never half of one.
fn create(path: &Path) -> Result<(), StoreError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreError::Io { path, source }
    };
    let wal = path.with_extension("db-wal");
    if wal.exists() {
        // SQLite would play it back into the new database.
        return Err(damaged(&wal, "the database that it belongs to is gone"));
    }
    let new = path.with_extension("db.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&new)(error)),
        _ => {}
    }
    let file = fs::File::create(&new).map_err(io(&new))?;
    // Remotes may hold credentials.
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(io(&new))?;
    drop(file);
    let mut connection = Connection::open(&new).map_err(sql("create"))?;
    connection
        .pragma_update(None, "application_id", APPLICATION_ID)
        .map_err(sql("create"))?;
    migrate(&mut connection, 0)?;
    let mut random = [0; 6];
    let urandom = Path::new("/dev/urandom");
    fs::File::open(urandom)
        .and_then(|mut f| f.read_exact(&mut random))
        .map_err(io(urandom))?;
    let instance: String = random.iter().map(|b| format!("{b:02x}")).collect();
    connection
        .execute("INSERT INTO meta VALUES ('instance', ?1)", [instance])
        .map_err(sql("create"))?;
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .map_err(sql("create"))?;
    connection
        .close()
        .map_err(|(_, source)| StoreError::Sql { what: "create", source })?;
    fs::File::open(&new).and_then(|f| f.sync_all()).map_err(io(&new))?;
    fs::rename(&new, path).map_err(io(path))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(io(dir))
}

/// SQLite takes an empty file for a new database; we do not.
fn check_header(path: &Path) -> Result<(), StoreError> {
    let mut header = [0; 16];
    let read = fs::File::open(path).and_then(|mut f| f.read_exact(&mut header));
    match read {
        Ok(()) if header == *b"SQLite format 3\0" => Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => Err(StoreError::Io {
            path: path.to_owned(),
            source: error,
        }),
        _ => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "it is not an SQLite database".to_owned(),
        }),
    }
}

fn damaged(path: &Path, what: impl ToString) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what: what.to_string(),
    }
}

/// What was refused by SQLite because of the file, or because another program is at it.
fn refused(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::CannotOpen) => sql("check")(error),
        _ => damaged(path, error),
    }
}

/// The version of a database that is whole. Only reads: a connection that may write would already finish in the file
/// what a crash left in its log.
fn examine(path: &Path) -> Result<i64, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sql("open"))?;
    let found = version(&connection, path)?;
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(refused(path))?;
    match verdict.as_str() {
        "ok" => Ok(found),
        _ => Err(damaged(path, verdict.replace('\n', " "))),
    }
}

fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .map_err(refused(path))
    };
    if pragma("application_id")? != i64::from(APPLICATION_ID) {
        return Err(damaged(path, "it is another program's database"));
    }
    let found = pragma("user_version")?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection, found: i64) -> Result<(), StoreError> {
    let done = usize::try_from(found).unwrap_or(0);
    for (index, script) in MIGRATIONS.iter().enumerate().skip(done) {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(sql("migrate"))?;
        transaction.execute_batch(script).map_err(sql("migrate"))?;
        transaction
            .pragma_update(None, "user_version", index as i64 + 1)
            .map_err(sql("migrate"))?;
        transaction.commit().map_err(sql("migrate"))?;
    }
    Ok(())
}
