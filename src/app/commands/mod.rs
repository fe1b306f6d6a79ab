//! The commands, one file each: plain functions over parsed arguments that write to a `Write` and return an exit code.
