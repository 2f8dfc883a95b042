//! A program so small that it needs nothing: it exits with a code. An image of it alone can be built and run without a
//! network, a base image or a libc.

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// A static Linux program for this machine that exits with `code`; none where we do not know how to write one.
pub(super) fn exits_with(code: u8) -> Option<Vec<u8>> {
    let (machine, text): (u16, Vec<u8>) = match std::env::consts::ARCH {
        // mov edi, code; mov eax, 60 (exit); syscall
        "x86_64" => (62, vec![0xbf, code, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]),
        "aarch64" => {
            // movz x0, #code; movz x8, #93 (exit); svc #0
            let instructions = [0xd280_0000 | u32::from(code) << 5, 0xd280_0008 | 93 << 5, 0xd400_0001];
            (183, instructions.iter().flat_map(|i: &u32| i.to_le_bytes()).collect())
        }
        _ => return None,
    };
    let size = HEADERS + text.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    // The file header: an executable for the machine, its entry, its one program header, no sections.
    half(&mut file, 2);
    half(&mut file, machine);
    word(&mut file, 1);
    long(&mut file, BASE + HEADERS);
    long(&mut file, 64);
    long(&mut file, 0);
    word(&mut file, 0);
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut file, value);
    }
    // The program header: load all of the file, to be read and executed.
    word(&mut file, 1);
    word(&mut file, 5);
    for value in [0, BASE, BASE, size, size, 0x1_0000] {
        long(&mut file, value);
    }
    file.extend(text);
    Some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn it_runs_here() {
        let Some(program) = exits_with(42) else { return };
        assert_eq!(program.len() as u64, HEADERS + 12);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("probe");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(&path)
            .unwrap();
        std::io::Write::write_all(&mut file, &program).unwrap();
        drop(file);
        // A fork of another test may hold the file for writing for a moment.
        let code = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            std::process::Command::new(&path).status().ok()?.code()
        });
        assert_eq!(code, Some(42));
    }
}
