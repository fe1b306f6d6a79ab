//! A file that two collectors read, once a page.

use std::sync::{Arc, Mutex, PoisonError};

use crate::collectors::error::ReadError;
use crate::collectors::source::held::HeldFile;

/// A file whose text is kept for the turn it was read in.
#[derive(Debug)]
pub struct SharedFile {
    file: HeldFile,
    text: Vec<u8>,
    turn: u64,
    result: Result<usize, ReadError>,
}

impl SharedFile {
    /// A shared handle to `file`.
    pub fn new(file: HeldFile) -> Arc<Mutex<SharedFile>> {
        Arc::new(Mutex::new(SharedFile {
            file,
            text: Vec::new(),
            turn: 0,
            result: Ok(0),
        }))
    }

    /// The file's text in this turn; reads it if nobody did yet.
    ///
    /// *Errors*: those of the one read of this turn, for every caller.
    pub fn read(&mut self, turn: u64, epoch: u64) -> Result<&[u8], ReadError> {
        if self.turn != turn {
            self.turn = turn;
            self.result = self.file.read(epoch, &mut self.text).map(<[u8]>::len);
        }
        match &self.result {
            Ok(len) => Ok(self.text.get(..*len).unwrap_or_default()),
            Err(error) => Err(error.clone()),
        }
    }
}

/// Locks a shared source. A collector that panicked has not left it half written in a way that
/// matters: the next turn reads it anew.
pub fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
