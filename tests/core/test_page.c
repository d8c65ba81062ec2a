// SPDX-License-Identifier: ISC
//
// The page by which `smolscale top` looks at a process: who may see it, what stands in it, and that
// it is there as long as its process is. tests/cli/test_broken_pages.c has the reader's side.

#include "support.h"

#include "os/shared.h"
#include "process/page.h"
#include "trace/points.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char runtime[64]; // stands for $XDG_RUNTIME_DIR
static char folder[96];  // in it, that of the pages

// ---------------------------------------------------------------------------------------------
// The reader's side, without distrust
// ---------------------------------------------------------------------------------------------

static void prepare(const char *top)
{
    strcpy(runtime, "/tmp/smolscale-page-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(runtime));
    snprintf(folder, sizeof folder, "%s/" SS_SHARED_FOLDER, runtime);
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    setenv("SMOLSCALE_TOP", top, 1);
}

// The files in the folder: their number, and the name of the last one.
static unsigned files(char name[256])
{
    DIR *entries = opendir(folder);
    unsigned count = 0;
    const struct dirent *entry;
    while (entries && (entry = readdir(entries))) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (name)
            snprintf(name, 256, "%s", entry->d_name);
    }
    if (entries)
        closedir(entries);
    return count;
}

static bool has_page_of(pid_t pid)
{
    char prefix[32];
    DIR *entries = opendir(folder);
    bool found = false;
    const struct dirent *entry;
    snprintf(prefix, sizeof prefix, "%d-", (int)pid);
    while (entries && (entry = readdir(entries)))
        found |= strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (entries)
        closedir(entries);
    return found;
}

static void clean_up(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", runtime);
    ck_assert_int_eq(system(command), 0);
}

// The only page there is, once it is written.
static struct ss_page *open_page(void)
{
    char name[256], path[512];
    EVENTUALLY(files(name), ==, 1);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    struct stat info;
    EVENTUALLY((fstat(fd, &info), info.st_size), >=, sizeof(struct ss_page));
    struct ss_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(page, MAP_FAILED);
    close(fd);
    EVENTUALLY(*(volatile char *)page->head.magic, ==, SS_PAGE_MAGIC[0]);
    atomic_thread_fence(memory_order_seq_cst);
    return page;
}

static void ask(struct ss_page *page)
{
    uint32_t number = atomic_load(&page->head.request) + 1; // one that is not being answered
    atomic_store(&page->head.request, number);
    syscall(SYS_futex, &page->head.request, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    EVENTUALLY(atomic_load(&page->head.answered), ==, number);
}

// Until a look has got the lock of the first queue.
static void ask_until_seen(struct ss_page *page)
{
    EVENTUALLY((ask(page), page->body.queue[0].flags & SS_PAGE_UNSEEN), ==, 0);
}

// ---------------------------------------------------------------------------------------------
// Jobs whose state is known
// ---------------------------------------------------------------------------------------------

static struct counter started = COUNTER_INIT, may_end = COUNTER_INIT;

static void stand(void *item, void *user_data)
{
    (void)item, (void)user_data;
    counter_add(&started, 1);
    counter_wait(&may_end, 1);
}

// Has one job run: from then on there is a page.
static void use_executor(void)
{
    smolscale_queue *queue = queue_new(stand, NULL, 1);
    counter_add(&may_end, 1);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
}

// A queue in which two jobs stand and three wait.
static smolscale_queue *standing_queue(void)
{
    smolscale_queue *queue = queue_new(stand, NULL, 2);
    for (unsigned i = 0; i < 5; i++)
        push(queue, item_of(i));
    counter_wait(&started, 2);
    return queue;
}

static void end_standing(smolscale_queue *queue)
{
    counter_add(&may_end, 1);
    smolscale_queue_free(queue);
}

// ---------------------------------------------------------------------------------------------
// The tests
// ---------------------------------------------------------------------------------------------

START_TEST(without_the_option_there_is_neither_page_nor_thread)
{
    prepare("0");
    struct tids others;
    threads_before_first_use(&others);
    end_standing(standing_queue());
    ck_assert_uint_eq(files(NULL), 0);
    ck_assert_uint_eq(threads_named("smolscale-top", &others), 0);
    clean_up();
}
END_TEST

START_TEST(it_is_the_owners_alone)
{
    prepare("1");
    umask(0);
    smolscale_queue *queue = standing_queue();
    open_page();
    char name[256], path[512];
    files(name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    struct stat info;
    ck_assert_int_eq(lstat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode, S_IFREG | 0600);
    ck_assert_uint_eq(info.st_uid, geteuid());
    ck_assert_int_eq(lstat(folder, &info), 0);
    ck_assert_uint_eq(info.st_mode, S_IFDIR | 0700);
    end_standing(queue);
    clean_up();
}
END_TEST

START_TEST(it_says_what_waits_and_what_runs)
{
    prepare("1");
    smolscale_queue *queue = standing_queue();
    struct ss_page *page = open_page();
    const struct ss_page_body *body = &page->body;
    ask_until_seen(page);
    ck_assert_uint_eq(page->head.version, SS_PAGE_VERSION);
    ck_assert_uint_eq(page->head.size, sizeof *page);
    ck_assert_int_eq(page->head.pid, getpid());
    ck_assert_uint_eq(body->queues, 1);
    ck_assert_uint_eq(body->queue_count, 1);
    ck_assert_uint_eq(body->queue[0].pending, 3);
    ck_assert_uint_eq(body->queue[0].active, 2);
    ck_assert_uint_eq(body->queue[0].max_active, 2);
    ck_assert_uint_eq(body->queue[0].ended, 0);
    ck_assert_uint_eq(body->counters[SS_PAGE_JOBS], 0);
    unsigned in_job = 0;
    for (unsigned i = 0; i < body->worker_count; i++) {
        const struct ss_page_worker *worker = &body->worker[i];
        // Where it has waited for a CPU it may be taken for one that computes.
        if (worker->state != SS_PAGE_IN_JOB && worker->state != SS_PAGE_BLOCKED &&
            worker->state != SS_PAGE_HOG)
            continue;
        in_job++;
        ck_assert_uint_eq(worker->serves, SS_PAGE_QUEUE);
        ck_assert_uint_eq(worker->queue, body->queue[0].number);
    }
    ck_assert_uint_eq(in_job, 2);
    counter_add(&may_end, 1);
    smolscale_queue_wait(queue);
    ask_until_seen(page);
    ck_assert_uint_eq(body->queue[0].pending, 0);
    ck_assert_uint_eq(body->queue[0].ended, 5);
    ck_assert_uint_eq(body->counters[SS_PAGE_JOBS], 5);
    smolscale_queue_free(queue);
    ask(page);
    ck_assert_uint_eq(body->queues, 0);
    clean_up();
}
END_TEST

START_TEST(of_many_queues_those_in_use_are_listed)
{
    enum { QUEUES = SS_PAGE_QUEUES + 50 };
    prepare("1");
    smolscale_queue *used = standing_queue(), *queues[QUEUES];
    for (unsigned i = 0; i < QUEUES; i++)
        queues[i] = queue_new(stand, NULL, 1);
    struct ss_page *page = open_page();
    ask(page);
    ck_assert_uint_eq(page->body.queues, QUEUES + 1);
    ck_assert_uint_eq(page->body.queue_count, SS_PAGE_QUEUES);
    ck_assert_uint_eq(page->body.queue[0].pending, 3); // the oldest, and the only one in use
    for (unsigned i = 0; i < QUEUES; i++)
        smolscale_queue_free(queues[i]);
    end_standing(used);
    clean_up();
}
END_TEST

START_TEST(it_is_written_while_queues_come_and_go)
{
    prepare("1");
    use_executor();
    struct ss_page *page = open_page();
    for (unsigned i = 0; i < (unsigned)SCALED(2000); i++) {
        smolscale_queue *queue = queue_new(stand, NULL, 2);
        uint32_t number = atomic_load(&page->head.request) + 1;
        atomic_store(&page->head.request, number);
        syscall(SYS_futex, &page->head.request, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        for (unsigned k = 0; k < 10; k++)
            push(queue, item_of(k));
        smolscale_queue_free(queue);
    }
    ask(page);
    ck_assert_uint_eq(page->body.queues, 0);
    clean_up();
}
END_TEST

// In a child that ends by exit(): whether its page was there before, and is gone after.
START_TEST(it_is_removed_at_exit)
{
    prepare("1");
    int told[2];
    ck_assert_int_eq(pipe(told), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        use_executor();
        open_page();
        if (write(told[1], "x", 1) != 1)
            _exit(1);
        exit(CHILD_OK);
    }
    char mark;
    ck_assert_int_eq(read(told[0], &mark, 1), 1);
    ck_child_ok(pid);
    ck_assert_uint_eq(files(NULL), 0);
    clean_up();
}
END_TEST

START_TEST(a_child_of_fork_has_its_own)
{
    prepare("1");
    smolscale_queue *queue = standing_queue();
    open_page();
    pid_t parent = getpid();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct tids others;
        threads_now(&others);
        if (others.count != 1 || has_page_of(getpid())) // none before the first use
            _exit(1);
        use_executor();
        EVENTUALLY(has_page_of(getpid()), ==, true);
        exit(has_page_of(parent) ? CHILD_OK : 2);
    }
    ck_child_ok(pid);
    ck_assert(!has_page_of(pid)); // removed at the child's exit
    ck_assert(has_page_of(parent));
    end_standing(queue);
    clean_up();
}
END_TEST

START_TEST(what_ended_processes_have_left_is_removed_and_nothing_else)
{
    prepare("1");
    pid_t dead = fork();
    if (dead == 0)
        _exit(0);
    waitpid(dead, NULL, 0);
    struct stat info;
    ck_assert_int_eq(stat("/proc/self/ns/pid", &info), 0);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    char names[5][512];
    snprintf(names[0], sizeof names[0], "%s/%d-%llx", folder, (int)dead,
             (unsigned long long)info.st_ino);
    snprintf(names[1], sizeof names[1], "%s/%d-%llx", folder, (int)dead,
             (unsigned long long)info.st_ino + 1); // of another namespace
    snprintf(names[2], sizeof names[2], "%s/%d-%llx.txt", folder, (int)dead,
             (unsigned long long)info.st_ino);
    snprintf(names[3], sizeof names[3], "%s/1-%llx", folder, (unsigned long long)info.st_ino);
    snprintf(names[4], sizeof names[4], "%s/notes", folder);
    for (unsigned i = 0; i < 5; i++)
        close(open(names[i], O_WRONLY | O_CREAT, 0600));
    use_executor();
    EVENTUALLY(has_page_of(getpid()), ==, true);
    ck_assert_int_ne(access(names[0], F_OK), 0);
    for (unsigned i = 1; i < 5; i++)
        ck_assert_msg(access(names[i], F_OK) == 0, "%s was removed", names[i]);
    clean_up();
}
END_TEST

// What lies at its name is replaced, never followed.
START_TEST(a_link_at_its_name_is_not_followed)
{
    prepare("1");
    char victim[512], link[512], text[8] = "";
    struct stat info;
    ck_assert_int_eq(stat("/proc/self/ns/pid", &info), 0);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    snprintf(victim, sizeof victim, "%s/victim", runtime);
    snprintf(link, sizeof link, "%s/%d-%llx", folder, (int)getpid(),
             (unsigned long long)info.st_ino);
    int fd = open(victim, O_RDWR | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, "intact", 6), 6);
    ck_assert_int_eq(symlink(victim, link), 0);
    use_executor();
    EVENTUALLY(lstat(link, &info) == 0 && S_ISREG(info.st_mode), ==, true);
    open_page();
    ck_assert_int_eq(pread(fd, text, sizeof text, 0), 6);
    ck_assert_str_eq(text, "intact");
    clean_up();
}
END_TEST

static bool is_in_shm(void)
{
    char path[128];
    struct stat info;
    if (stat("/proc/self/ns/pid", &info) != 0)
        return false;
    snprintf(path, sizeof path, SS_SHARED_IN_SHM "/" SS_SHARED_NAME, (unsigned)geteuid(),
             (int)getpid(), (unsigned long long)info.st_ino);
    return access(path, F_OK) == 0;
}

// Then it lies where no other user can get at it.
START_TEST(a_folder_that_others_may_enter_or_that_is_a_link_is_not_used)
{
    prepare("1");
    if (_i == 0) {
        ck_assert_int_eq(mkdir(folder, 0700), 0);
        ck_assert_int_eq(chmod(folder, 0711), 0);
    } else {
        char other[512];
        snprintf(other, sizeof other, "%s/other", runtime);
        ck_assert_int_eq(mkdir(other, 0700), 0);
        ck_assert_int_eq(symlink(other, folder), 0);
    }
    use_executor();
    EVENTUALLY(is_in_shm(), ==, true);
    ck_assert_uint_eq(files(NULL), 0);
    clean_up();
}
END_TEST

// A file longer than the process may write would end it by SIGXFSZ.
START_TEST(a_process_that_may_write_no_files_has_none_and_goes_on)
{
    prepare("1");
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct tids others;
    threads_before_first_use(&others);
    smolscale_queue *queue = standing_queue();
    EVENTUALLY(threads_named("smolscale-top", &others), ==, 0);
    ck_assert_uint_eq(files(NULL), 0);
    end_standing(queue);
    clean_up();
}
END_TEST

static int no_thread(void *(*main_)(void *), void *arg)
{
    (void)main_, (void)arg;
    return -EAGAIN;
}

START_TEST(without_its_thread_jobs_run_all_the_same)
{
    prepare("1");
    ss_os.thread_create_small = no_thread; // nor has the balancer one
    smolscale_queue *queue = queue_new(stand, NULL, 1);
    push(queue, item_of(0));
    counter_wait(&started, 1);
    end_standing(queue);
    ck_assert_uint_eq(files(NULL), 0);
    clean_up();
}
END_TEST

START_TEST(a_queue_alone_makes_none)
{
    prepare("1");
    struct tids others;
    threads_before_first_use(&others);
    smolscale_queue_free(queue_new(stand, NULL, 1));
    ck_assert_uint_eq(threads_named("smolscale-top", &others), 0);
    ck_assert_uint_eq(files(NULL), 0);
    clean_up();
}
END_TEST

START_TEST(its_thread_takes_no_signal)
{
    prepare("1");
    struct tids others;
    threads_before_first_use(&others);
    use_executor();
    struct ss_page *page = open_page();
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)page->head.tid);
    FILE *file = fopen(path, "r");
    unsigned long long blocked = 0;
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "SigBlk: %llx", &blocked);
    ck_assert_ptr_nonnull(file);
    fclose(file);
    ck_assert((blocked & 1ull << (SIGTERM - 1)) && (blocked & 1ull << (SIGUSR1 - 1)));
    clean_up();
}
END_TEST

// Jobs that wait a moment, one after the other.
static void pass_jobs(void)
{
    smolscale_queue *queue = queue_new(stand, NULL, 1);
    counter_add(&may_end, 1);
    for (unsigned i = 0; i < 100; i++)
        push(queue, item_of(i));
    smolscale_queue_wait(queue);
    smolscale_queue_free(queue);
}

static uint64_t times_on(const struct ss_page *page)
{
    uint64_t times = 0;
    for (unsigned i = 0; i < page->body.queue_count; i++)
        times += page->body.queue[i].waits;
    return times;
}

// One job on workers that end with their group.
static void use_group(void)
{
    smolscale_group *group;
    struct smolscale_group_attr attr = {
        .size = sizeof attr, .max_workers = SMOLSCALE_UNLIMITED, .max_idle = SMOLSCALE_UNLIMITED};
    ck_assert_int_eq(smolscale_group_new(&group, &attr), 0);
    smolscale_queue *queue;
    struct smolscale_queue_attr queue_attr = {
        .size = sizeof queue_attr, .run = stand, .max_active = 1, .group = group};
    ck_assert_int_eq(smolscale_queue_new(&queue, &queue_attr), 0);
    push(queue, item_of(0));
    smolscale_queue_free(queue);
    smolscale_group_free(group);
}

START_TEST(it_goes_with_the_last_thread_of_the_executor_and_comes_again)
{
    prepare("1");
    struct tids others;
    threads_before_first_use(&others);
    counter_add(&may_end, 1);
    for (unsigned round = 0; round < 5; round++) {
        use_group();
        EVENTUALLY(threads_new(&others), ==, 0);
        ck_assert_uint_eq(files(NULL), 0);
    }
    use_executor();
    ask(open_page());
    clean_up();
}
END_TEST

// It is asked to leave and wanted again, at any moment of its life.
START_TEST(it_may_be_wanted_again_at_any_time)
{
    prepare("1");
    counter_add(&may_end, 1);
    for (unsigned round = 0; round < SCALED(2000); round++)
        use_group();
    use_executor();
    ask(open_page());
    ck_assert_uint_eq(files(NULL), 1);
    clean_up();
}
END_TEST

START_TEST(how_long_jobs_wait_is_measured_while_a_reader_comes_again)
{
    prepare("1");
    use_executor();
    struct ss_page *page = open_page();
    smolscale_queue *queue = queue_new(stand, NULL, 1); // of the same pool, and listed
    ask(page);
    ck_assert(!ss_has_samples()); // a single look
    pass_jobs();
    ask(page);
    ck_assert_uint_eq(times_on(page), 0);
    atomic_store(&page->head.again, 1);
    ask(page);
    ck_assert(ss_has_samples());
    push(queue, item_of(0));
    pass_jobs();
    smolscale_queue_wait(queue);
    atomic_store(&page->head.again, 3600); // this machine may be slow
    ask(page);
    ck_assert_uint_gt(times_on(page), 0);
    ck_assert_uint_gt(page->body.queue[0].wait_max, 0);
    ck_assert_uint_le(page->body.queue[0].wait_p50, page->body.queue[0].wait_max);
    clean_up();
}
END_TEST

START_TEST(when_no_reader_comes_any_more_the_measuring_ends)
{
    prepare("1");
    use_executor();
    struct ss_page *page = open_page();
    atomic_store(&page->head.again, 1);
    ask(page);
    EVENTUALLY(ss_has_samples(), ==, false);
    ck_assert(!ss_is_observed_in_part());
    atomic_store(&page->head.again, 0);
    ask(page);
    ck_assert(!ss_has_samples());
    ck_assert_uint_eq(times_on(page), 0);
    clean_up();
}
END_TEST

// Also if the thread has not come to end it before.
START_TEST(a_look_after_the_end_finds_nothing_measured)
{
    fake_clock_start();
    prepare("1");
    use_executor();
    struct ss_page *page = open_page();
    smolscale_queue *queue = queue_new(stand, NULL, 1); // of the same pool, and listed
    atomic_store(&page->head.again, 1);
    ask(page);
    ck_assert(ss_has_samples());
    push(queue, item_of(0));
    smolscale_queue_wait(queue);
    atomic_store(&page->head.again, 0);
    fake_clock_advance((1 + SS_PAGE_GRACE_S) * SS_NS_PER_S);
    ask(page);
    ck_assert_uint_eq(times_on(page), 0);
    clean_up();
}
END_TEST

START_TEST(a_child_of_a_process_that_is_looked_at_is_not)
{
    prepare("1");
    use_executor();
    struct ss_page *page = open_page();
    atomic_store(&page->head.again, 3600);
    ask(page);
    pass_jobs();
    ck_assert(ss_has_samples());
    pid_t child = fork();
    if (child == 0) {
        bool observed = ss_has_samples() || ss_is_observed_in_part();
        pass_jobs();
        observed |= ss_has_samples();
        _exit(observed);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert(ss_has_samples());
    clean_up();
}
END_TEST

START_TEST(any_number_in_its_words_is_answered)
{
    prepare("1");
    smolscale_queue *queue = standing_queue();
    struct ss_page *page = open_page();
    static const uint32_t numbers[] = {UINT32_MAX, 0, 7, 6, 1u << 31, UINT32_MAX};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        // What else is in the page is the process' to write: it reads none of it.
        memset(&page->body, 0xff, sizeof page->body);
        atomic_store(&page->head.request, numbers[i]);
        syscall(SYS_futex, &page->head.request, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
        EVENTUALLY(atomic_load(&page->head.answered), ==, numbers[i]);
        ck_assert_uint_eq(page->body.queue_count, 1);
        ck_assert_uint_eq(page->body.queue[0].pending, 3);
        ck_assert_uint_eq(atomic_load(&page->head.sequence) % 2, 0);
    }
    end_standing(queue);
    clean_up();
}
END_TEST

int main(void)
{
    const struct test_rounds tests[] = {
        {without_the_option_there_is_neither_page_nor_thread, 1},
        {it_is_the_owners_alone, 1},
        {it_says_what_waits_and_what_runs, 1},
        {of_many_queues_those_in_use_are_listed, 1},
        {it_is_written_while_queues_come_and_go, 1},
        {it_is_removed_at_exit, 1},
        {a_child_of_fork_has_its_own, 1},
        {what_ended_processes_have_left_is_removed_and_nothing_else, 1},
        {a_link_at_its_name_is_not_followed, 1},
        {a_folder_that_others_may_enter_or_that_is_a_link_is_not_used, 2},
        {a_process_that_may_write_no_files_has_none_and_goes_on, 1},
        {without_its_thread_jobs_run_all_the_same, 1},
        {a_queue_alone_makes_none, 1},
        {its_thread_takes_no_signal, 1},
        {it_goes_with_the_last_thread_of_the_executor_and_comes_again, 1},
        {it_may_be_wanted_again_at_any_time, 1},
        {how_long_jobs_wait_is_measured_while_a_reader_comes_again, 1},
        {when_no_reader_comes_any_more_the_measuring_ends, 1},
        {a_look_after_the_end_finds_nothing_measured, 1},
        {a_child_of_a_process_that_is_looked_at_is_not, 1},
        {any_number_in_its_words_is_answered, 1},
    };
    return test_suite_of_rounds("page", tests, sizeof tests / sizeof *tests);
}
