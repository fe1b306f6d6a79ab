//! What a command wrote, kept in files until it is read.

use super::error::CommandError;
use super::model::{CommandOutput, HostCommand};
use crate::host::Host;
use std::io;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// How much of each output is read, from its end: that is where package managers say what went wrong.
pub const MAX_OUTPUT_BYTES: u64 = 64 * 1024;

/// What a command has written so far.
///
/// *Errors*: a file that is there and cannot be read. A missing file is empty output: systemd before 236 keeps none.
pub async fn output(host: &Host, command: &HostCommand) -> Result<CommandOutput, CommandError> {
    let Some([out, err]) = command.output_files() else {
        return Ok(CommandOutput::default());
    };
    Ok(CommandOutput {
        stdout: read_end(&host.path(out)).await?,
        stderr: read_end(&host.path(err)).await?,
    })
}

/// Makes room for the output of a command that is about to start.
pub(super) async fn prepare_output(host: &Host, command: &HostCommand) -> Result<(), CommandError> {
    let (Some(directory), Some(files)) = (&command.output, command.output_files()) else {
        return Ok(());
    };
    let here = host.path(directory);
    let made = tokio::fs::create_dir_all(&here).await;
    made.map_err(|source| CommandError::Output { path: here, source })?;
    for file in files {
        // systemd writes over what is there without cutting it off.
        remove_file(&host.path(file)).await?;
    }
    Ok(())
}

pub(super) async fn remove_file(path: &Path) -> Result<(), CommandError> {
    match tokio::fs::remove_file(path).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(CommandError::Output {
            path: path.to_path_buf(),
            source,
        }),
        _ => Ok(()),
    }
}

async fn read_end(path: &Path) -> Result<Vec<u8>, CommandError> {
    let read = async {
        let mut file = tokio::fs::File::open(path).await?;
        let length = file.metadata().await?.len();
        let start = length.saturating_sub(MAX_OUTPUT_BYTES);
        file.seek(io::SeekFrom::Start(start)).await?;
        let mut bytes = Vec::new();
        file.take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes).await?;
        Ok(bytes)
    };
    match read.await {
        Ok(bytes) => Ok(bytes),
        Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(CommandError::Output {
            path: path.to_path_buf(),
            source,
        }),
    }
}
