// SPDX-License-Identifier: ISC
//
// The kernel, as core/os/os.h asks for it: futexes, sleeps, threads, clocks, states, membarrier.

#include "sim.h"

#include <errno.h>
#include <string.h>

void sim_call(const char *what)
{
    struct sim_thread *self = sim.self;
    if (!self)
        return;
    struct sim_op op = {.kind = SIM_OP_CALL, .what = what};
    sim.driver->step(self, &op);
    self->spins_out = false;
    sim_flush(self);
}

// What is chosen is part of what the thread has seen: else a search would take the ways for one.
static unsigned choose(enum sim_choice what, unsigned count)
{
    unsigned way = sim.driver->choose(what, count);
    if (sim.self)
        sim.self->hash = sim_mix(sim.self->hash, way + 1);
    return way;
}

bool sim_call_fails(enum sim_choice what)
{
    return choose(what, 2) != 0;
}

unsigned sim_roll(unsigned count)
{
    return choose(SIM_CHOOSE_ACTION, count);
}

static uint64_t read_clock(const char *what)
{
    if (sim.self) {
        struct sim_op op = {.kind = SIM_OP_CLOCK, .what = what};
        sim.driver->step(sim.self, &op);
    }
    uint64_t time = sim_now();
    if (sim.self)
        sim.self->hash = sim_mix(sim.self->hash, time);
    return time;
}

static uint64_t now(void)
{
    return read_clock(NULL);
}

uint64_t sim_ticks(void);
uint64_t sim_ticks(void)
{
    return read_clock("ticks");
}

// ---- futexes

static bool futex_wait_until(_Atomic uint32_t *word, uint32_t expected, uint64_t until)
{
    struct sim_thread *self = sim.self;
    sim_call("futex wait");
    sim_memory_access(word, sizeof *word, false);
    sim_saw(word);
    if (*word != expected)
        return true;
    if (until <= sim_now())
        return false;
    if (choose(SIM_CHOOSE_SPURIOUS, 2))
        return true;
    self->word = word;
    sim_changed((char *)word + 1); // the sleepers' order
    sim_sleep(SIM_FUTEX, until);
    return !self->time_up;
}

static struct sim_thread *first_sleeper(const void *word)
{
    struct sim_thread *first = NULL;
    for (unsigned id = 1; id <= sim.thread_count; id++) {
        struct sim_thread *thread = &sim_threads[id];
        if (thread->state == SIM_ASLEEP && thread->wait == SIM_FUTEX && thread->word == word &&
            (!first || thread->asleep_since_turn < first->asleep_since_turn))
            first = thread;
    }
    return first;
}

// The word itself is not touched: it may be gone.
static void futex_wake(_Atomic uint32_t *word, int count)
{
    struct sim_thread *sleeper;
    sim_call("futex wake");
    sim_changed((char *)word + 1);
    while (count-- > 0 && (sleeper = first_sleeper(word)))
        sim_wake(sleeper, false);
}

// As the real one: without the slack of the thread's timers. Where time is not counted there is
// none.
static void nap(_Atomic uint32_t *word, uint32_t expected, uint64_t ns)
{
    uint64_t slack = sim.self->slack;
    if (!sim.driver->counts_time) {
        futex_wait_until(word, expected, sim_now() + ns);
        return;
    }
    sim_call("prctl");
    sim_call("prctl");
    sim.self->slack = 1;
    futex_wait_until(word, expected, sim_now() + ns);
    sim_call("prctl");
    sim.self->slack = slack;
}

static int poll_until(struct pollfd *fds, unsigned count, uint64_t until)
{
    sim_call("ppoll");
    if (choose(SIM_CHOOSE_SPURIOUS, 2))
        return -1;
    int ready = sim_descriptors_ready(fds, count);
    if (ready || until <= sim_now())
        return ready;
    sim.self->fds = fds;
    sim.self->fd_count = count;
    sim_sleep(SIM_POLL, until);
    ready = sim_descriptors_ready(fds, count);
    return ready || sim.self->time_up ? ready : -1;
}

// ---- giving way

static void yield(void)
{
    sim_call("sched_yield");
    sim_relax();
}

#define REST_NS 50000u

static void rest(void)
{
    sim_call("nanosleep");
    sim_sleep(SIM_REST, sim_now() + REST_NS);
}

// ---- threads

static int create(void *(*main)(void *), void *arg, bool joinable)
{
    sim_call("clone");
    if (sim_call_fails(SIM_CHOOSE_THREAD))
        return -EAGAIN;
    struct sim_op op = {.kind = SIM_OP_CREATE};
    sim.driver->step(sim.self, &op);
    struct sim_thread *thread = sim_new_thread(main, arg);
    if (!thread)
        return -EAGAIN;
    thread->joinable = joinable;
    return 0;
}

static int thread_create(void *(*main)(void *), void *arg)
{
    return create(main, arg, false);
}

static int thread_create_joinable(void *(*main)(void *), void *arg, size_t stack_size)
{
    (void)stack_size;
    return create(main, arg, true);
}

static ss_thread thread_self(void)
{
    return (ss_thread)sim.self->id;
}

static void thread_join(ss_thread id)
{
    struct sim_thread *thread = &sim_threads[id];
    SIM_CHECK(thread->joinable && !thread->joined, "a thread is joined that is not to be joined");
    sim_join(thread);
}

static void thread_detach(ss_thread id)
{
    struct sim_thread *thread = &sim_threads[id];
    sim_call("detach");
    SIM_CHECK(thread->joinable && !thread->joined, "a thread is detached that is joined");
    thread->joinable = false;
}

static struct sim_thread *by_tid(pid_t tid)
{
    return tid > 0 && (unsigned)tid <= sim.thread_count ? &sim_threads[tid] : NULL;
}

// Another's state, which the caller has seen.
static const struct sim_thread *look_at(pid_t tid)
{
    struct sim_thread *thread = by_tid(tid);
    if (thread)
        sim.self->hash = sim_mix(
            sim.self->hash, sim_mix(thread->hash, (uint64_t)thread->state << 8 | thread->spins));
    return thread && thread->state != SIM_ENDED ? thread : NULL;
}

static bool thread_exists(pid_t tid)
{
    sim_call("tgkill");
    return look_at(tid) != NULL;
}

// Without a clock of the driver's: a step is 20 ns.
static uint64_t thread_cpu_time(pid_t tid)
{
    sim_call("clock_gettime of a thread");
    const struct sim_thread *thread = look_at(tid);
    if (!thread)
        return UINT64_MAX;
    uint64_t time = sim.driver->cpu_time ? sim.driver->cpu_time(thread) : thread->steps * 20;
    sim.self->hash = sim_mix(sim.self->hash, time);
    return time;
}

static void begin_looks(void)
{
    sim_call("open /proc");
}

static void end_looks(void)
{
    sim_call("close /proc");
}

static void thread_states(const pid_t *tids, enum ss_thread_state *states, unsigned count)
{
    sim_call("read /proc");
    bool fails = sim_call_fails(SIM_CHOOSE_PROC);
    for (unsigned i = 0; i < count; i++) {
        const struct sim_thread *thread = look_at(tids[i]);
        bool asleep = thread && (thread->state == SIM_ASLEEP ||
                                 (thread->still_until != 0 && thread->still_asleep));
        states[i] = !thread || fails ? SS_THREAD_UNKNOWN
                    : asleep         ? SS_THREAD_SLEEPING
                                     : SS_THREAD_RUNNABLE;
    }
}

static unsigned runnable_threads(void)
{
    unsigned count = 0;
    sim_call("read /proc/loadavg");
    if (sim_call_fails(SIM_CHOOSE_PROC))
        return 0;
    for (unsigned id = 1; id <= sim.thread_count; id++)
        count += sim_threads[id].state == SIM_RUNNABLE;
    sim.self->hash = sim_mix(sim.self->hash, count);
    return count;
}

static unsigned cpu_count(const pid_t *tids, unsigned count)
{
    (void)tids, (void)count;
    sim_call("sched_getaffinity");
    return sim.config.cpus;
}

static int cpu(void)
{
    return sim.self ? sim.self->cpu : 0;
}

static uint64_t sleeps(void)
{
    sim_call("getrusage");
    return sim.self->sleeps;
}

static bool place(pid_t tid, int where, bool on, struct ss_placement *placement)
{
    (void)placement;
    sim_call("sched_setaffinity");
    struct sim_thread *thread = by_tid(tid);
    if (!thread || sim_call_fails(SIM_CHOOSE_AFFINITY))
        return false;
    SIM_CHECK(!thread->placed, "thread %d is placed that has not got its CPUs back", (int)tid);
    thread->placed = sim.driver->place ? sim.driver->place(thread, where, on) : true;
    return thread->placed;
}

static void release(const struct ss_placement *placement)
{
    (void)placement;
    sim_call("sched_setaffinity");
    SIM_CHECK(sim.self->placed, "thread %u gets CPUs back that it has not lost", sim.self->id);
    sim.self->placed = false;
    if (sim.driver->release)
        sim.driver->release(sim.self);
}

// ---- fences

static bool membarrier_register(void)
{
    sim_call("membarrier");
    sim.asymmetric_registered = !sim.config.no_membarrier;
    return sim.asymmetric_registered;
}

static bool membarrier(void)
{
    sim_call("membarrier");
    if (!sim.asymmetric_registered || sim_call_fails(SIM_CHOOSE_MEMBARRIER))
        return false;
    sim_flush_all();
    return true;
}

// ---- identity

uintptr_t sim_thread_address(void)
{
    return (uintptr_t)sim.self;
}

static pid_t thread_id(void)
{
    return (pid_t)sim.self->id;
}

static void name_thread(const char *name)
{
    (void)name;
    sim_call("prctl");
}

static void thread_traits(struct ss_traits *traits)
{
    memset(traits, 0, sizeof *traits);
    traits->nice = sim.self->nice;
}

static void set_thread_traits(const struct ss_traits *traits)
{
    sim.self->nice = traits->nice;
}

static void set_signal_mask(const sigset_t *mask)
{
    (void)mask;
}

static void block_signals(sigset_t *before)
{
    memset(before, 0, sizeof *before);
}

static void stay_loaded(void)
{
}

struct ss_os ss_os = {
    .now = now,
    .futex_wait_until = futex_wait_until,
    .nap = nap,
    .poll_until = poll_until,
    .yield = yield,
    .rest = rest,
    .futex_wake = futex_wake,
    .thread_create = thread_create,
    .thread_create_joinable = thread_create_joinable,
    .thread_create_small = thread_create,
    .thread_self = thread_self,
    .thread_join = thread_join,
    .thread_detach = thread_detach,
    .thread_exists = thread_exists,
    .thread_cpu_time = thread_cpu_time,
    .begin_looks = begin_looks,
    .end_looks = end_looks,
    .thread_states = thread_states,
    .runnable_threads = runnable_threads,
    .cpu_count = cpu_count,
    .cpu = cpu,
    .sleeps = sleeps,
    .place = place,
    .release = release,
    .membarrier_register = membarrier_register,
    .membarrier = membarrier,
    .thread_id = thread_id,
    .name_thread = name_thread,
    .thread_traits = thread_traits,
    .set_thread_traits = set_thread_traits,
    .set_signal_mask = set_signal_mask,
    .block_signals = block_signals,
    .stay_loaded = stay_loaded,
};
