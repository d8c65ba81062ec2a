// SPDX-License-Identifier: ISC
//
// What serves one libuv inside of an object.
//
// Several libuvs in a process have a pool each natively, and so they have here. What calls the end
// of a pool names no loop; so each libuv has functions of its own to jump to: instance.c is
// compiled SS_UV_INSTANCES times.

#ifndef SS_INSIDE_INSTANCE_H
#define SS_INSIDE_INSTANCE_H

#include "finder.h"

#include <uv.h>

#define SS_UV_INSTANCES 6

// The functions of libuv that are taken over, as libuv declares them.
typedef void ss_submit_fn(uv_loop_t *loop, struct uv__work *w, int kind,
                          void (*work)(struct uv__work *w),
                          void (*done)(struct uv__work *w, int status));
typedef int ss_queue_work_fn(uv_loop_t *loop, uv_work_t *req, uv_work_cb work_cb,
                             uv_after_work_cb after_work_cb);

// The libuv that an instance serves.
struct ss_served {
    unsigned version;
    unsigned (*version_function)(void);
    int (*async_send)(uv_async_t *handle);
    ss_submit_fn *submit;         // its own function, which is a jump to ours as long as it is
    ss_queue_work_fn *queue_work; // served
};

struct ss_uv_instance {
    const void *entry[SS_TAKEN_COUNT]; // where its functions are to jump to

    // To be called before its functions are changed.
    void (*serve)(const struct ss_served *libuv);

    const struct ss_served *libuv; // what it serves
    uv_async_cb work_done;         // the callback of the loops that it has taken over
};

extern const struct ss_uv_instance *const ss_uv_instances[SS_UV_INSTANCES];

// Provided by capture.c: what becomes of a loop that submits for the first time.
enum ss_adoption {
    SS_LOOP_TAKEN, // it is as expected: take it over
    SS_LOOP_LEFT,  // it is not, and neither was any other: the functions are libuv's own again
    SS_LOOP_ASIDE, // it is not, and there is no way back: other loops are ours, or it was refused
};
enum ss_adoption ss_inside_adopt(const struct ss_uv_instance *instance, const uv_loop_t *loop);

#endif // SS_INSIDE_INSTANCE_H
