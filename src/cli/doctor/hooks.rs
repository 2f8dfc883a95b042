//! The files that `[hooks]` names: can the daemon's user read them, and can nobody else? It must never show what is in
//! them.

use super::finding::Finding;
use super::registries::secret;
use crate::config::{Config, SecretFile};
use crate::model::Sender;
use std::os::unix::fs::PermissionsExt;

const ABOUT: &str = "hooks";

/// One finding for each sender that has a secret.
pub(super) fn examine(config: &Config) -> Vec<Finding> {
    config
        .hooks
        .iter()
        .map(|(sender, file)| examine_one(*sender, file))
        .collect()
}

fn examine_one(sender: Sender, file: &SecretFile) -> Finding {
    let sender = sender.as_str();
    if let Err(why) = secret(file) {
        let advice = "let the daemon's user read it; what systemd gives is only there when it runs as a service";
        return Finding::bad(ABOUT, format!("{sender}: {why}"), advice);
    }
    let shown = file.as_path().display();
    let mode = file.resolve().ok().and_then(|path| std::fs::metadata(path).ok());
    let mode = mode.map_or(0, |meta| meta.permissions().mode());
    if mode & 0o007 != 0 {
        let text = format!("{sender}: {shown}: everyone on this machine can get at this secret");
        return Finding::bad(ABOUT, text, format!("chmod o= {shown}"));
    }
    Finding::ok(ABOUT, format!("{sender}: its secret can be read"))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;
    use crate::support::scratch::Scratch;
    use std::fs::Permissions;

    #[test]
    fn secrets_are_readable_and_nobody_elses() {
        let scratch = Scratch::new();
        let path = scratch.write("secret", "hunter2");
        let file = SecretFile::new(path.clone());
        for (mode, level) in [
            (0o600, Level::Ok),
            (0o640, Level::Ok),
            (0o644, Level::Bad),
            (0o602, Level::Bad),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let finding = examine_one(Sender::Gitlab, &file);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(!format!("{finding:?}").contains("hunter2"));
        }
        let gone = examine_one(Sender::Form, &SecretFile::new(scratch.join("gone")));
        assert_eq!((gone.level, gone.advice.is_some()), (Level::Bad, true));
        let empty = SecretFile::new(scratch.write("empty", ""));
        assert_eq!(examine_one(Sender::Form, &empty).level, Level::Bad);
    }
}
