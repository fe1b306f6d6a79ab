//! The page as a whole: which collectors are asked, on which thread, for how long, and who may
//! fetch it.
//!
//! Contract: a page is begun, settles, and is finished. Collectors of [`Lane::Page`] run while it
//! is begun; those of [`Lane::Apart`] run on workers meanwhile. A source that does not answer
//! before its deadline is marked (success 0), its thread is counted and capped, and it is asked
//! again once it returned. Nothing else waits for it.
//!
//! [`Lane::Page`]: crate::collectors::Lane::Page
//! [`Lane::Apart`]: crate::collectors::Lane::Apart
//!
//! | file | what |
//! |---|---|
//! | `args.rs` | node_exporter's flags, from the table |
//! | `docs.rs` | `docs/metrics.md`, from the table |
//! | `epoch.rs` | when to look for new devices |
//! | `http.rs` | `/metrics` as an answer to a request |
//! | `inert.rs` | node_exporter's flags that have no effect here |
//! | `page.rs` | one page from begin to finish |
//! | `process.rs` | `process_*` and `node_exporter_build_info` |
//! | `selection.rs` | `collect[]` and `exclude[]` |
//! | `server.rs` | the HTTP/1 server with its limits |
//! | `tls.rs` | TLS as that file asks for it |
//! | `web_config.rs` | the file of `--web.config.file` |
//! | `auth.rs` | users and their passwords |

pub mod args;
pub mod auth;
pub mod docs;
pub mod epoch;
pub mod http;
pub mod inert;
pub mod page;
pub mod process;
pub mod selection;
pub mod server;
mod tls;
pub mod web_config;
