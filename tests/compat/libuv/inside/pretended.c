// SPDX-License-Identifier: ISC
//
// A plug-in with all that is looked for in a libuv, and no event loop behind it: the functions call
// each other as libuv's do. Each macro makes it one that must be left alone (reasons.py). What
// needs libuv's types is in pretended_sizes.c.

#include <sys/epoll.h>
#include <unistd.h>

#define PUBLIC    __attribute__((visibility("default")))
#define SEPARATE  __attribute__((noinline))
#define NOT_SHORT state = 1, state = 2, state = 3, state = 4

PUBLIC void make_loop(void);

static volatile int state;
static int once;

// As uv_loop_init() begins.
void make_loop(void)
{
    close(epoll_create1(EPOLL_CLOEXEC));
}

SEPARATE void uv_once(int *guard);
void uv_once(int *guard)
{
    *guard = 1;
    NOT_SHORT;
}

SEPARATE int uv_thread_join(int *thread);
int uv_thread_join(int *thread)
{
    NOT_SHORT;
    return *thread;
}

SEPARATE void uv__work_submit(int n);
void uv__work_submit(int n)
{
#ifndef ENTRY_THAT_STARTS_NOTHING
    uv_once(&once);
#endif
    NOT_SHORT;
    state = n;
}

SEPARATE void uv__work_done(int n);
void uv__work_done(int n)
{
    NOT_SHORT;
    state = n;
}

SEPARATE void uv__threadpool_cleanup(void);
void uv__threadpool_cleanup(void)
{
    NOT_SHORT;
    state = uv_thread_join(&once);
}

void uv_library_shutdown(void);
void uv_library_shutdown(void)
{
#ifndef SHUTDOWN_WITHOUT_CLEANUP
    uv__threadpool_cleanup();
#endif
    NOT_SHORT;
}

SEPARATE int uv_queue_work(void *loop);
int uv_queue_work(void *loop)
{
    NOT_SHORT;
    return loop != 0 ? 77 : state;
}

#if defined(CANCEL_IS_DATA)
int uv_cancel = 1;
#elif defined(SHORT_CANCEL)
int uv_cancel(void);
int uv_cancel(void)
{
    return 0;
}
#elif !defined(NO_CANCEL)
#ifdef FAR_CANCEL
__attribute__((section(".text.far"), aligned(1 << 16)))
#endif
int uv_cancel(void);
int uv_cancel(void)
{
    NOT_SHORT;
    return state;
}
#endif

#ifdef VARIANT_OF_CANCEL
SEPARATE void variant(void) __asm__("uv_cancel.part.0");
void variant(void)
{
    NOT_SHORT;
}
#endif

void uv_async_send(void);
void uv_async_send(void)
{
    NOT_SHORT;
}

#define USER(name)          \
    void name(int n);       \
    void name(int n)        \
    {                       \
        uv__work_submit(n); \
        NOT_SHORT;          \
    }

#ifdef USER_WITH_SUBMIT_INLINED
void uv_fs_open(int n);
void uv_fs_open(int n)
{
    NOT_SHORT;
    state = n;
}
#else
USER(uv_fs_open)
#endif
USER(uv_fs_access)
USER(uv_fs_chmod)
USER(uv_fs_chown)
USER(uv_fs_close)
USER(uv_fs_closedir)
USER(uv_fs_copyfile)
USER(uv_fs_fchmod)
USER(uv_fs_fchown)
USER(uv_fs_fdatasync)
USER(uv_fs_fstat)
USER(uv_fs_fsync)
USER(uv_fs_ftruncate)
USER(uv_fs_futime)
USER(uv_fs_lchown)
USER(uv_fs_link)
USER(uv_fs_lstat)
USER(uv_fs_lutime)
USER(uv_fs_mkdir)
#ifndef FEW_USERS // than 20
USER(uv_fs_mkdtemp)
#endif
