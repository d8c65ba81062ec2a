// SPDX-License-Identifier: ISC
//
// What awaiting a descriptor costs: a byte there and back over socket pairs, between tasks that
// read and write, and between the same state machines in a plain epoll loop. Both sides in turns;
// medians. And what a server costs whose connections are silent.
//
//     descriptors [--rounds N] [--pairs N] [--idle SECONDS] [--connections N]

#include "measure.h"

#include <smolscale.h>
#include <smolscale_async.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS 7

static void make_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        fail("socketpair: %d", errno);
}

// ---- tasks

struct player {
    SMOLSCALE_FRAME;
    int fd, n;
    long rounds;
    bool serves;
    char byte;
};

SMOLSCALE_ASYNC(player, f)
{
    SMOLSCALE_BEGIN(f);
    if (f->serves)
        SMOLSCALE_TRY(smolscale_write(cx, f->fd, &f->byte, 1));
    while (f->rounds-- > 0) {
        SMOLSCALE_AWAIT(f->n, smolscale_read(cx, f->fd, &f->byte, 1));
        if (f->n != 1)
            SMOLSCALE_RETURN(-EPIPE);
        if (f->rounds > 0 || !f->serves)
            SMOLSCALE_TRY(smolscale_write(cx, f->fd, &f->byte, 1));
    }
    SMOLSCALE_END;
}

static uint64_t with_tasks(long rounds, long pairs)
{
    int fds[pairs][2];
    smolscale_task *task[pairs][2];
    uint64_t begin = now_ns();
    for (long i = 0; i < pairs; i++) {
        make_pair(fds[i]);
        for (int side = 0; side < 2; side++)
            if (SMOLSCALE_SPAWN(&task[i][side], player, .fd = fds[i][side], .rounds = rounds,
                                .serves = side == 0) != 0)
                fail("no task");
    }
    for (long i = 0; i < pairs; i++)
        for (int side = 0; side < 2; side++) {
            int result = SMOLSCALE_BLOCK(smolscale_join(cx, task[i][side]));
            if (result != 0)
                fail("a player ended with %d", result);
            smolscale_release(task[i][side]);
            smolscale_forget(fds[i][side]);
            close(fds[i][side]);
        }
    return now_ns() - begin;
}

// ---- a plain loop

static uint64_t with_epoll(long rounds, long pairs)
{
    int fds[pairs][2], epoll = epoll_create1(EPOLL_CLOEXEC);
    struct side {
        int fd;
        long rounds;
        bool serves;
    } sides[pairs][2];
    uint64_t begin = now_ns();
    for (long i = 0; i < pairs; i++) {
        make_pair(fds[i]);
        for (int side = 0; side < 2; side++) {
            sides[i][side] = (struct side){fds[i][side], rounds, side == 0};
            struct epoll_event event = {EPOLLIN, {.ptr = &sides[i][side]}};
            epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i][side], &event);
        }
        if (write(fds[i][0], "x", 1) != 1)
            fail("write: %d", errno);
    }
    for (long left = pairs * 2; left > 0;) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct side *side = events[i].data.ptr;
            char byte;
            if (read(side->fd, &byte, 1) != 1)
                fail("read: %d", errno);
            left -= --side->rounds == 0;
            if ((side->rounds > 0 || !side->serves) && write(side->fd, &byte, 1) != 1)
                fail("write: %d", errno);
        }
    }
    uint64_t took = now_ns() - begin;
    for (long i = 0; i < pairs; i++)
        for (int side = 0; side < 2; side++)
            close(fds[i][side]);
    close(epoll);
    return took;
}

static void compare(const char *what, long rounds, long pairs)
{
    uint64_t ours[TURNS], plain[TURNS], ratio[TURNS];
    for (int turn = 0; turn < TURNS; turn++) {
        plain[turn] = with_epoll(rounds, pairs);
        ours[turn] = with_tasks(rounds, pairs);
        ratio[turn] = ours[turn] * 1000 / plain[turn];
    }
    char name[64];
    double all = (double)(rounds * pairs);
    snprintf(name, sizeof name, "%s/epoll", what);
    figure(name, (double)percentile(plain, TURNS, 50) / all, "ns");
    snprintf(name, sizeof name, "%s/tasks", what);
    figure(name, (double)percentile(ours, TURNS, 50) / all, "ns");
    snprintf(name, sizeof name, "%s/ratio", what);
    figure(name, (double)percentile(ratio, TURNS, 50) / 1000, "x");
}

// ---- silence

static void idle(long connections, long seconds)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int(*fds)[2] = malloc((size_t)connections * sizeof *fds);
    for (long i = 0; i < connections; i++) {
        make_pair(fds[i]);
        if (SMOLSCALE_SPAWN(NULL, player, .fd = fds[i][0], .rounds = 1) != 0)
            fail("no task");
    }
    sleep(2);
    struct meter start = meter_start();
    sleep((unsigned)seconds);
    struct meter used = meter_stop(&start);
    figure("idle/cpu", (double)used.cpu_ns / 1000, "us");
    // One is the sleep of the thread that measures.
    figure("idle/switches", (double)(used.switches - 1), "");
    free(fds);
}

int main(int argc, char **argv)
{
    long rounds = option(argc, argv, "--rounds", 50000), pairs = option(argc, argv, "--pairs", 100);
    compare("one_pair", rounds, 1);
    compare("many_pairs", rounds / pairs, pairs);
    long seconds = option(argc, argv, "--idle", 10);
    if (seconds)
        idle(option(argc, argv, "--connections", 1000), seconds);
    return 0;
}
