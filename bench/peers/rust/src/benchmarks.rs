// SPDX-License-Identifier: ISC
//
// The benchmarks, written once for both executors; `crate::rt` is the executor. They are those of the
// Rust crate smolscale, in the same sizes, and what bench/tasks adds to them.
//
//     peer-NAME BENCHMARK [--driver inside|outside] [--rate TOKENS_PER_SECOND]
//
// The driver is the task that does the iterations: it runs on the executor, or on the main thread.

use crate::measure::*;
use crate::rt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const TASKS: usize = 300;
const STEPS: usize = 300;
const LIGHT_TASKS: usize = 25_000;
const PINGS: usize = 1_000;
const RECEIVERS: usize = 1_000;
const SENDS: usize = 1_000;
const CONTENDERS: usize = 1_000;
const HOPS: usize = 30;

pub fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, otherwise: &str| {
        let at = arguments.iter().position(|word| word == name);
        at.map_or(otherwise.to_string(), |at| arguments[at + 1].clone())
    };
    let driver = option("--driver", "inside");
    match arguments.first().map(String::as_str) {
        Some("spawn_one") => drive(&driver, spawn_one()),
        Some("spawn_many") => drive(&driver, spawn_many()),
        Some("yield_now") => drive(&driver, yield_now()),
        Some("ping_pong") => drive(&driver, ping_pong()),
        Some("fanout") => drive(&driver, fanout()),
        Some("context_switch_quiet") => drive(&driver, context_switch_quiet()),
        Some("context_switch_busy") => drive(&driver, context_switch_busy()),
        Some("jitter") => drive(&driver, jitter()),
        Some("idle") => idle(),
        Some("part_load") => part_load(option("--rate", "2000").parse().expect("a rate")),
        _ => panic!("no such benchmark"),
    }
}

fn drive(driver: &str, benchmark: impl Future<Output = ()> + Send + 'static) {
    match driver {
        "inside" => rt::block_on(async { rt::spawn(benchmark).await }),
        "outside" => rt::block_on(benchmark),
        _ => panic!("--driver is inside or outside"),
    }
}

async fn spawn_one() {
    let mut series = Series::new();
    while let Some(count) = series.next() {
        for _ in 0..count {
            assert_eq!(rt::spawn(async { 1 }).await, 1);
        }
    }
    series.print();
}

async fn spawn_and_join_many() {
    let tasks: Vec<_> = (0..LIGHT_TASKS).map(|_| rt::spawn(async { 1 })).collect();
    let mut ended = 0;
    for task in tasks {
        ended += task.await;
    }
    assert_eq!(ended, LIGHT_TASKS);
}

async fn spawn_many() {
    let mut series = Series::new();
    while let Some(count) = series.next() {
        for _ in 0..count {
            spawn_and_join_many().await;
        }
    }
    series.print();
}

async fn yield_steps() -> usize {
    let mut steps = 0;
    while steps < STEPS {
        rt::yield_now().await;
        steps += 1;
    }
    steps
}

async fn yield_now() {
    let mut series = Series::new();
    while let Some(count) = series.next() {
        for _ in 0..count {
            let tasks: Vec<_> = (0..TASKS).map(|_| rt::spawn(yield_steps())).collect();
            let mut steps = 0;
            for task in tasks {
                steps += task.await;
            }
            assert_eq!(steps, TASKS * STEPS);
        }
    }
    series.print();
}

async fn ping_pong() {
    let (sender, mut receiver) = rt::channel::<oneshot::Sender<u64>>(10);
    let ponger = rt::spawn(async move {
        let mut pongs = 0;
        while let Some(reply) = rt::recv(&mut receiver).await {
            pongs += 1;
            reply.send(pongs).expect("somebody who waits");
        }
    });
    let mut pings = 0;
    let mut series = Series::new();
    while let Some(count) = series.next() {
        for _ in 0..count {
            for _ in 0..PINGS {
                let (reply, pong) = oneshot::channel();
                sender.send(reply).await.expect("a receiver");
                pings += 1;
                assert_eq!(pong.await, Ok(pings));
            }
        }
    }
    series.print();
    drop(sender);
    ponger.await;
}

// Many receivers need async-channel on tokio too: its own channels have one receiver, or give
// each message to all.
async fn fanout() {
    let (sender, receiver) = async_channel::bounded(1);
    let receivers: Vec<_> = (0..RECEIVERS)
        .map(|_| {
            let receiver = receiver.clone();
            rt::spawn(async move {
                let mut received = 0;
                while receiver.recv().await.is_ok() {
                    received += 1;
                }
                received
            })
        })
        .collect();
    let mut series = Series::new();
    while let Some(count) = series.next() {
        for _ in 0..count {
            for _ in 0..SENDS {
                sender.send(()).await.expect("receivers");
            }
        }
    }
    series.print();
    drop(sender);
    let mut received = 0;
    for task in receivers {
        received += task.await;
    }
    assert_eq!(received, series.iterations() * SENDS as u64);
}

/// Tasks in a row, each of which passes on what it receives, one more each time; and the two ends.
fn ring(tasks: usize) -> (rt::Sender<usize>, rt::Receiver<usize>) {
    let (first, mut last) = rt::channel(1);
    for _ in 0..tasks {
        let (sender, next) = rt::channel(1);
        let mut receiver = std::mem::replace(&mut last, next);
        detach(async move {
            while let Some(token) = rt::recv(&mut receiver).await {
                sender.send(token + 1).await.expect("the next task");
            }
        });
    }
    (first, last)
}

/// Starts a task of which nobody will know the end.
fn detach(future: impl Future<Output = ()> + Send + 'static) {
    std::mem::forget(rt::spawn(future));
}

async fn revolutions(series: &mut Series, tasks: usize, each: usize) {
    let (first, mut last) = ring(tasks);
    while let Some(count) = series.next() {
        for _ in 0..count {
            for _ in 0..each {
                first.send(0).await.expect("the first task");
                assert_eq!(rt::recv(&mut last).await, Some(tasks));
            }
        }
    }
    drop(first);
    assert_eq!(rt::recv(&mut last).await, None); // all have ended
}

async fn context_switch_quiet() {
    let mut series = Series::new();
    revolutions(&mut series, TASKS, 1).await;
    series.print();
}

/// Tasks that do `work` and yield until told to stop; each returns how often it did.
fn contend(tasks: usize, work: u64, stop: &Arc<AtomicBool>) -> Vec<impl Future<Output = u64>> {
    let contender = |_| {
        let stop = stop.clone();
        rt::spawn(async move {
            let mut turns = 0;
            while !stop.load(Relaxed) {
                spin_work(work);
                rt::yield_now().await;
                turns += 1;
            }
            turns
        })
    };
    (0..tasks).map(contender).collect()
}

/// Stops them. One that never had its turn was starved, and the figures were worth nothing.
async fn stop_contending(contenders: Vec<impl Future<Output = u64>>, stop: &AtomicBool) -> u64 {
    stop.store(true, Relaxed);
    let mut all = 0;
    for task in contenders {
        let turns = task.await;
        assert!(turns > 0, "a task never had its turn");
        all += turns;
    }
    all
}

async fn context_switch_busy() {
    let stop = Arc::new(AtomicBool::new(false));
    let contenders = contend(TASKS, 0, &stop);
    let mut series = Series::new();
    revolutions(&mut series, TASKS / 10, 10).await;
    series.print();
    let turns = stop_contending(contenders, &stop).await;
    figure("turns", turns as f64 / series.iterations() as f64, "count");
}

async fn jitter() {
    let stop = Arc::new(AtomicBool::new(false));
    let contenders = contend(CONTENDERS, calibrate_work(US), &stop);
    let mut late = Vec::new();
    let end = now_ns() + 3 * S;
    while now_ns() < end {
        let due = now_ns() + MS;
        rt::sleep(Duration::from_nanos(MS)).await;
        let now = now_ns();
        assert!(now >= due, "a sleep ended too early");
        late.push((now - due) as f64 / US as f64);
    }
    stop_contending(contenders, &stop).await;
    figure("mean", late.iter().sum::<f64>() / late.len() as f64, "us");
    figure("p99", percentile(&mut late, 99.0), "us");
    figure("sleeps", late.len() as f64, "count");
}

/// What ten seconds without work cost, after some work.
fn idle() {
    drive("inside", async {
        for _ in 0..20 {
            spawn_and_join_many().await;
            rt::sleep(Duration::from_nanos(MS)).await;
        }
    });
    sleep_until(now_ns() + 2 * S);
    let (cpu, switches) = (cpu_of_others(), switches_of_others());
    sleep_until(now_ns() + 10 * S);
    let cpu = cpu_of_others().saturating_sub(cpu);
    figure("cpu", (cpu / US) as f64, "us"); // whole us: what two clocks can tell
    figure("switches", (switches_of_others() - switches) as f64, "count");
}

struct Token {
    index: usize,
    hops: usize,
    sent: u64,
}

/// The main thread, which is none of the executor's, sends tokens into a ring of tasks at a steady
/// pace. A token makes 30 hops, at each of which 1 us of work is done. The ten entries are as many
/// hops apart, so that tokens meet only when one is late.
fn part_load(rate: u64) {
    static DONE: AtomicU64 = AtomicU64::new(0);
    const WARM_UP: usize = 500;
    let count = WARM_UP + 3 * rate as usize;
    let work = calibrate_work(US);
    let late: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());

    let mut entries = Vec::new();
    rt::block_on(async {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..TASKS).map(|_| rt::channel(1)).unzip();
        for (k, mut receiver) in receivers.into_iter().enumerate() {
            let late = late.clone();
            let next: rt::Sender<Token> = senders[(k + 1) % TASKS].clone();
            detach(async move {
                while let Some(mut token) = rt::recv(&mut receiver).await {
                    spin_work(work);
                    token.hops += 1;
                    if token.hops < HOPS {
                        next.send(token).await.ok().expect("the next task");
                    } else {
                        late[token.index].store(now_ns() - token.sent, Relaxed);
                        DONE.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        entries.extend(senders.into_iter().step_by(HOPS));
    });

    sleep_exactly();
    let pace = |tokens: std::ops::Range<usize>, inject: bool| {
        let begin = now_ns();
        let (process, thread) = cpu_ns();
        for i in 0..tokens.len() {
            sleep_until(begin + (i as u64 + 1) * S / rate);
            let token = Token { index: tokens.start + i, hops: 0, sent: now_ns() };
            if inject {
                assert!(rt::send_blocking(&entries[i % entries.len()], token));
            }
        }
        let wall = now_ns() - begin;
        let ideal = tokens.len() as u64 * S / rate;
        assert!(wall < ideal + ideal / 20 + 20 * MS, "the tokens could not be sent at this rate");
        while inject && DONE.load(Relaxed) < tokens.end as u64 {
            sleep_until(now_ns() + MS);
        }
        let (process_end, thread_end) = cpu_ns();
        let percent = |ns: u64| ns as f64 * 100.0 / wall as f64;
        (percent(process_end - process), percent(thread_end - thread))
    };
    let (pacing, _) = pace(0..rate as usize, false);
    pace(0..WARM_UP, true);
    let pure_before = pure_work(work);
    let (cpu, pacer) = pace(WARM_UP..count, true);
    let pure = (pure_before + pure_work(work)) / 2.0; // ns for the work of one token
    let work = pure * rate as f64 * 100.0 / S as f64;

    let mut late: Vec<f64> = late[WARM_UP..].iter().map(|ns| ns.load(Relaxed) as f64).collect();
    assert!(late.iter().all(|&ns| ns > 0.0), "a token never came through");
    figure("over", cpu - pacing - work, "%");
    figure("p50", (percentile(&mut late, 50.0) - pure) / US as f64, "us");
    figure("p99", (percentile(&mut late, 99.0) - pure) / US as f64, "us");
    figure("cpu", cpu, "%");
    figure("pacer", pacer, "%");
    figure("work", work, "%");
}

/// ns of CPU time that the work of one token takes by itself, right now.
fn pure_work(work: u64) -> f64 {
    const TOKENS: u64 = 2_000;
    let (_, start) = cpu_ns();
    for _ in 0..TOKENS * HOPS as u64 {
        spin_work(work);
    }
    (cpu_ns().1 - start) as f64 / TOKENS as f64
}
