// SPDX-License-Identifier: ISC
//
// See soak.h. Usage: soak SECONDS SEED
//
// The actors play in episodes of some seconds. Between two they wait at a barrier, and main()
// looks whether the process is what it was after the first one. The watchdog is a thread that ends
// the process when an actor has played the same scene for minutes: run has gdb say then where all
// threads stand.

#include "soak.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <time.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#ifdef __SANITIZE_THREAD__
// The scene of children forks in a process with threads on purpose.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "die_after_fork=0";
}
#endif

enum { ACTORS = 6, EPISODE_S = 3, MAX_EPISODES = 100000 };
// Beside much other work the process may get next to no CPU. So a thread that is to end is given
// time and, besides, a number of looks: each look lets it run.
enum { PATIENCE_S = 600, PATIENCE_LOOKS = 20000 };

static struct actor actors[ACTORS];
static pthread_barrier_t barrier;
static atomic_bool playing, ended;
static unsigned long seed;
static atomic_ulong accounts[ACCOUNTS];

static const char *const account_names[ACCOUNTS] = {
    "jobs_accepted", "jobs_run",      "jobs_taken_back", "jobs_cleared",      "tasks_started",
    "tasks_ended",   "tasks_dropped", "messages_sent",   "messages_received", "messages_left",
    "bytes_written", "bytes_read",    "children",        "glib_pushed",       "glib_run",
    "glib_freed",    "uv_submitted",  "uv_run",          "uv_cancelled",      "items_given",
    "items_run",
};

unsigned roll(struct actor *actor, unsigned n)
{
    actor->random = actor->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((actor->random >> 33) % n);
}

void book(enum account account, unsigned long n)
{
    atomic_fetch_add_explicit(&accounts[account], n, memory_order_relaxed);
}

void soak_broken(struct actor *actor, const char *file, int line, const char *condition,
                 const char *format, ...)
{
    va_list list;
    fprintf(stderr, "BROKEN in scene %s of actor %u (%lu played, seed %lu), %s:%d: %s: ",
            actor ? atomic_load(&actor->scene) : "-", actor ? actor->number : 0,
            actor ? atomic_load(&actor->played) : 0, seed, file, line, condition);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fputc('\n', stderr);
    abort();
}

void soak_rest(void)
{
    nanosleep(&(struct timespec){0, 200000}, NULL);
}

void soak_compute(unsigned n)
{
    volatile unsigned x = 0;
    for (unsigned i = 0; i < 50 * n; i++)
        x = x + i;
}

static uint64_t seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

// ---- actors

static unsigned weight_of(const struct scene *scenes)
{
    unsigned weight = 0;
    for (; scenes->name; scenes++)
        weight += scenes->weight;
    return weight;
}

static const struct scene *const all_scenes[] = {
    queue_scenes,
    task_scenes,
#ifndef CORE_ONLY
    layer_scenes,
#endif
};
enum { SCENE_LISTS = sizeof all_scenes / sizeof all_scenes[0] };

// SOAK_SCENE names those to be played alone.
static const struct scene *pick(struct actor *actor)
{
    const char *only = getenv("SOAK_SCENE");
    unsigned total = 0;
    for (unsigned l = 0; l < SCENE_LISTS; l++)
        total += weight_of(all_scenes[l]);
    for (;;) {
        unsigned at = roll(actor, total), l = 0;
        while (at >= weight_of(all_scenes[l]))
            at -= weight_of(all_scenes[l++]);
        const struct scene *scene = all_scenes[l];
        while (at >= scene->weight)
            at -= scene++->weight;
        if (!only || strstr(only, scene->name))
            return scene;
    }
}

static void *act(void *arg)
{
    struct actor *actor = arg;
    for (;;) {
        pthread_barrier_wait(&barrier); // an episode begins
        if (atomic_load(&ended))
            return NULL;
        while (atomic_load(&playing)) {
            const struct scene *scene = pick(actor);
            atomic_store(&actor->scene, scene->name);
            scene->play(actor);
            atomic_store(&actor->scene, NULL);
            atomic_fetch_add(&actor->played, 1);
        }
        pthread_barrier_wait(&barrier); // an episode has ended
    }
}

// ---- the watchdog

// The runner looks at it, and ends it. If somebody has it go on, it fails.
static _Noreturn void stop(void)
{
    fflush(NULL);
    kill(getpid(), SIGSTOP);
    abort();
}

static void say_where_all_stand(void)
{
    for (unsigned a = 0; a < ACTORS; a++) {
        const char *scene = atomic_load(&actors[a].scene);
        fprintf(stderr, "actor %u: %s, %lu played\n", a, scene ? scene : "between two scenes",
                atomic_load(&actors[a].played));
    }
}

static atomic_ulong checks; // of main(), as an actor's scenes

static void *watch(void *arg)
{
    unsigned long seen[ACTORS + 1] = {0};
    uint64_t since[ACTORS + 1];
    for (unsigned a = 0; a <= ACTORS; a++)
        since[a] = seconds();
    for (;;) {
        sleep(1);
        for (unsigned a = 0; a <= ACTORS; a++) {
            unsigned long now = a < ACTORS ? atomic_load(&actors[a].played) : atomic_load(&checks);
            if (now != seen[a] || (a < ACTORS && !atomic_load(&actors[a].scene))) {
                seen[a] = now;
                since[a] = seconds();
            } else if (seconds() - since[a] > PATIENCE_S) {
                fprintf(stderr, "HANG (seed %lu): %s %u has not got on for %u s\n", seed,
                        a < ACTORS ? "actor" : "main()", a, PATIENCE_S);
                say_where_all_stand();
                stop();
            }
        }
    }
    return arg;
}

// ---- what is left when nothing runs

static unsigned entries(const char *path)
{
    unsigned count = 0;
    DIR *dir = opendir(path);
    EXPECT(NULL, dir != NULL, "%s cannot be read", path);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

// Which threads there are, for the log.
static void say_threads(void)
{
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(name, sizeof name, file))
            fprintf(stderr, "thread %s %s", entry->d_name, name);
        if (file)
            fclose(file);
    }
    if (dir)
        closedir(dir);
    struct smolscale_stats stats = {.size = sizeof stats};
    smolscale_get_stats(&stats);
    fprintf(stderr, "workers %u, idle %u, busy %u\n", stats.workers, smolscale_idle_workers(),
            smolscale_busy_workers());
}

struct state {
    unsigned threads, fds;
    size_t bytes; // that malloc() has given
};

static struct state state_now(void)
{
    return (struct state){
        .threads = entries("/proc/self/task"),
        .fds = entries("/proc/self/fd"),
        .bytes = mallinfo2().uordblks,
    };
}

#ifdef CORE_ONLY
enum { THREADS_KEPT = 2 }; // the executor's own two
static void stop_unused(void)
{
}
#else
#include <glib.h>
#include <uv.h>
// Natively each pool of libuv has its four threads for good, and here too, with whom creates them.
enum { THREADS_KEPT = 2 + 4 + 1 };
static void stop_unused(void)
{
    g_thread_pool_stop_unused_threads();
}
#endif

static size_t samples[MAX_EPISODES];

// The least of some samples, for there may always be something on its way.
static size_t least(unsigned from, unsigned to)
{
    size_t value = SIZE_MAX;
    for (unsigned i = from; i < to; i++)
        value = samples[i] < value ? samples[i] : value;
    return value;
}

static void check_books(void)
{
    static const struct {
        enum account whole, parts[3];
        unsigned count;
    } sums[] = {
        {JOBS_ACCEPTED, {JOBS_RUN, JOBS_TAKEN_BACK, JOBS_CLEARED}, 3},
        {TASKS_STARTED, {TASKS_ENDED, TASKS_DROPPED}, 2},
        {MESSAGES_SENT, {MESSAGES_RECEIVED, MESSAGES_LEFT}, 2},
        {BYTES_WRITTEN, {BYTES_READ}, 1},
        {GLIB_PUSHED, {GLIB_RUN, GLIB_FREED}, 2},
        {UV_SUBMITTED, {UV_RUN, UV_CANCELLED}, 2},
        {ITEMS_GIVEN, {ITEMS_RUN}, 1},
    };
    for (unsigned i = 0; i < sizeof sums / sizeof sums[0]; i++) {
        unsigned long parts = 0;
        for (unsigned p = 0; p < sums[i].count; p++)
            parts += atomic_load(&accounts[sums[i].parts[p]]);
        EXPECT(NULL, parts == atomic_load(&accounts[sums[i].whole]), "%s: %lu, accounted for: %lu",
               account_names[sums[i].whole], atomic_load(&accounts[sums[i].whole]), parts);
    }
}

// Between two episodes: waits until what is idle has gone, and looks at what is there.
static struct state settle(const struct state *base)
{
    check_books();
    smolscale_set_max_idle(SMOLSCALE_UNLIMITED);
    smolscale_set_idle_timeout(0);
    uint64_t end = seconds() + PATIENCE_S / 3;
    unsigned looks = 0;
    struct state now;
    do {
        smolscale_retire_idle();
        stop_unused();
        soak_rest();
        now = state_now();
        looks++;
    } while (base && now.threads > base->threads + THREADS_KEPT &&
             (seconds() < end || looks < PATIENCE_LOOKS));
    if (base && now.threads > base->threads + THREADS_KEPT) {
        fprintf(stderr, "LEFT (seed %lu): %u threads, at first there were %u\n", seed, now.threads,
                base->threads);
        say_threads();
        stop();
    }
    atomic_fetch_add(&checks, 1);
    return now;
}

int main(int argc, char **argv)
{
    uint64_t duration = argc > 1 ? strtoul(argv[1], NULL, 10) : 10;
    seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
    pthread_t threads[ACTORS], watchdog;
    struct state base, first = {0}, now = {0};

    signal(SIGPIPE, SIG_IGN);
    pthread_barrier_init(&barrier, NULL, ACTORS + 1);
    for (unsigned a = 0; a < ACTORS; a++) {
        actors[a].number = a;
        actors[a].random = (seed * 1000 + a) * UINT64_C(0x9e3779b97f4a7c15);
        if (pthread_create(&threads[a], NULL, act, &actors[a]) != 0)
            return 2;
    }
    if (pthread_create(&watchdog, NULL, watch, NULL) != 0)
        return 2;
    base = state_now();
    soak_open_what_stays_open();
    uint64_t start = seconds();
    unsigned episodes = 0;
    while (seconds() - start < duration && episodes < MAX_EPISODES) {
        atomic_store(&playing, true);
        pthread_barrier_wait(&barrier);
        for (unsigned s = 0; s < EPISODE_S; s++) {
            sleep(1);
            atomic_fetch_add(&checks, 1);
        }
        atomic_store(&playing, false);
        pthread_barrier_wait(&barrier);
        now = settle(&base);
        if (episodes == 0)
            first = now;
        EXPECT(NULL, now.fds <= first.fds, "%u descriptors are open, after the first episode %u",
               now.fds, first.fds);
        if (episodes % 20 == 0)
            fprintf(stderr, "after %u episodes: %zu bytes\n", episodes + 1, now.bytes);
        samples[episodes++] = now.bytes;
    }
    atomic_store(&ended, true);
    pthread_barrier_wait(&barrier);
    for (unsigned a = 0; a < ACTORS; a++)
        pthread_join(threads[a], NULL);

    unsigned long played = 0;
    for (unsigned a = 0; a < ACTORS; a++)
        played += atomic_load(&actors[a].played);
    printf("seconds %lu\nseed %lu\nepisodes %u\nscenes %lu\n", (unsigned long)(seconds() - start),
           seed, episodes, played);
    for (unsigned i = 0; i < ACCOUNTS; i++)
        printf("%s %lu\n", account_names[i], atomic_load(&accounts[i]));
    printf("threads_first %u\nthreads_last %u\nfds_first %u\nfds_last %u\n", base.threads,
           now.threads, first.fds, now.fds);
    struct smolscale_stats stats = {.size = sizeof stats};
    smolscale_get_stats(&stats);
    printf("workers_created %lu\nworkers_peak %u\n", (unsigned long)stats.workers_created,
           stats.workers_peak);
    // The first third fills what is kept; from then on nothing grows.
    if (episodes >= 9) {
        size_t early = least(episodes / 3, 2 * episodes / 3);
        size_t late = least(2 * episodes / 3, episodes);
        printf("bytes_early %zu\nbytes_late %zu\n", early, late);
        if (!SANITIZED)
            EXPECT(NULL, late <= early + early / 10 + (1 << 17),
                   "%zu bytes are held, in the middle it was %zu", late, early);
    }
    check_books();
    puts("all accounted for");
    return 0;
}
