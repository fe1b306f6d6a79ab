//! Slots against a fake API server that can be told to fail.
