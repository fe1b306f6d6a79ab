//! Command line in, exit code out.

use clap::Parser;
use nodemend::app::{Exit, cli::Cli, dispatch};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // One thread: the agent waits more than it works. What may hang in the kernel goes to the blocking pool.
    match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => {
            let exit = runtime.block_on(dispatch(cli));
            // A blocking read that hangs must not keep the process.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            eprintln!(
                "nodemend: the runtime cannot start: {error}; check limits on processes and open files"
            );
            Exit::CannotTell.into()
        }
    }
}
