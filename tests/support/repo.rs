//! Real git repositories, made by the git binary, untouched by the settings of whoever runs the tests.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What keeps git from the user's and the system's settings.
pub const GIT_ENV: [(&str, &str); 9] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_AUTHOR_NAME", "Test"),
    ("GIT_AUTHOR_EMAIL", "test@example.org"),
    ("GIT_AUTHOR_DATE", "2024-01-01T00:00:00Z"),
    ("GIT_COMMITTER_NAME", "Test"),
    ("GIT_COMMITTER_EMAIL", "test@example.org"),
    ("GIT_COMMITTER_DATE", "2024-01-01T00:00:00Z"),
];

/// A git command with that environment.
pub fn git_command() -> Command {
    let mut command = Command::new("git");
    command.envs(GIT_ENV);
    command
}

/// Runs git there and gives back its output, without the last newline; panics when it fails.
#[track_caller]
pub fn git_in<A: AsRef<OsStr>>(dir: &Path, args: impl IntoIterator<Item = A>) -> String {
    let args: Vec<OsString> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
    let output = git_command().arg("-C").arg(dir).args(&args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "git {args:?} in {dir:?}: {}\n{text}{errors}",
        output.status
    );
    text
}

/// The first 8 digits of a commit.
pub fn short(commit: &str) -> &str {
    &commit[..8]
}

/// A repository, with a work tree unless it was made by [`Repo::bare`].
pub struct Repo {
    path: PathBuf,
}

impl Repo {
    /// An empty repository with the branch `main`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::init(path.into(), "sha1")
    }

    /// The same with SHA-256 hashes.
    pub fn sha256(path: impl Into<PathBuf>) -> Self {
        Self::init(path.into(), "sha256")
    }

    fn init(path: PathBuf, format: &str) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let format = format!("--object-format={format}");
        git_in(
            &path,
            ["init", "--quiet", "--template=", "--initial-branch=main", &format],
        );
        git_in(&path, ["config", "gc.auto", "0"]);
        Self { path }
    }

    /// A bare clone of it.
    pub fn bare(&self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let args = [
            OsStr::new("clone"),
            OsStr::new("--quiet"),
            OsStr::new("--mirror"),
            OsStr::new("--template="),
        ];
        git_in(&self.path, args.into_iter().chain([OsStr::new("."), path.as_os_str()]));
        git_in(&path, ["config", "gc.auto", "0"]);
        Self { path }
    }

    /// Makes the refs of `to` the same as ours, whatever was there.
    pub fn push_to(&self, to: &Repo) {
        let args = [
            OsStr::new("push"),
            OsStr::new("--quiet"),
            OsStr::new("--mirror"),
            to.path.as_os_str(),
        ];
        git_in(&self.path, args);
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs git in it.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        git_in(&self.path, args)
    }

    /// Writes these files, commits them and whatever else changed in the work tree, and gives back the hash.
    #[track_caller]
    pub fn commit<C: AsRef<[u8]>>(&self, files: &[(&str, C)]) -> String {
        for (name, content) in files {
            let file = self.path.join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
        }
        self.git(&["add", "--all"]);
        // The count makes commits differ that have the same content and the fixed date.
        let count = self.git(&["rev-list", "--all", "--count"]);
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            &format!("Commit {count}"),
        ]);
        self.head()
    }

    /// The commit that is checked out.
    pub fn head(&self) -> String {
        self.rev("HEAD")
    }

    /// What a name stands for, not peeled.
    pub fn rev(&self, name: &str) -> String {
        self.git(&["rev-parse", "--verify", "--quiet", name])
    }

    /// Makes a branch at the commit that is checked out, and switches to it.
    pub fn branch(&self, name: &str) {
        self.git(&["switch", "--quiet", "--create", name]);
    }

    /// Switches to a branch that is there.
    pub fn switch(&self, name: &str) {
        self.git(&["switch", "--quiet", name]);
    }

    /// Sets the branch that is checked out to a commit, as a force push would.
    pub fn reset(&self, commit: &str) {
        self.git(&["reset", "--quiet", "--hard", commit]);
    }

    /// A light tag at the commit that is checked out.
    pub fn tag(&self, name: &str) {
        self.git(&["tag", name]);
    }

    /// An annotated tag of `target`, which may be a tag itself; gives back the hash of the tag object.
    pub fn annotated_tag(&self, name: &str, target: &str) -> String {
        self.git(&["tag", "--annotate", "--message", name, name, target]);
        self.rev(&format!("refs/tags/{name}"))
    }

    /// Sets a ref by its full name, which may hold any byte that git allows.
    pub fn set_ref(&self, name: impl AsRef<[u8]>, commit: &str) {
        let name = OsStr::from_bytes(name.as_ref());
        git_in(&self.path, [OsStr::new("update-ref"), name, OsStr::new(commit)]);
    }

    /// Removes a ref by its full name.
    pub fn delete_ref(&self, name: impl AsRef<[u8]>) {
        let name = OsStr::from_bytes(name.as_ref());
        git_in(&self.path, [OsStr::new("update-ref"), OsStr::new("-d"), name]);
    }

    /// Adds a submodule that is fetched from `url`, commits it, and gives back the hash. For paths git wants
    /// `protocol.file.allow=always` upon checkout too.
    pub fn add_submodule(&self, path: &str, url: &str) -> String {
        self.git(&[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            url,
            path,
        ]);
        self.commit::<&str>(&[])
    }
}
