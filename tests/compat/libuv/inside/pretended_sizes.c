// SPDX-License-Identifier: ISC
//
// The part of pretended.c that has libuv's types: what it says of itself, and a loop that nobody
// has set up.

#include <uv.h>

#define PUBLIC __attribute__((visibility("default")))

#ifndef PRETENDED_VERSION
#define PRETENDED_VERSION UV_VERSION_HEX
#endif
#ifndef LONGER_LOOP
#define LONGER_LOOP 0
#endif
#ifndef LONGER_REQUEST
#define LONGER_REQUEST 0
#endif

#ifdef SECOND_CANCEL
static __attribute__((noinline, used)) int uv_cancel_of_another_file(void) __asm__("uv_cancel");
static int uv_cancel_of_another_file(void)
{
    return 1;
}
#endif

PUBLIC int use_a_strange_loop(void);

unsigned uv_version(void)
{
    return PRETENDED_VERSION;
}

size_t uv_loop_size(void)
{
    return sizeof(uv_loop_t) + LONGER_LOOP;
}

size_t uv_handle_size(uv_handle_type type)
{
    switch (type) {
#define X(name, word) \
    case UV_##name:   \
        return sizeof(uv_##word##_t);
        UV_HANDLE_TYPE_MAP(X)
#undef X
    default:
        return (size_t)-1;
    }
}

size_t uv_req_size(uv_req_type type)
{
    switch (type) {
#define X(name, word) \
    case UV_##name:   \
        return sizeof(uv_##word##_t) + (UV_##name == UV_FS ? LONGER_REQUEST : 0);
        UV_REQ_TYPE_MAP(X)
#undef X
    default:
        return (size_t)-1;
    }
}

static void nothing(uv_work_t *req)
{
    (void)req;
}

// 77: libuv's own function has run.
int use_a_strange_loop(void)
{
    static uv_loop_t loop;
    static uv_work_t req;

    return uv_queue_work(&loop, &req, nothing, NULL);
}
