// SPDX-License-Identifier: ISC
//
// A program that uses pthreadpool: probe [early | no-membarrier]. Prints whose pool it got, told by
// the threads that the process has as soon as there is a pool of three (the native library creates
// both at once, ours one that creates them when they are needed), and whether all items of its
// calls ran:
//
//     smolscale ok
//
//   early          makes its calls before any constructor has run
//   no-membarrier  forbids membarrier() by a seccomp filter before the first call

#include <errno.h>
#include <linux/filter.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <pthreadpool.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct count {
    _Atomic size_t done;
    size_t all;
};

// The first item ends last: what shares a piece with it has to be taken back.
static void item(void *context, size_t i)
{
    struct count *c = context;
    while (i == 0 && c->done < c->all - 1)
        sched_yield();
    c->done++;
}

static int threads_now(void)
{
    char text[4096];
    FILE *file = fopen("/proc/self/status", "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[length] = '\0';
    const char *line = strstr(text, "Threads:");
    int threads = 0;
    return line && sscanf(line, "Threads: %d", &threads) == 1 ? threads : 0;
}

static int use_pool(void)
{
    pthreadpool_t pool = pthreadpool_create(3);
    if (!pool)
        return 1;
    const char *whose = threads_now() < 3 ? "smolscale" : "native";
    for (size_t range = 2; range < 5000; range = range * 2 - 1) {
        struct count c = {.all = range};
        pthreadpool_parallelize_1d(pool, item, &c, range, 0);
        if (c.done != range) {
            printf("%s: %zu of %zu items\n", whose, c.done, range);
            return 1;
        }
    }
    pthreadpool_destroy(pool);
    printf("%s ok\n", whose);
    return 0;
}

static int forbid_membarrier(void)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        return -1;
    return syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) == -1 && errno == EPERM ? 0 : -1;
}

static int early_result = -1;

static void before_constructors(int argc, char **argv, char **environment)
{
    (void)environment;
    if (argc > 1 && strcmp(argv[1], "early") == 0)
        early_result = use_pool();
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit)(int, char **, char **) = before_constructors;

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "early") == 0)
        return early_result;
    if (argc > 1 && strcmp(argv[1], "no-membarrier") == 0 && forbid_membarrier() != 0) {
        puts("the filter does not work");
        return 1;
    }
    return use_pool();
}
