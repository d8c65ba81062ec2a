// SPDX-License-Identifier: ISC
//
// The benchmarks on async-executor, set up as smol does it: one thread a CPU runs the executor and,
// while it has nothing to do, async-io's reactor.

mod benchmarks;
mod measure;

mod rt {
    use async_executor::Executor;
    use std::future::{pending, Future};
    use std::sync::Once;
    use std::thread;
    use std::time::Duration;

    pub type Sender<T> = async_channel::Sender<T>;
    pub type Receiver<T> = async_channel::Receiver<T>;

    static EXECUTOR: Executor<'static> = Executor::new();
    static START: Once = Once::new();

    /// Polls `future` on the calling thread.
    pub fn block_on<F: Future>(future: F) -> F::Output {
        START.call_once(|| {
            for _ in 0..thread::available_parallelism().map_or(1, |cpus| cpus.get()) {
                thread::spawn(|| async_io::block_on(EXECUTOR.run(pending::<()>())));
            }
        });
        async_io::block_on(future)
    }

    /// Starts a task; what it returns can be awaited, and cancels the task when dropped.
    pub fn spawn<F>(future: F) -> impl Future<Output = F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        EXECUTOR.spawn(future)
    }

    pub async fn yield_now() {
        futures_lite::future::yield_now().await
    }

    pub async fn sleep(duration: Duration) {
        async_io::Timer::after(duration).await;
    }

    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        async_channel::bounded(capacity)
    }

    pub async fn recv<T>(receiver: &mut Receiver<T>) -> Option<T> {
        receiver.recv().await.ok()
    }

    pub fn send_blocking<T>(sender: &Sender<T>, value: T) -> bool {
        sender.send_blocking(value).is_ok()
    }
}

fn main() {
    benchmarks::main()
}
