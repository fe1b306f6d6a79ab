//! What serves agents on a thread of its own, in the network of the thread that started it.

use std::net::TcpListener;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

/// The thread; it ends with this value.
pub struct Background {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Lets `serve` serve those that call at `listener`.
    pub fn serve<S, F>(listener: TcpListener, serve: S) -> Self
    where
        S: FnOnce(tokio::net::TcpListener) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        listener
            .set_nonblocking(true)
            .expect("a listener can be asked without waiting");
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a tokio runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener);
                tokio::select! {
                    () = serve(listener.expect("a listener")) => {}
                    _ = ended => {}
                }
            });
        });
        Self {
            end: Some(end),
            thread: Some(thread),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            // One that panicked has nobody to tell.
            end.send(()).ok();
        }
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}
