// SPDX-License-Identifier: ISC
//
// What the core asks of the kernel (os.h), on the real kernel: that it leaves threads as they were,
// takes no descriptor of the program's, follows what the process may use, and goes on where the
// kernel says no.

#include "support.h"

#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

// ---------------------------------------------------------------------------------------------
// Naps
// ---------------------------------------------------------------------------------------------

static long timer_slack(void)
{
    return syscall(SYS_prctl, PR_GET_TIMERSLACK, 0UL, 0UL, 0UL, 0UL);
}

START_TEST(a_nap_leaves_the_timer_slack_of_its_thread_as_it_was)
{
    _Atomic uint32_t word = 0;
    static const long slacks[] = {1, 2, 50000, 123456, 3000000000};
    for (unsigned i = 0; i < sizeof slacks / sizeof *slacks; i++) {
        ck_assert_int_eq(prctl(PR_SET_TIMERSLACK, (unsigned long)slacks[i], 0UL, 0UL, 0UL), 0);
        ss_os.nap(&word, 0, 1000);
        ck_assert_int_eq(timer_slack(), slacks[i]);
        ss_os.nap(&word, 1, 1000); // which does not sleep
        ck_assert_int_eq(timer_slack(), slacks[i]);
    }
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Placing
// ---------------------------------------------------------------------------------------------

static cpu_set_t affinity_of(pid_t tid)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    ck_assert_int_eq(sched_getaffinity(tid, sizeof set, &set), 0);
    return set;
}

static cpu_set_t only(unsigned cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return set;
}

static unsigned first_of(const cpu_set_t *set)
{
    unsigned cpu = 0;
    while (!CPU_ISSET(cpu, set))
        cpu++;
    return cpu;
}

static void ck_affinity(const char *when, const cpu_set_t *expected)
{
    cpu_set_t now = affinity_of(0);
    ck_assert_msg(CPU_EQUAL(&now, expected), "%s: expected %d CPUs from %u on, got %d from %u on",
                  when, CPU_COUNT(expected), first_of(expected), CPU_COUNT(&now), first_of(&now));
}

START_TEST(a_placed_thread_gets_its_cpus_back)
{
    cpu_set_t all = affinity_of(0), one = only(first_of(&all)), others;
    struct ss_placement placement;
    if (CPU_COUNT(&all) == 1) { // there is nothing to place
        ck_assert(!ss_os.place(gettid(), (int)first_of(&all), true, &placement));
        ck_affinity("on one CPU", &all);
        return;
    }
    CPU_XOR(&others, &all, &one);
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), true, &placement));
    ck_affinity("placed on one", &one);
    ss_os.release(&placement);
    ck_affinity("released", &all);
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), false, &placement));
    ck_affinity("placed elsewhere", &others);
    ss_os.release(&placement);
    ck_affinity("released", &all);
    ck_assert(!ss_os.place(gettid(), CPU_SETSIZE, true, &placement));
    ck_assert(!ss_os.place(gettid(), -1, true, &placement));
    ck_affinity("placed nowhere", &all);
}
END_TEST

START_TEST(an_affinity_set_from_outside_while_a_thread_is_placed_stays)
{
    cpu_set_t all = affinity_of(0);
    if (CPU_COUNT(&all) == 1)
        return; // nothing can be placed
    cpu_set_t one = only(first_of(&all)), others;
    CPU_XOR(&others, &all, &one);
    struct ss_placement placement;
    ck_assert(ss_os.place(gettid(), (int)first_of(&all), true, &placement));
    ck_assert_int_eq(sched_setaffinity(0, sizeof others, &others), 0); // as taskset does
    ss_os.release(&placement);
    ck_affinity("set meanwhile", &others);
}
END_TEST

// A cpuset for this process alone, below the one of the machine.
static const char *cpuset_root;
static char cpuset_path[128];

static bool write_cpuset(const char *folder, const char *name, const char *text)
{
    char path[192];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static void leave_cpuset(void)
{
    write_cpuset(cpuset_root, "cgroup.procs", "0");
    rmdir(cpuset_path);
}

// False: none can be had.
static bool enter_cpuset(const char *cpus)
{
    static const char *const roots[] = {"/sys/fs/cgroup/cpuset", "/sys/fs/cgroup"};
    for (unsigned i = 0; i < sizeof roots / sizeof *roots; i++) {
        cpuset_root = roots[i];
        snprintf(cpuset_path, sizeof cpuset_path, "%s/smolscale-test-%d", roots[i], (int)getpid());
        if (mkdir(cpuset_path, 0755) != 0)
            continue;
        if (write_cpuset(cpuset_path, "cpuset.mems", "0") &&
            write_cpuset(cpuset_path, "cpuset.cpus", cpus) &&
            write_cpuset(cpuset_path, "cgroup.procs", "0"))
            return true;
        leave_cpuset();
    }
    return false;
}

// Given back what it had, the thread has the CPUs of a cpuset that has grown, unless it had fewer.
static void *be_released_and_grow(void *arg)
{
    const char *two = arg;
    ss_os.begin_looks();
    while (ss_os.runnable_threads() == 0) // until its looks are answered
        ;
    ss_os.cpu_count(NULL, 0); // the cpuset is learnt with the quota
    struct ss_placement placement = {.had = affinity_of(0)};
    placement.set = placement.had;
    ss_os.release(&placement);
    bool grown = write_cpuset(cpuset_path, "cpuset.cpus", two);
    cpu_set_t now = affinity_of(0);
    if (grown && CPU_COUNT(&now) == 2) { // what was the whole cpuset is a restriction now
        now = only(first_of(&now));
        sched_setaffinity(0, sizeof now, &now);
        placement.had = placement.set = now;
        ss_os.release(&placement);
        now = affinity_of(0);
        return CPU_COUNT(&now) == 1 ? "right" : "a restriction of its own was lifted";
    }
    return grown ? "the cpuset has grown, and the thread has not got the CPU" : "right";
}

START_TEST(a_thread_that_was_placed_follows_a_cpuset_that_grows_later)
{
    cpu_set_t all = affinity_of(0);
    if (CPU_COUNT(&all) == 1)
        return; // nothing can grow
    unsigned first = first_of(&all), second = first + 1;
    while (!CPU_ISSET(second, &all))
        second++;
    char one[16], two[32];
    snprintf(one, sizeof one, "%u", first);
    snprintf(two, sizeof two, "%u,%u", first, second);
    if (!enter_cpuset(one))
        return; // only root can, and not everywhere
    void *outcome;
    pthread_join(thread_start(be_released_and_grow, two), &outcome);
    leave_cpuset();
    ck_assert_str_eq(outcome, "right");
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Descriptors
// ---------------------------------------------------------------------------------------------

static void wait_for(void *item, void *user_data)
{
    (void)user_data;
    counter_wait(item, 1);
}

// So that whoever opens a file in the program's table fails.
static struct rlimit limit_before;

static void use_up_all_descriptors(void)
{
    int last = open("/dev/null", O_RDONLY | O_CLOEXEC), highest = last;
    ck_assert_int_ge(last, 0);
    // Those below `last` are taken; whatever is open above it is not ours.
    while ((last = fcntl(highest, F_DUPFD_CLOEXEC, highest + 1)) >= 0 && highest < 200)
        highest = last;
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit_before = limit;
    limit.rlim_cur = (rlim_t)highest + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
        ;
    ck_assert_int_eq(errno, EMFILE);
}

START_TEST(a_blocked_worker_is_seen_though_the_program_has_no_descriptor_left)
{
    use_up_all_descriptors();
    struct counter go = COUNTER_INIT;
    smolscale_queue *queue = queue_new(wait_for, NULL, SMOLSCALE_UNLIMITED);
    // A queue that may start no more keeps the balancer looking.
    for (unsigned i = 0; i < 4 * smolscale_cpus(); i++)
        push(queue, &go);
    EVENTUALLY(stats_now().workers_blocked, >, 0);
    counter_add(&go, 1);
    smolscale_queue_free(queue);
    ck_assert_int_lt(open("/dev/null", O_RDONLY | O_CLOEXEC), 0); // and none was closed
    setrlimit(RLIMIT_NOFILE, &limit_before); // sanitizers open files when the process ends
}
END_TEST

static void sleep_for_a_ms(void *item, void *user_data)
{
    (void)item;
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    counter_add(user_data, 1);
}

START_TEST(the_lowest_free_descriptor_is_the_programs)
{
    enum { JOBS = 2000 };
    struct counter done = COUNTER_INIT;
    smolscale_queue *queue = queue_new(sleep_for_a_ms, &done, 16);
    for (unsigned i = 0; i < JOBS; i++)
        push(queue, item_of(i));
    int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(lowest, 0);
    while (counter_get(&done) < JOBS) {
        close(lowest);
        ck_assert_int_eq(open("/dev/null", O_RDONLY | O_CLOEXEC), lowest);
    }
    smolscale_queue_free(queue);
}
END_TEST

// What a thread that has begun looks is told, and what is left of it.
static void *look(void *arg)
{
    pid_t *main_and_self = arg;
    main_and_self[1] = gettid();
    enum ss_thread_state states[2];
    ss_os.begin_looks();
    // At first the kernel is said to tell nothing; the main thread waits for this one.
    for (states[0] = SS_THREAD_UNKNOWN; states[0] != SS_THREAD_SLEEPING;)
        ss_os.thread_states(main_and_self, states, 2);
    ck_assert_int_ne(states[1], SS_THREAD_UNKNOWN);
    ck_assert_uint_gt(ss_os.runnable_threads(), 0);
    ck_assert_uint_ge(ss_os.cpu_count(NULL, 0), 1);
    ss_os.end_looks();
    return NULL;
}

START_TEST(what_looks_need_is_gone_when_they_have_ended)
{
    struct tids others;
    threads_before_first_use(&others);
    for (unsigned i = 0; i < 20; i++) {
        pid_t tids[2] = {gettid(), 0};
        pthread_join(thread_start(look, tids), NULL);
        EVENTUALLY(threads_new(&others), ==, 0); // the kernel lists a joined thread for a moment
    }
}
END_TEST

START_TEST(a_child_looks_anew)
{
    pid_t tids[2] = {gettid(), 0};
    pthread_join(thread_start(look, tids), NULL);
    pid_t pid = fork();
    if (pid == 0) {
        tids[0] = gettid();
        pthread_join(thread_start(look, tids), NULL);
        _exit(CHILD_OK);
    }
    ck_child_ok(pid);
}
END_TEST

// ---------------------------------------------------------------------------------------------
// Output
// ---------------------------------------------------------------------------------------------

struct pipe_reader {
    pid_t writer;
    int from;
    size_t count;
};

// Reads all, once the writer sleeps because there is no room.
static void *read_when_writer_sleeps(void *arg)
{
    struct pipe_reader *reader = arg;
    enum ss_thread_state state = SS_THREAD_UNKNOWN;
    ss_os.begin_looks();
    while (state != SS_THREAD_SLEEPING)
        ss_os.thread_states(&reader->writer, &state, 1);
    ss_os.end_looks();
    char bytes[4096];
    for (ssize_t n; (n = read(reader->from, bytes, sizeof bytes)) > 0;)
        reader->count += (size_t)n;
    return NULL;
}

START_TEST(a_standard_error_that_does_not_wait_gets_all)
{
    static char text[1 << 20];
    int ends[2], before = dup(STDERR_FILENO);
    memset(text, '.', sizeof text);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    struct pipe_reader reader = {.writer = gettid(), .from = ends[0]};
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    ss_note_output();
    pthread_t thread = thread_start(read_when_writer_sleeps, &reader);
    int err = ss_append_to_file("/dev/stderr", text, sizeof text);
    dup2(before, STDERR_FILENO);
    close(before);
    ss_note_output();
    ck_assert_int_eq(err, 0);
    pthread_join(thread, NULL);
    close(ends[0]);
    ck_assert_uint_eq(reader.count, sizeof text);
}
END_TEST

START_TEST(a_file_in_the_place_of_standard_error_gets_nothing)
{
    int ends[2], before = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    int err = ss_append_to_file("/dev/stderr", "text", 4);
    smolscale_say("text");
    dup2(before, STDERR_FILENO);
    int here = ss_append_to_file("/dev/stderr", "", 0);
    close(before);
    char byte;
    ck_assert_int_eq(read(ends[0], &byte, 1), 0); // its end, and nothing before
    close(ends[0]);
    ck_assert_int_eq(err, -EBADF);
    ck_assert_int_eq(here, 0);
}
END_TEST

int main(void)
{
    return test_suite("os", (const TTest *[]){
                                a_nap_leaves_the_timer_slack_of_its_thread_as_it_was,
                                a_placed_thread_gets_its_cpus_back,
                                an_affinity_set_from_outside_while_a_thread_is_placed_stays,
                                a_thread_that_was_placed_follows_a_cpuset_that_grows_later,
                                a_blocked_worker_is_seen_though_the_program_has_no_descriptor_left,
                                the_lowest_free_descriptor_is_the_programs,
                                what_looks_need_is_gone_when_they_have_ended,
                                a_child_looks_anew,
                                a_standard_error_that_does_not_wait_gets_all,
                                a_file_in_the_place_of_standard_error_gets_nothing,
                                NULL,
                            });
}
