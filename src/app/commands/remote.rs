//! Commands that ask the running agent, by its private socket.

use crate::app::agent::{Control, ControlAnswer};
use crate::app::cli::{Common, Output};
use crate::app::{Exit, world};
use crate::document::{Place, Problems};
use crate::report::model::{CaseView, StatusView};
use crate::report::render::{render_cases, render_explain, render_status};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::path::Path;
use std::time::Duration;

/// How long the agent may take to answer.
const MAX_ANSWER: Duration = Duration::from_secs(10);
/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;

type Printed = Result<(String, Exit), Vec<Problems>>;

/// `nodemend status`.
///
/// # Errors
/// The agent cannot be asked.
pub async fn status(common: &Common) -> Printed {
    let body = get(common, "/api/v1/status").await?;
    let status: StatusView = read(&body)?;
    let exit = if status.cases > 0 {
        Exit::Found
    } else {
        Exit::Fine
    };
    Ok(match common.output {
        Output::Json => (body + "\n", exit),
        Output::Text => (render_status(&status, world::paint(common)), exit),
    })
}

/// `nodemend cases`.
///
/// # Errors
/// The agent cannot be asked.
pub async fn cases(common: &Common) -> Printed {
    let body = get(common, "/api/v1/cases").await?;
    let cases: Vec<CaseView> = read(&body)?;
    let is_open = cases.iter().any(|case| case.closed.is_none());
    let exit = if is_open { Exit::Found } else { Exit::Fine };
    Ok(match common.output {
        Output::Json => (body + "\n", exit),
        Output::Text => (render_cases(&cases, world::paint(common)), exit),
    })
}

/// `nodemend explain [CASE]`.
///
/// # Errors
/// The agent cannot be asked, or has no such case.
pub async fn explain(common: &Common, wanted: Option<&str>) -> Printed {
    let cases: Vec<CaseView> = read(&get(common, "/api/v1/cases").await?)?;
    let chosen: Vec<CaseView> = match wanted {
        Some(id) => cases.into_iter().filter(|case| case.id == id).collect(),
        None => cases
            .into_iter()
            .filter(|case| case.closed.is_none())
            .collect(),
    };
    if let (Some(id), true) = (wanted, chosen.is_empty()) {
        return Err(vec![problem(
            "explain",
            format!("there is no `{id}`; nodemend cases shows what there is"),
        )]);
    }
    let is_open = chosen.iter().any(|case| case.closed.is_none());
    let exit = if is_open { Exit::Found } else { Exit::Fine };
    let paint = world::paint(common);
    Ok(match common.output {
        Output::Json => (
            serde_json::to_string(&chosen).unwrap_or_default() + "\n",
            exit,
        ),
        Output::Text if chosen.is_empty() => (
            "no open case. What is judged: nodemend signature list\n".to_owned(),
            exit,
        ),
        Output::Text => (
            chosen
                .iter()
                .map(|case| render_explain(case, paint))
                .collect::<Vec<_>>()
                .join("\n"),
            exit,
        ),
    })
}

/// `nodemend approve|pause|resume`.
///
/// # Errors
/// The agent cannot be asked, or refuses.
pub async fn control(common: &Common, control: &Control) -> Printed {
    let body = serde_json::to_vec(control).unwrap_or_default();
    let answer = ask(common, Method::POST, "/api/v1/control", body).await?;
    let answer: ControlAnswer = read(&answer)?;
    if !answer.done {
        return Err(vec![problem("agent", answer.message)]);
    }
    Ok((answer.message + "\n", Exit::Fine))
}

fn problem(origin: &str, message: String) -> Problems {
    let mut problems = Problems::of(origin);
    problems.add(Place::default(), message);
    problems
}

fn read<'a, T: serde::Deserialize<'a>>(body: &'a str) -> Result<T, Vec<Problems>> {
    serde_json::from_str(body).map_err(|error| {
        vec![problem(
            "agent",
            format!("its answer is not understood ({error}); is it of the same version?"),
        )]
    })
}

async fn get(common: &Common, path: &str) -> Result<String, Vec<Problems>> {
    ask(common, Method::GET, path, Vec::new()).await
}

async fn ask(
    common: &Common,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<String, Vec<Problems>> {
    let socket = world::run_dir(common).join("agent.sock");
    let unreachable = |why: String| {
        let remedy = "is the agent running, and may you talk to it? (nodemend agent --standalone; --run-dir)";
        vec![problem(
            &socket.display().to_string(),
            format!("the agent cannot be asked: {why}; {remedy}"),
        )]
    };
    match tokio::time::timeout(MAX_ANSWER, exchange(&socket, method, path, body)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(why)) => Err(unreachable(why)),
        Err(_) => Err(unreachable(format!(
            "no answer within {} s",
            MAX_ANSWER.as_secs()
        ))),
    }
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<String, String> {
    let stream = tokio::net::UnixStream::connect(socket)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "agent")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(|error| error.to_string())?
        .to_bytes();
    driver.abort();
    let text = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        Ok(text)
    } else {
        Err(format!("{status}: {}", text.trim()))
    }
}
