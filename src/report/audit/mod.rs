//! The audit log: what was decided and done, and why, in a chain that shows every later change (interface.md, section 3).
