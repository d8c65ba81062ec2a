// SPDX-License-Identifier: ISC
//
// Descriptors: what each awaitable gives, that no event is lost whoever looks for it, and that
// nobody wakes up without one.

#include "support.h"

#include "io/reactor.h"
#include "sched/executor.h"
#include "smolscale_async.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

// ---- what the tests are made of

static void pair_new(int fds[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void pipe_new(int fds[2])
{
    ck_assert_int_eq(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
}

static void close_fd(int fd)
{
    smolscale_forget(fd);
    ck_assert_int_eq(close(fd), 0);
}

static void send_text(int fd, const char *text)
{
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static int end_of(smolscale_task *task)
{
    int result = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return result;
}

struct reader {
    SMOLSCALE_FRAME;
    int fd, n;
    char text[64];
    struct counter *begun;
};

SMOLSCALE_ASYNC(reader, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->begun)
        counter_add(f->begun, 1);
    SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, f->text, sizeof f->text));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

struct watcher {
    SMOLSCALE_FRAME;
    int fd, events, n;
    struct counter *begun;
};

SMOLSCALE_ASYNC(watcher, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->begun)
        counter_add(f->begun, 1);
    SMOLSCALE_AWAIT(f->n, smolscale_ready(cx, f->fd, f->events));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

struct writer {
    SMOLSCALE_FRAME;
    int fd, n;
    const char *data;
    size_t size;
    struct counter *begun;
};

SMOLSCALE_ASYNC(writer, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->begun)
        counter_add(f->begun, 1);
    SMOLSCALE_AWAIT(f->n, smolscale_write(cx, f->fd, f->data, f->size));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

// Until the task that has begun is suspended, as far as that can be seen from outside: all workers
// sleep.
static void let_tasks_suspend(void)
{
    EVENTUALLY(smolscale_running_threads(), ==, 0);
}

static smolscale_task *spawn_reader(int fd)
{
    struct counter begun = COUNTER_INIT;
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, reader, .fd = fd, .begun = &begun), 0);
    counter_wait(&begun, 1);
    let_tasks_suspend();
    return task;
}

static smolscale_task *spawn_watcher(int fd, int events)
{
    struct counter begun = COUNTER_INIT;
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, watcher, .fd = fd, .events = events, .begun = &begun),
                     0);
    counter_wait(&begun, 1);
    let_tasks_suspend();
    return task;
}

static size_t fill(int fd)
{
    static const char zeros[4096];
    size_t all = 0;
    for (ssize_t n; (n = write(fd, zeros, sizeof zeros)) > 0;)
        all += (size_t)n;
    for (ssize_t n; (n = write(fd, zeros, 1)) > 0;)
        all += (size_t)n;
    return all;
}

static void drain(int fd)
{
    char text[4096];
    while (read(fd, text, sizeof text) > 0)
        ;
}

// ---- ready

START_TEST(ready_gives_at_once_what_holds)
{
    int fds[2];
    pair_new(fds);
    int both = SMOLSCALE_READABLE | SMOLSCALE_WRITABLE;
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], both)), SMOLSCALE_WRITABLE);
    send_text(fds[1], "x");
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], both)), both);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], SMOLSCALE_READABLE)),
                     SMOLSCALE_READABLE);
    // It is a state, not an event: it still holds.
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], SMOLSCALE_READABLE)),
                     SMOLSCALE_READABLE);
    close_fd(fds[1]);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], SMOLSCALE_READABLE)),
                     SMOLSCALE_READABLE | SMOLSCALE_HANGUP);
    close_fd(fds[0]);
}
END_TEST

START_TEST(ready_waits_for_each_direction)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *readable = spawn_watcher(fds[0], SMOLSCALE_READABLE);
    ck_assert(!smolscale_finished(readable));
    send_text(fds[1], "x");
    ck_assert_int_eq(end_of(readable), SMOLSCALE_READABLE);
    drain(fds[0]);

    fill(fds[0]);
    smolscale_task *writable = spawn_watcher(fds[0], SMOLSCALE_WRITABLE);
    ck_assert(!smolscale_finished(writable));
    drain(fds[1]);
    ck_assert_int_eq(end_of(writable), SMOLSCALE_WRITABLE);

    fill(fds[0]);
    smolscale_task *either = spawn_watcher(fds[0], SMOLSCALE_READABLE | SMOLSCALE_WRITABLE);
    ck_assert(!smolscale_finished(either));
    send_text(fds[1], "x");
    ck_assert_int_eq(end_of(either), SMOLSCALE_READABLE);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

START_TEST(hanging_up_wakes_all_that_wait)
{
    int fds[2];
    pair_new(fds);
    fill(fds[0]);
    smolscale_task *reads = spawn_watcher(fds[0], SMOLSCALE_READABLE);
    smolscale_task *writes = spawn_watcher(fds[0], SMOLSCALE_WRITABLE);
    close_fd(fds[1]);
    ck_assert_int_eq(end_of(reads), SMOLSCALE_READABLE | SMOLSCALE_HANGUP);
    ck_assert_int_ne(end_of(writes) & SMOLSCALE_HANGUP, 0);
    close_fd(fds[0]);
}
END_TEST

START_TEST(a_peer_that_sends_no_more_does_not_bother_a_writer)
{
    int fds[2];
    pair_new(fds);
    fill(fds[0]);
    smolscale_task *writable = spawn_watcher(fds[0], SMOLSCALE_WRITABLE);
    ck_assert_int_eq(shutdown(fds[1], SHUT_WR), 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, fds[0], SMOLSCALE_READABLE)),
                     SMOLSCALE_READABLE | SMOLSCALE_HANGUP);
    let_tasks_suspend();
    ck_assert(!smolscale_finished(writable));
    drain(fds[1]);
    ck_assert_int_eq(end_of(writable), SMOLSCALE_WRITABLE);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

START_TEST(wrong_arguments_give_their_errors)
{
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, file, SMOLSCALE_READABLE)), -EPERM);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, file, 0)), -EINVAL);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, file, SMOLSCALE_HANGUP)), -EINVAL);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, -1, SMOLSCALE_READABLE)), -EBADF);
    char text[4];
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, -1, text, 4)), -EBADF);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, file, text, 4)), 4);
    ck_assert(memcmp(text, "\177ELF", 4) == 0);
    close_fd(file);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, file, text, 4)), -EBADF);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_ready(cx, file, SMOLSCALE_READABLE)), -EBADF);
    smolscale_forget(-1);
    smolscale_forget(12345);
}
END_TEST

// ---- read and write

START_TEST(read_gives_what_is_there_then_what_comes_then_the_end)
{
    int fds[2];
    pair_new(fds);
    send_text(fds[1], "here");
    smolscale_task *task = spawn_reader(fds[0]);
    ck_assert_int_eq(end_of(task), 4);
    task = spawn_reader(fds[0]);
    ck_assert(!smolscale_finished(task));
    send_text(fds[1], "comes");
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_join(cx, task)), 5);
    ck_assert(memcmp(((struct reader *)smolscale_frame(task))->text, "comes", 5) == 0);
    smolscale_release(task);
    task = spawn_reader(fds[0]);
    close_fd(fds[1]);
    ck_assert_int_eq(end_of(task), 0);
    close_fd(fds[0]);
}
END_TEST

START_TEST(write_writes_all_of_it_however_long_that_takes)
{
    enum { SIZE = 3 << 20 };
    char *data = malloc(SIZE), *got = malloc(SIZE);
    uint64_t random = 1;
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)test_random(&random);
    for (int kind = 0; kind < 2; kind++) {
        int fds[2];
        kind == 0 ? pipe_new(fds) : pair_new(fds);
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, writer, .fd = fds[1], .data = data, .size = SIZE),
                         0);
        for (size_t done = 0; done < SIZE;) {
            size_t some = 1 + test_random(&random) % 100000;
            int n = SMOLSCALE_BLOCK(
                smolscale_read(cx, fds[0], got + done, some < SIZE - done ? some : SIZE - done));
            ck_assert_int_gt(n, 0);
            done += (size_t)n;
        }
        ck_assert_int_eq(end_of(task), SIZE);
        ck_assert_int_eq(memcmp(data, got, SIZE), 0);
        close_fd(fds[0]);
        close_fd(fds[1]);
    }
    free(data);
    free(got);
}
END_TEST

START_TEST(writing_to_a_socket_without_a_reader_is_an_error_and_no_signal)
{
    int fds[2];
    pair_new(fds);
    close_fd(fds[0]);
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_write(cx, fds[1], "x", 1)), -EPIPE);
    close_fd(fds[1]);

    pair_new(fds);
    fill(fds[1]);
    struct counter begun = COUNTER_INIT;
    smolscale_task *task;
    ck_assert_int_eq(
        SMOLSCALE_SPAWN(&task, writer, .fd = fds[1], .data = "x", .size = 1, .begun = &begun), 0);
    counter_wait(&begun, 1);
    let_tasks_suspend();
    ck_assert(!smolscale_finished(task));
    close_fd(fds[0]);
    ck_assert_int_eq(end_of(task), -EPIPE);
    close_fd(fds[1]);
}
END_TEST

START_TEST(each_direction_has_one_that_waits)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    ck_assert_int_eq(end_of(spawn_reader(fds[0])), -EBUSY);
    ck_assert_int_eq(end_of(spawn_watcher(fds[0], SMOLSCALE_READABLE)), -EBUSY);
    // The other direction is free, for another task.
    fill(fds[0]);
    smolscale_task *writes = spawn_watcher(fds[0], SMOLSCALE_WRITABLE);
    ck_assert_int_eq(end_of(spawn_watcher(fds[0], SMOLSCALE_WRITABLE)), -EBUSY);
    drain(fds[1]);
    ck_assert_int_eq(end_of(writes), SMOLSCALE_WRITABLE);
    ck_assert(!smolscale_finished(task));
    send_text(fds[1], "x");
    ck_assert_int_eq(end_of(task), 1);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

// ---- accept and connect

static int listen_on_loopback(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof *address;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)address, size), 0);
    ck_assert_int_eq(listen(fd, 128), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)address, &size), 0);
    return fd;
}

struct acceptor {
    SMOLSCALE_FRAME;
    int fd, n;
    unsigned wanted;
    smolscale_channel *out;
};

SMOLSCALE_ASYNC(acceptor, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->wanted-- > 0) {
        SMOLSCALE_AWAIT(f->n, smolscale_accept(cx, f->fd));
        if (f->n < 0)
            SMOLSCALE_RETURN(f->n);
        SMOLSCALE_TRY(smolscale_send(cx, f->out, &f->n));
    }
    SMOLSCALE_END;
}

START_TEST(accept_and_connect_meet)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address);
    smolscale_channel *accepted;
    ck_assert_int_eq(smolscale_channel_new(&accepted, sizeof(int), 1), 0);
    smolscale_task *task;
    ck_assert_int_eq(
        SMOLSCALE_SPAWN(&task, acceptor, .fd = listener, .wanted = 50, .out = accepted), 0);
    for (unsigned i = 0; i < 50; i++) {
        int client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), server;
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_connect(cx, client, (struct sockaddr *)&address,
                                                           sizeof address)),
                         0);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, accepted, &server)), 0);
        ck_assert_int_ne(fcntl(server, F_GETFL) & O_NONBLOCK, 0);
        ck_assert_int_ne(fcntl(server, F_GETFD) & FD_CLOEXEC, 0);
        char text[8];
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_write(cx, client, "hello", 5)), 5);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, server, text, 8)), 5);
        close_fd(client);
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, server, text, 8)), 0);
        if (i % 2) // a number that was not forgotten is no matter where accept() brings it back
            close_fd(server);
        else
            close(server);
    }
    ck_assert_int_eq(end_of(task), 0);
    close_fd(listener);
    smolscale_channel_unref(accepted);
}
END_TEST

START_TEST(a_refused_connection_says_so)
{
    struct sockaddr_in address;
    close_fd(listen_on_loopback(&address)); // a port that nobody listens on any more
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(
        SMOLSCALE_BLOCK(smolscale_connect(cx, fd, (struct sockaddr *)&address, sizeof address)),
        -ECONNREFUSED);
    close_fd(fd);
}
END_TEST

START_TEST(several_acceptors_miss_no_connection)
{
    enum { CONNECTIONS = 200 };
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address);
    smolscale_channel *accepted;
    ck_assert_int_eq(smolscale_channel_new(&accepted, sizeof(int), 0), 0);
    smolscale_task *task[2];
    // The second waits while the first is at work; one that finds another waiting tries later.
    for (unsigned i = 0; i < 2; i++)
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task[i], acceptor, .fd = listener, .wanted = CONNECTIONS,
                                         .out = accepted),
                         0);
    int client[CONNECTIONS], server;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        client[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(connect(client[i], (struct sockaddr *)&address, sizeof address), 0);
        if (i % 16 == 15) // some at a time
            for (unsigned n = 0; n < 16; n++) {
                ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_recv(cx, accepted, &server)), 0);
                close_fd(server);
            }
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        close(client[i]);
    for (unsigned i = 0; i < 2; i++)
        smolscale_cancel(task[i]);
    for (unsigned i = 0; i < 2; i++) {
        int result = end_of(task[i]);
        ck_assert_msg(result == -ECANCELED || result == -EBUSY, "got %d", result);
    }
    close_fd(listener);
    smolscale_channel_unref(accepted);
}
END_TEST

// ---- interruption

START_TEST(a_cancelled_read_takes_nothing)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    ck_assert(smolscale_cancel(task));
    ck_assert_int_eq(end_of(task), -ECANCELED);
    send_text(fds[1], "kept");
    ck_assert_int_eq(end_of(spawn_reader(fds[0])), 4);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

struct patient {
    SMOLSCALE_FRAME;
    int fd, n;
    char text[64];
};

SMOLSCALE_ASYNC(patient, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TIMEOUT(f->n, 5 * 1000 * 1000, smolscale_read(cx, f->fd, f->text, sizeof f->text));
    if (f->n != -ETIMEDOUT)
        SMOLSCALE_RETURN(-EPROTO);
    f->text[0] = 'x';
    SMOLSCALE_TIMEOUT(f->n, UINT64_MAX, smolscale_write(cx, f->fd, f->text, 1));
    if (f->n != 1)
        SMOLSCALE_RETURN(-EPROTO);
    SMOLSCALE_TIMEOUT(f->n, UINT64_MAX, smolscale_read(cx, f->fd, f->text, sizeof f->text));
    SMOLSCALE_RETURN(f->n);
    SMOLSCALE_END;
}

START_TEST(a_read_whose_time_is_up_leaves_the_next_one_whole)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&task, patient, .fd = fds[0]), 0);
    char text[8];
    ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, fds[1], text, 8)), 1);
    send_text(fds[1], "answer");
    ck_assert_int_eq(end_of(task), 6);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

START_TEST(timers_fire_while_a_task_waits_for_descriptors)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    for (unsigned i = 0; i < 20; i++) {

        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_sleep(cx, 1000000)), 0);
    }
    send_text(fds[1], "x");
    ck_assert_int_eq(end_of(task), 1);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

START_TEST(forgetting_gives_ebadf_to_those_that_wait_and_a_number_can_be_used_again)
{
    for (unsigned i = 0; i < SCALED(200); i++) {
        int fds[2];
        pair_new(fds);
        smolscale_task *task = spawn_reader(fds[0]);
        ck_assert(!smolscale_finished(task));
        close_fd(fds[0]);
        close_fd(fds[1]);
        int again[2];
        pair_new(again); // the same numbers
        ck_assert_int_eq(again[0], fds[0]);
        smolscale_task *other = spawn_reader(again[0]);
        send_text(again[1], "other");
        ck_assert_int_eq(end_of(other), 5);
        ck_assert_int_eq(end_of(task), -EBADF);
        close_fd(again[0]);
        close_fd(again[1]);
    }
}
END_TEST

START_TEST(any_number_will_do)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int highest = limit.rlim_cur < 100000 ? (int)limit.rlim_cur - 1 : 99999;
    for (int number = 60; number <= highest; number = number * 3 / 2) {
        int fds[2];
        pair_new(fds);
        int high = fcntl(fds[0], F_DUPFD_CLOEXEC, number);
        ck_assert_int_ge(high, number);
        close(fds[0]);
        smolscale_task *task = spawn_reader(high);
        send_text(fds[1], "x");
        ck_assert_int_eq(end_of(task), 1);
        close_fd(high);
        close_fd(fds[1]);
    }
}
END_TEST

// What comes between a read that finds nothing and the suspension: the core's reads come by here.
static atomic_int missed_on = -1, missed_from = -1;

ssize_t read(int fd, void *buffer, size_t size)
{
    ssize_t n = syscall(SYS_read, fd, buffer, size);
    int expected = fd;
    if (n < 0 && errno == EAGAIN && atomic_compare_exchange_strong(&missed_on, &expected, -1)) {
        ck_assert_int_eq(write(atomic_load(&missed_from), "x", 1), 1);
        ss_reactor_poll(); // the report is taken while the task is not on the list yet
        errno = EAGAIN;
    }
    return n;
}

START_TEST(an_event_between_the_read_and_the_suspension_is_not_lost)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    send_text(fds[1], "registered");
    ck_assert_int_eq(end_of(task), 10);
    for (unsigned i = 0; i < 20; i++) {
        let_tasks_suspend();
        atomic_store(&missed_from, fds[1]);
        atomic_store(&missed_on, fds[0]);
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, reader, .fd = fds[0]), 0);
        ck_assert_int_eq(end_of(task), 1);
        ck_assert_int_eq(atomic_load(&missed_on), -1);
    }
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

// ---- whoever looks for events

static atomic_bool stop;

struct spinner {
    SMOLSCALE_FRAME;
    struct counter *begun;
};

SMOLSCALE_ASYNC(spinner, f)
{
    SMOLSCALE_BEGIN(f);
    counter_add(f->begun, 1);
    while (!atomic_load(&stop))
        ;
    SMOLSCALE_END;
}

START_TEST(a_task_that_never_yields_holds_up_no_event)
{
    int fds[2];
    pair_new(fds);
    struct counter begun = COUNTER_INIT;
    smolscale_task *reads = spawn_reader(fds[0]), *spins;
    ck_assert_int_eq(SMOLSCALE_SPAWN(&spins, spinner, .begun = &begun), 0);
    counter_wait(&begun, 1);
    send_text(fds[1], "x");
    EVENTUALLY(smolscale_finished(reads), ==, true);
    ck_assert(!smolscale_finished(spins));
    atomic_store(&stop, true);
    ck_assert_int_eq(end_of(reads), 1);
    ck_assert_int_eq(end_of(spins), 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

static struct counter never = COUNTER_INIT;

static void wait_for_the_end(void *item, void *user_data)
{
    (void)item;
    counter_add(user_data, 1);
    counter_wait(&never, 1);
}

START_TEST(events_are_seen_while_all_workers_block_in_jobs)
{
    int fds[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    struct counter begun = COUNTER_INIT;
    smolscale_queue *queue = queue_new(wait_for_the_end, &begun, SMOLSCALE_UNLIMITED);
    for (unsigned i = 0; i < 8; i++)
        push(queue, item_of(i));
    counter_wait(&begun, 8);
    smolscale_retire_idle();
    send_text(fds[1], "x");
    ck_assert_int_eq(end_of(task), 1);
    counter_add(&never, 1);
    smolscale_queue_free(queue);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

START_TEST(events_are_seen_when_all_idle_workers_are_sent_away)
{
    int fds[2];
    pair_new(fds);
    for (unsigned i = 0; i < SCALED(100); i++) {
        smolscale_task *task = spawn_reader(fds[0]);
        smolscale_retire_idle();
        send_text(fds[1], "x");
        ck_assert_int_eq(end_of(task), 1);
    }
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

// Reads a byte and sends it back, as a thread.
static void *echo_on_thread(void *arg)
{
    int fd = *(int *)arg;
    for (;;) {
        char c;
        int n = SMOLSCALE_BLOCK(smolscale_read(cx, fd, &c, 1));
        ck_assert_int_ge(n, 0);
        if (n == 0)
            return NULL;
        ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_write(cx, fd, &c, 1)), 1);
    }
}

START_TEST(threads_wait_for_descriptors_and_no_worker_is_needed)
{
    enum { THREADS = 4 };
    int fds[THREADS][2];
    pthread_t thread[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        pair_new(fds[i]);
        thread[i] = thread_start(echo_on_thread, &fds[i][1]);
    }
    for (unsigned round = 0; round < SCALED(2000); round++)
        for (unsigned i = 0; i < THREADS; i++) {
            char c;
            send_text(fds[i][0], "y");
            ck_assert_int_eq(SMOLSCALE_BLOCK(smolscale_read(cx, fds[i][0], &c, 1)), 1);
        }
    for (unsigned i = 0; i < THREADS; i++) {
        close_fd(fds[i][0]);
        pthread_join(thread[i], NULL);
        close_fd(fds[i][1]);
    }
    ck_assert_uint_eq(stats_now().workers, 0);
}
END_TEST

// ---- fork

START_TEST(a_child_of_fork_has_its_own)
{
    int fds[2], mine[2];
    pair_new(fds);
    smolscale_task *task = spawn_reader(fds[0]);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        // Another task waits for the very descriptor; what comes there is the parent's.
        pair_new(mine);
        struct counter begun = COUNTER_INIT;
        smolscale_task *other;
        if (SMOLSCALE_SPAWN(&other, reader, .fd = mine[0], .begun = &begun) != 0)
            _exit(1);
        counter_wait(&begun, 1);
        if (write(mine[1], "child", 5) != 5 || SMOLSCALE_BLOCK(smolscale_join(cx, other)) != 5)
            _exit(2);
        smolscale_forget(fds[0]); // does not take it from the parent
        close(fds[0]);
        _exit(42);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(WEXITSTATUS(status), 42);
    ck_assert(!smolscale_finished(task));
    send_text(fds[1], "parent");
    ck_assert_int_eq(end_of(task), 6);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

// ---- stress

struct streamer {
    SMOLSCALE_FRAME;
    int fd, n;
    uint64_t random;
    size_t left;
    unsigned char next, text[3000];
};

// Sends a sequence of bytes in pieces of any size.
SMOLSCALE_ASYNC(streamer, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left > 0) {
        f->n = 1 + (int)(test_random(&f->random) % sizeof f->text);
        f->n = (size_t)f->n < f->left ? f->n : (int)f->left;
        for (int i = 0; i < f->n; i++)
            f->text[i] = f->next++;
        f->left -= (size_t)f->n;
        SMOLSCALE_TRY(smolscale_write(cx, f->fd, f->text, (size_t)f->n));
    }
    SMOLSCALE_END;
}

struct checker {
    SMOLSCALE_FRAME;
    int fd, n;
    uint64_t random;
    size_t left;
    unsigned char next, text[3000];
    unsigned timeouts;
};

// Takes them in, in pieces of any size, often with hardly any patience.
SMOLSCALE_ASYNC(checker, f)
{
    SMOLSCALE_BEGIN(f);
    while (f->left > 0) {
        if (test_random(&f->random) % 2)
            SMOLSCALE_TIMEOUT(
                f->n, test_random(&f->random) % 50000,
                smolscale_read(cx, f->fd, f->text, 1 + test_random(&f->random) % sizeof f->text));
        else
            SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, f->text,
                                                 1 + test_random(&f->random) % sizeof f->text));
        if (f->n == -ETIMEDOUT) {
            f->timeouts++;
            continue;
        }
        if (f->n <= 0)
            SMOLSCALE_RETURN(f->n ? f->n : -EPIPE);
        for (int i = 0; i < f->n; i++)
            if (f->text[i] != f->next++)
                SMOLSCALE_RETURN(-EILSEQ);
        f->left -= (size_t)f->n;
    }
    SMOLSCALE_END;
}

START_TEST(streams_in_both_directions_of_many_sockets_arrive_whole)
{
    enum { PAIRS = 24 };
    size_t size = SCALED(1 << 20);
    int fds[PAIRS][2];
    smolscale_task *task[PAIRS][4];
    for (unsigned i = 0; i < PAIRS; i++) {
        pair_new(fds[i]);
        int small = 4096;
        for (unsigned side = 0; side < 2; side++) {
            setsockopt(fds[i][side], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
            ck_assert_int_eq(SMOLSCALE_SPAWN(&task[i][side], streamer, .fd = fds[i][side],
                                             .left = size, .random = 2 * i + side),
                             0);
            ck_assert_int_eq(SMOLSCALE_SPAWN(&task[i][2 + side], checker, .fd = fds[i][side],
                                             .left = size, .random = 2 * i + side + 99),
                             0);
        }
    }
    for (unsigned i = 0; i < PAIRS; i++)
        for (unsigned t = 0; t < 4; t++)
            ck_assert_int_eq(end_of(task[i][t]), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
}
END_TEST

struct echo {
    SMOLSCALE_FRAME;
    int fd, n;
    char text[64];
};

SMOLSCALE_ASYNC(echo, f)
{
    SMOLSCALE_BEGIN(f);
    for (;;) {
        SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, f->text, sizeof f->text));
        if (f->n <= 0)
            SMOLSCALE_RETURN(f->n);
        SMOLSCALE_TRY(smolscale_write(cx, f->fd, f->text, (size_t)f->n));
    }
    SMOLSCALE_END;
}

struct client {
    int fd;
    unsigned rounds;
    uint64_t random;
};

// Sends and waits, in the kernel and outside of the executor, with pauses of every length between:
// whoever looks for events is met awake, on its way to sleep and asleep.
static void *ask_again_and_again(void *arg)
{
    struct client *client = arg;
    for (unsigned i = 0; i < client->rounds; i++) {
        char c = (char)i, got = 0;
        ck_assert_int_eq(write(client->fd, &c, 1), 1);
        ck_assert_int_eq(read(client->fd, &got, 1), 1);
        ck_assert_int_eq(got, c);
        unsigned dice = test_random(&client->random) % 64;
        volatile unsigned spin = 0;
        for (unsigned n = 0; dice < 32 && n < 1u << (dice / 2); n++)
            spin = spin + 1;
        if (dice == 63)
            nanosleep(&(struct timespec){0, 100000}, NULL);
    }
    return NULL;
}

static void ask(unsigned clients, unsigned rounds)
{
    struct client client[8];
    pthread_t thread[8];
    int server[8];
    smolscale_task *task[8];
    for (unsigned i = 0; i < clients; i++) {
        int fds[2];
        pair_new(fds);
        fcntl(fds[0], F_SETFL, 0); // the client's blocks
        client[i] = (struct client){fds[0], rounds, i};
        server[i] = fds[1];
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task[i], echo, .fd = server[i]), 0);
        thread[i] = thread_start(ask_again_and_again, &client[i]);
    }
    for (unsigned i = 0; i < clients; i++) {
        pthread_join(thread[i], NULL);
        close(client[i].fd);
        ck_assert_int_eq(end_of(task[i]), 0);
        close_fd(server[i]);
    }
}

START_TEST(no_event_of_a_single_client_is_lost)
{
    ask(1, SCALED(20000));
}
END_TEST

START_TEST(no_event_of_several_clients_is_lost)
{
    ask(2, SCALED(8000));
    ask(8, SCALED(3000));
}
END_TEST

static void nothing(void *item, void *user_data)
{
    (void)item, (void)user_data;
}

// No other could do the job, and no event comes to wake it.
START_TEST(a_job_wakes_the_only_worker_out_of_the_seat)
{
    setenv("SMOLSCALE_MAX_THREADS", "1", 1);
    int fds[2];
    pair_new(fds);
    smolscale_queue *queue = queue_new(nothing, NULL, 1);
    for (unsigned i = 0; i < SCALED(1000); i++) {
        smolscale_task *task = spawn_reader(fds[0]);
        push(queue, item_of(1));
        smolscale_queue_wait(queue);
        send_text(fds[1], "x");
        ck_assert_int_eq(end_of(task), 1);
    }
    smolscale_queue_free(queue);
    close_fd(fds[0]);
    close_fd(fds[1]);
}
END_TEST

static void *push_again_and_again(void *arg)
{
    smolscale_queue *queue = arg;
    uint64_t random = 7;
    while (!atomic_load(&stop)) {
        push(queue, item_of(1));
        if (test_random(&random) % 4 == 0)
            smolscale_queue_wait(queue);
        if (test_random(&random) % 16 == 0)
            nanosleep(&(struct timespec){0, 50000}, NULL);
        if (test_random(&random) % 64 == 0)
            smolscale_retire_idle();
    }
    return NULL;
}

START_TEST(no_event_is_lost_while_jobs_take_workers_out_of_the_seat)
{
    smolscale_queue *queue = queue_new(nothing, NULL, 2);
    pthread_t pusher = thread_start(push_again_and_again, queue);
    ask(2, SCALED(4000));
    atomic_store(&stop, true);
    pthread_join(pusher, NULL);
    smolscale_queue_free(queue);
}
END_TEST

static void *cancel_again_and_again(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < SCALED(3000); i++) {
        int fds[2];
        pair_new(fds);
        smolscale_task *task;
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task, reader, .fd = fds[0]), 0);
        if (i % 3 == 0)
            sched_yield();
        if (i % 2)
            send_text(fds[1], "x");
        smolscale_cancel(task);
        if (i % 5 == 0)
            smolscale_forget(fds[0]);
        int result = end_of(task);
        // What was not read is still there.
        char text[8];
        int left = (int)read(fds[0], text, sizeof text);
        if (result == 1)
            ck_assert_int_eq(left, -1);
        else
            ck_assert_msg(result == -ECANCELED || (i % 5 == 0 && result == -EBADF), "got %d",
                          result);
        if (result != 1 && i % 2)
            ck_assert_int_eq(left, 1);
        close_fd(fds[0]);
        close_fd(fds[1]);
    }
    return NULL;
}

START_TEST(reads_that_race_with_cancel_and_forget_give_all_or_nothing)
{
    pthread_t thread[3];
    for (unsigned i = 0; i < 3; i++)
        thread[i] = thread_start(cancel_again_and_again, NULL);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
}
END_TEST

// ---- zero idle

START_TEST(while_a_thousand_wait_and_nothing_comes_nothing_wakes_up)
{
    enum { WAITING = 1000 };
    struct tids others;
    threads_before_first_use(&others);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    static int fds[WAITING][2];
    static smolscale_task *task[WAITING];
    for (unsigned i = 0; i < WAITING; i++) {
        pair_new(fds[i]);
        ck_assert_int_eq(SMOLSCALE_SPAWN(&task[i], reader, .fd = fds[i][0]), 0);
    }
    ck_nothing_wakes_up(&others);
    for (unsigned i = 0; i < WAITING; i++) {
        send_text(fds[i][1], "x");
        ck_assert_int_eq(end_of(task[i]), 1);
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
}
END_TEST

int main(void)
{
    return test_suite("reactor",
                      (const TTest *[]){
                          ready_gives_at_once_what_holds,
                          ready_waits_for_each_direction,
                          hanging_up_wakes_all_that_wait,
                          a_peer_that_sends_no_more_does_not_bother_a_writer,
                          wrong_arguments_give_their_errors,
                          read_gives_what_is_there_then_what_comes_then_the_end,
                          write_writes_all_of_it_however_long_that_takes,
                          writing_to_a_socket_without_a_reader_is_an_error_and_no_signal,
                          each_direction_has_one_that_waits,
                          accept_and_connect_meet,
                          a_refused_connection_says_so,
                          several_acceptors_miss_no_connection,
                          a_cancelled_read_takes_nothing,
                          a_read_whose_time_is_up_leaves_the_next_one_whole,
                          timers_fire_while_a_task_waits_for_descriptors,
                          forgetting_gives_ebadf_to_those_that_wait_and_a_number_can_be_used_again,
                          any_number_will_do,
                          an_event_between_the_read_and_the_suspension_is_not_lost,
                          a_task_that_never_yields_holds_up_no_event,
                          events_are_seen_while_all_workers_block_in_jobs,
                          events_are_seen_when_all_idle_workers_are_sent_away,
                          threads_wait_for_descriptors_and_no_worker_is_needed,
                          a_child_of_fork_has_its_own,
                          streams_in_both_directions_of_many_sockets_arrive_whole,
                          no_event_of_a_single_client_is_lost,
                          no_event_of_several_clients_is_lost,
                          a_job_wakes_the_only_worker_out_of_the_seat,
                          no_event_is_lost_while_jobs_take_workers_out_of_the_seat,
                          reads_that_race_with_cancel_and_forget_give_all_or_nothing,
                          while_a_thousand_wait_and_nothing_comes_nothing_wakes_up,
                          NULL,
                      });
}
