//! Is a disk full?

use std::path::Path;

/// Below this many bytes, or this share of the whole, nothing sensible can be written any more.
const BYTES: u64 = 1 << 20;
const SHARE: u64 = 1000;

/// Whether there is next to nothing left for us where `path` is. What cannot be asked is not full.
pub(super) fn is_full(path: &Path) -> bool {
    nix::sys::statvfs::statvfs(path).is_ok_and(|fs| {
        let available = fs.blocks_available() * fs.fragment_size();
        let all = fs.blocks() * fs.fragment_size();
        // Some file systems have no size at all.
        all > 0 && (available < BYTES || available < all / SHARE)
    })
}
