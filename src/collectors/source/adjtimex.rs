//! The one file with `unsafe` code: `adjtimex(2)`, which no safe crate offers (nix 0.31 and rustix
//! 1.1 lack it, clock-steering 0.2 keeps it private). To be dropped when nix has it.
//!
//! Proof: `timex` is a plain C struct of integers, for which all zero bytes are a value; with
//! `modes` 0 the kernel changes nothing, and it writes inside the struct only, which lives on our
//! stack for the whole call.
#![allow(
    unsafe_code,
    reason = "one system call without a safe wrapper; proof above"
)]

use nix::errno::Errno;

/// The kernel's clock discipline: its state and the answer's fields.
///
/// *Errors*: the kernel's reason (a seccomp filter may forbid the call).
/// *Cost*: one system call.
pub fn read() -> Result<(i32, libc::timex), Errno> {
    // SAFETY: see above; all-zero is a valid `timex`.
    let mut answer: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: see above; the pointer is to a live local.
    let state = unsafe { libc::adjtimex(&raw mut answer) };
    Errno::result(state).map(|state| (state, answer))
}
