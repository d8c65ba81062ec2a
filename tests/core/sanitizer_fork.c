// SPDX-License-Identifier: ISC
//
// fork() under the sanitizers of gcc 12, whose allocators have locks that fork() copies as they
// are: a child that finds one held by a thread of its parent waits for ever in its next malloc() or
// pthread_create(). So does one whose parent was within a pthread_once(), of which the thread
// sanitizer has its own. glibc's have no such flaw. So fork() waits here until no other
// thread is inside of a sanitizer: that is, in one of the calls that are wrapped (-Wl,--wrap,
// meson.build), in its birth before its function runs, or in its death after that.
//
// Who enters passes `gate`, which fork() holds from before it waits until it is over; who leaves
// needs nothing. Threads may be anywhere else at the fork, with any lock of the executor held: that
// is what the tests are about. The thread sanitizer does not see the gate, or it would take it for
// an order between the threads that pass it.

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define UNSEEN    __attribute__((no_sanitize("thread")))
#define DYING_MAX 4096

static atomic_flag gate = ATOMIC_FLAG_INIT;
static atomic_uint inside; // calls, births and deaths
static pid_t dying[DYING_MAX];
static unsigned dying_count; // of those inside; with the list: `gate`

UNSEEN static void close_gate(void)
{
    while (atomic_flag_test_and_set(&gate))
        sched_yield();
}

UNSEEN static void open_gate(void)
{
    atomic_flag_clear(&gate);
}

static _Thread_local unsigned within; // calls that call others: who is inside passes no gate again

// Once for all that follows.
UNSEEN static void enter(unsigned count)
{
    if (within == 0)
        close_gate();
    atomic_fetch_add(&inside, count);
    if (within == 0)
        open_gate();
}

UNSEEN static void leave(void)
{
    atomic_fetch_sub(&inside, 1);
}

// A dying thread says nothing any more; it has left when the kernel does not know it.
UNSEEN static void let_go_of_the_dead(void)
{
    for (unsigned i = 0; i < dying_count;) {
        if (syscall(SYS_tgkill, getpid(), dying[i], 0) != 0 && errno == ESRCH) {
            dying[i] = dying[--dying_count];
            leave();
        } else {
            i++;
        }
    }
}

UNSEEN static void before_fork(void)
{
    close_gate();
    for (;;) {
        let_go_of_the_dead();
        if (atomic_load(&inside) == 0)
            return;
        sched_yield();
    }
}

UNSEEN static void after_fork(void)
{
    open_gate();
}

__attribute__((constructor)) static void register_handlers(void)
{
    pthread_atfork(before_fork, after_fork, after_fork);
}

// ---- the calls ----

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);
int __real_pthread_once(pthread_once_t *once, void (*what)(void));
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg);
int __wrap_pthread_once(pthread_once_t *once, void (*what)(void));

void *__wrap_malloc(size_t size)
{
    enter(1);
    void *memory = __real_malloc(size);
    leave();
    return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
    enter(1);
    void *memory = __real_calloc(count, size);
    leave();
    return memory;
}

// The next two for Check, which calls them at each assertion.
void *__wrap_realloc(void *memory, size_t size)
{
    enter(1);
    void *moved = __real_realloc(memory, size);
    leave();
    return moved;
}

char *__wrap_strdup(const char *text)
{
    enter(1);
    char *copy = __real_strdup(text);
    leave();
    return copy;
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    enter(1);
    void *memory = __real_aligned_alloc(alignment, size);
    leave();
    return memory;
}

void __wrap_free(void *memory)
{
    enter(1);
    __real_free(memory);
    leave();
}

int __wrap_pthread_once(pthread_once_t *once, void (*what)(void))
{
    enter(1);
    within++;
    int err = __real_pthread_once(once, what);
    within--;
    leave();
    return err;
}

struct start {
    void *(*main)(void *);
    void *arg;
};

UNSEEN static void die(void)
{
    close_gate();
    atomic_fetch_add(&inside, 1);
    if (dying_count == DYING_MAX)
        let_go_of_the_dead();
    if (dying_count == DYING_MAX)
        abort();
    dying[dying_count++] = gettid();
    open_gate();
}

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    __real_free(arg);
    leave(); // it is born
    void *result = start.main(start.arg);
    die();
    return result;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*main)(void *),
                          void *arg)
{
    enter(2); // the call and the birth
    struct start *start = __real_malloc(sizeof *start);
    int err = EAGAIN;
    if (start) {
        *start = (struct start){main, arg};
        err = __real_pthread_create(thread, attr, thread_main, start);
        if (err)
            __real_free(start);
    }
    if (err)
        leave();
    leave();
    return err;
}
