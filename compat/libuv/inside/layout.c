// SPDX-License-Identifier: ISC
//
// The layout of libuv's structures (see layout.h).

#include "layout.h"

#include <stddef.h>
#include <string.h>

// What pool.c and instance.c touch, in bytes.
struct layout {
    unsigned work_work, work_done, work_loop, work_wq, work_size;
    unsigned loop_active_reqs, loop_internal_fields, loop_wq, loop_wq_mutex, loop_wq_async,
        loop_async_fd, loop_async_wfd, loop_size;
    unsigned async_data, async_loop, async_type, async_callback, async_pending, async_reserved,
        async_size;
    unsigned work_req, fs_req, getaddrinfo_req, getnameinfo_req, random_req;
};

static const struct layout ours = {
    offsetof(struct uv__work, work),
    offsetof(struct uv__work, done),
    offsetof(struct uv__work, loop),
    offsetof(struct uv__work, wq),
    sizeof(struct uv__work),
    offsetof(uv_loop_t, active_reqs),
    offsetof(uv_loop_t, internal_fields),
    offsetof(uv_loop_t, wq),
    offsetof(uv_loop_t, wq_mutex),
    offsetof(uv_loop_t, wq_async),
    offsetof(uv_loop_t, async_io_watcher) + offsetof(uv__io_t, fd),
    offsetof(uv_loop_t, async_wfd),
    sizeof(uv_loop_t),
    offsetof(uv_async_t, data),
    offsetof(uv_async_t, loop),
    offsetof(uv_async_t, type),
    offsetof(uv_async_t, async_cb),
    offsetof(uv_async_t, pending),
    offsetof(uv_async_t, u),
    sizeof(uv_async_t),
    offsetof(uv_work_t, work_req),
    offsetof(uv_fs_t, work_req),
    offsetof(uv_getaddrinfo_t, work_req),
    offsetof(uv_getnameinfo_t, work_req),
    offsetof(uv_random_t, work_req),
};

// libuv 1.40 to 1.52.1 on 64-bit Linux. A mutex is longer on arm64.
static const struct layout known[] = {
    {0, 8, 16, 24, 40,  32, 40,  120, 136, 176, 504, 512, 848, // x86-64
     0, 8, 16, 96, 120, 48, 128, 88,  336, 72,  72,  104},
    {0, 8, 16, 24, 40,  32, 40,  120, 136, 184, 512, 520, 856, // arm64
     0, 8, 16, 96, 120, 48, 128, 88,  336, 72,  72,  104},
};

static bool is_known(void)
{
    for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (memcmp(&ours, &known[i], sizeof(ours)) == 0)
            return true;
    }
    return false;
}

static bool has_sizes(const struct ss_layout_source *libuv)
{
    static const struct {
        uv_handle_type type;
        size_t size;
    } handles[] = {
#define X(name, type) {UV_##name, sizeof(uv_##type##_t)},
        UV_HANDLE_TYPE_MAP(X)
#undef X
    };
    static const struct {
        uv_req_type type;
        size_t size;
    } requests[] = {
#define X(name, type) {UV_##name, sizeof(uv_##type##_t)},
        UV_REQ_TYPE_MAP(X)
#undef X
    };

    for (unsigned i = 0; i < sizeof(handles) / sizeof(handles[0]); i++) {
        if (libuv->handle_size(handles[i].type) != handles[i].size)
            return false;
    }
    for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (libuv->req_size(requests[i].type) != requests[i].size)
            return false;
    }
    return libuv->loop_size() == sizeof(uv_loop_t);
}

bool ss_layout_is_known(const struct ss_layout_source *libuv)
{
    return is_known() && has_sizes(libuv);
}

bool ss_version_is_known(unsigned version)
{
    return version >= 0x012900u && version < 0x020000u;
}

// The beginning of libuv's struct uv__loop_internal_fields_s, from 1.45 to 1.52.
struct internal_fields {
    unsigned flags;
    uint64_t loop_count, events, events_waiting;
    uint64_t *reserved[13];
    uint64_t provider_entry_time, provider_idle_time;
    uv_mutex_t lock;
    int current_timeout;
};

bool ss_event_counters(const uv_loop_t *loop, unsigned version, struct ss_event_counters *counters)
{
    struct internal_fields *fields = loop->internal_fields;

    if (version < 0x012d00u || version >= 0x013500u || fields == NULL)
        return false;
    *counters = (struct ss_event_counters){&fields->events, &fields->events_waiting,
                                           &fields->current_timeout};
    return true;
}

bool ss_loop_is_fresh(const uv_loop_t *loop, uv_async_cb *callback)
{
    const uv_async_t *handle = &loop->wq_async;

    *callback = handle->async_cb;
    return handle->loop == loop && handle->type == UV_ASYNC && handle->async_cb != NULL &&
           handle->data == NULL && handle->u.reserved[1] == NULL && handle->u.reserved[2] == NULL &&
           handle->u.reserved[3] == NULL && loop->async_io_watcher.fd >= 0 && loop->async_wfd >= -1;
}
