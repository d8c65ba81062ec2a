// SPDX-License-Identifier: ISC
//
// A plug-in with a libuv in it that nobody knows, for test_preload.c: of a version to come, with
// structures of its own. Its functions do nothing but say that they were called.

#include <stddef.h>

int foreign_use(void);

#define CALLED(name) calls |= 1u << (name)
enum { ONCE, MUTEX, THREAD, JOIN, SEND, WORK, STAT, CANCEL, SHUTDOWN, ALL };
static unsigned calls;

// Begins as any handle; where libuv 1 has the callback of a loop's handle is what means nothing.
struct loop {
    void *nothing[512];
};
struct request {
    void *data;
    int type; // UV_WORK
    void *nothing[64];
};
struct handle {
    void *data;
    struct loop *loop;
    void *nothing[64];
};

unsigned uv_version(void);
unsigned uv_version(void)
{
    return 0x020000;
}
size_t uv_loop_size(void);
size_t uv_loop_size(void)
{
    return sizeof(struct loop);
}
void uv_once(int *guard, void (*callback)(void));
void uv_once(int *guard, void (*callback)(void))
{
    CALLED(ONCE);
    *guard = 1;
    callback();
}
int uv_mutex_init(void *mutex);
int uv_mutex_init(void *mutex)
{
    (void)mutex;
    CALLED(MUTEX);
    return 0;
}
int uv_thread_create(void *thread, void (*entry)(void *), void *arg);
int uv_thread_create(void *thread, void (*entry)(void *), void *arg)
{
    (void)thread;
    (void)entry;
    (void)arg;
    CALLED(THREAD);
    return 0;
}
int uv_thread_join(void *thread);
int uv_thread_join(void *thread)
{
    (void)thread;
    CALLED(JOIN);
    return 0;
}
int uv_async_send(struct handle *handle);
int uv_async_send(struct handle *handle)
{
    (void)handle;
    CALLED(SEND);
    return 0;
}
int uv_queue_work(struct loop *loop, struct request *req, void (*work)(struct request *),
                  void (*after)(struct request *, int));
int uv_queue_work(struct loop *loop, struct request *req, void (*work)(struct request *),
                  void (*after)(struct request *, int))
{
    (void)loop;
    (void)req;
    (void)work;
    (void)after;
    CALLED(WORK);
    return 0;
}
int uv_fs_stat(struct loop *loop, struct request *req, const char *path,
               void (*ended)(struct request *));
int uv_fs_stat(struct loop *loop, struct request *req, const char *path,
               void (*ended)(struct request *))
{
    (void)loop;
    (void)req;
    (void)path;
    (void)ended;
    CALLED(STAT);
    return 0;
}
int uv_cancel(struct request *req);
int uv_cancel(struct request *req)
{
    (void)req;
    CALLED(CANCEL);
    return 0;
}
void uv_library_shutdown(void);
__attribute__((destructor)) void uv_library_shutdown(void)
{
    CALLED(SHUTDOWN);
}

static void create_in_once(void)
{
    static void *mutex[8], *thread;
    uv_mutex_init(mutex);
    uv_thread_create(&thread, (void (*)(void *))create_in_once, NULL);
    uv_thread_join(&thread);
}

static void nothing(struct request *req)
{
    (void)req;
}

// 0, or the functions that were not reached, by their bits.
int foreign_use(void)
{
    static int guard;
    static struct loop loop;
    static struct request req = {NULL, 7 /* UV_WORK */, {NULL}};
    static struct handle handle = {NULL, &loop, {NULL}};
    uv_once(&guard, create_in_once);
    uv_async_send(&handle);
    uv_queue_work(&loop, &req, nothing, NULL);
    uv_fs_stat(&loop, &req, "/", nothing);
    uv_fs_stat(&loop, &req, "/", NULL);
    uv_cancel(&req);
    uv_library_shutdown();
    return (int)(((1u << ALL) - 1) & ~calls);
}
