// SPDX-License-Identifier: ISC
//
// What bench/measure.h and bench/tasks/series.h are to the C programs: the same clocks, the same
// work, the same percentiles, the same lines printed.

use std::arch::asm;
use std::mem::MaybeUninit;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

fn clock(id: libc::clockid_t) -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    let now = unsafe {
        libc::clock_gettime(id, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec as u64 * S + now.tv_nsec as u64
}

pub fn now_ns() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// CPU time of the process and of the calling thread.
pub fn cpu_ns() -> (u64, u64) {
    (clock(libc::CLOCK_PROCESS_CPUTIME_ID), clock(libc::CLOCK_THREAD_CPUTIME_ID))
}

/// CPU time of the other threads. The two clocks are not read at once, so some of this thread's own
/// may be missing from the difference: the largest is the truest.
pub fn cpu_of_others() -> u64 {
    let other = |(process, thread): (u64, u64)| process.saturating_sub(thread);
    (0..10).map(|_| other(cpu_ns())).max().expect("a try")
}

/// Context switches of the process without those of the calling thread.
pub fn switches_of_others() -> u64 {
    let of = |who| unsafe {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        libc::getrusage(who, usage.as_mut_ptr());
        let usage = usage.assume_init();
        (usage.ru_nvcsw + usage.ru_nivcsw) as u64
    };
    of(libc::RUSAGE_SELF) - of(libc::RUSAGE_THREAD)
}

/// Lets this thread's sleeps end when they should, not up to 50 us later.
pub fn sleep_exactly() {
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

pub fn sleep_until(at: u64) {
    let at = libc::timespec { tv_sec: (at / S) as _, tv_nsec: (at % S) as _ };
    let id = libc::CLOCK_MONOTONIC;
    while unsafe { libc::clock_nanosleep(id, libc::TIMER_ABSTIME, &at, std::ptr::null_mut()) } != 0
    {
    }
}

/// A fixed amount of work: `rounds` dependent multiplications.
pub fn spin_work(rounds: u64) {
    let mut x = rounds | 1;
    for _ in 0..rounds {
        x = x.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        unsafe { asm!("/* {0} */", inout(reg) x, options(nomem, nostack, preserves_flags)) };
    }
}

/// How many rounds take `ns`, by the best of several tries.
pub fn calibrate_work(ns: u64) -> u64 {
    const ROUNDS: u64 = 1_000_000;
    let best = (0..9)
        .map(|_| {
            let start = now_ns();
            spin_work(ROUNDS);
            now_ns() - start
        })
        .min();
    ROUNDS * ns / best.expect("a try")
}

pub fn figure(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.6} {unit}");
}

pub fn percentile(values: &mut [f64], p: f64) -> f64 {
    assert!(!values.is_empty(), "no values");
    values.sort_by(|a, b| a.total_cmp(b));
    values[((values.len() - 1) as f64 * p / 100.0 + 0.5) as usize]
}

const BATCH: u64 = 100 * US;
const WARM_UP: u64 = 300 * MS;
const MEASURED: u64 = S;
const SAMPLES: usize = 20;

/// Times an iteration again and again, in batches so long that reading the clock does not count:
///
///     while let Some(count) = series.next() { for _ in 0..count { iteration } }
pub struct Series {
    batch: u64,
    begin: u64,
    last: u64,
    iterations: u64,
    samples: Vec<f64>, // us for one iteration, mean of a batch
}

impl Series {
    pub fn new() -> Series {
        Series {
            batch: 0,
            begin: now_ns(),
            last: 0,
            iterations: 0,
            samples: Vec::with_capacity(20_000),
        }
    }

    /// How many iterations to do next.
    pub fn next(&mut self) -> Option<u64> {
        let now = now_ns();
        let took = now - self.last;
        self.iterations += self.batch;
        if self.batch == 0 {
            self.batch = 1;
        } else if now < self.begin + WARM_UP {
            if took < BATCH {
                self.batch *= 2;
            }
        } else {
            self.samples.push(took as f64 / self.batch as f64 / US as f64);
            if now > self.begin + WARM_UP + MEASURED && self.samples.len() >= SAMPLES {
                return None;
            }
        }
        self.last = now_ns();
        Some(self.batch)
    }

    /// All iterations so far, those of the warm-up included.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    pub fn print(&mut self) {
        figure("time", percentile(&mut self.samples, 50.0), "us");
        figure("p99", percentile(&mut self.samples, 99.0), "us");
    }
}
