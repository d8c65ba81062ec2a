// SPDX-License-Identifier: ISC
//
// The benchmarks on tokio: its multi-threaded runtime with all defaults, its own bounded channel.

mod benchmarks;
mod measure;

mod rt {
    use once_cell::sync::Lazy;
    use std::future::Future;
    use std::time::Duration;
    use tokio::runtime::Runtime;
    use tokio::sync::mpsc;

    pub type Sender<T> = mpsc::Sender<T>;
    pub type Receiver<T> = mpsc::Receiver<T>;

    static RUNTIME: Lazy<Runtime> = Lazy::new(|| Runtime::new().expect("a tokio runtime"));

    /// Polls `future` on the calling thread.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        RUNTIME.block_on(future)
    }

    /// Starts a task; what it returns can be awaited.
    pub fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let task = tokio::spawn(future);
        async move { task.await.expect("the task's output") }
    }

    pub async fn yield_now() {
        tokio::task::yield_now().await
    }

    pub async fn sleep(duration: Duration) {
        tokio::time::sleep(duration).await
    }

    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        mpsc::channel(capacity)
    }

    pub async fn recv<T>(receiver: &mut Receiver<T>) -> Option<T> {
        receiver.recv().await
    }

    pub fn send_blocking<T>(sender: &Sender<T>, value: T) -> bool {
        sender.blocking_send(value).is_ok()
    }
}

fn main() {
    benchmarks::main()
}
