//! The page of the collectors against node_exporter's, over trees of fixtures.
//!
//! | file | what |
//! |---|---|
//! | `tree.rs` | fixtures: one text file a tree, unpacked below a directory |
//! | `page.rs` | a page taken apart, and what differs between two |
//! | `ours.rs` | our page over a tree |
//! | `theirs.rs` | Debian's node_exporter over a tree |
//! | `same.rs` | the comparison and the table of known differences |
//! | `hostile.rs` | broken trees |

mod hostile;
mod ours;
mod page;
mod same;
mod theirs;
pub mod tree;
