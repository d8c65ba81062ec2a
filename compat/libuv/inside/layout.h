// SPDX-License-Identifier: ISC
//
// Is a libuv's memory laid out as pool.c takes it to be?
//
// pool.c is compiled against one uv.h. A libuv inside of another object was compiled against its
// own, and may be a fork. It can be asked for the sizes of its structures, which are compared with
// ours, of all handles and requests; and ours are compared with the table of the layout that
// libuv 1.40 to 1.52 have on 64-bit Linux.

#ifndef SS_INSIDE_LAYOUT_H
#define SS_INSIDE_LAYOUT_H

#include <stdbool.h>
#include <uv.h>

struct ss_layout_source {
    size_t (*loop_size)(void);
    size_t (*handle_size)(uv_handle_type type);
    size_t (*req_size)(uv_req_type type);
};

// Whether it is the known one, of a libuv that answers so.
bool ss_layout_is_known(const struct ss_layout_source *libuv);

// Versions whose behaviour is known: 1.41 and newer, as uv_version() says it.
bool ss_version_is_known(unsigned version);

// The counters of events in a loop's internal structure, from 1.45 on. False: this version has
// none, or is newer than the last whose structure is known.
struct ss_event_counters {
    uint64_t *events, *events_waiting;
    const int *current_timeout;
};
bool ss_event_counters(const uv_loop_t *loop, unsigned version, struct ss_event_counters *counters);

// Is this a loop that uv_loop_init() has made and that nothing was submitted from yet, with the
// known layout? `callback` receives what its handle for finished work calls.
bool ss_loop_is_fresh(const uv_loop_t *loop, uv_async_cb *callback);

#endif // SS_INSIDE_LAYOUT_H
