//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args
        .next()
        .is_some_and(|verb| verb == pipelined::process::SUPERVISE_VERB)
    {
        return pipelined::process::supervise_main(args);
    }
    pipelined::cli::main()
}
