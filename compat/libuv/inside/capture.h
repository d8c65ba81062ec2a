// SPDX-License-Identifier: ISC
//
// What the preloaded library asks about libuvs inside of objects.

#ifndef SS_INSIDE_CAPTURE_H
#define SS_INSIDE_CAPTURE_H

#include <stdbool.h>
#include <uv.h>

// Does the object that has this address carry a libuv that is served by patching (capture.c)? It is
// examined, and taken over, if that has not been done; so this must not be asked about an object
// that may have had loops before the preloaded library was there. Such a libuv does everything by
// itself: calls of its functions that reach the preloaded library are to be passed on to it.
// From any thread; takes the loader's list of objects.
bool ss_inside_serves(const void *address);

// An address in the object whose libuv made a loop, by the callback of loop->wq_async, if the loop
// was taken over; else NULL. From any thread, without a lock.
const void *ss_inside_origin(uv_async_cb callback);

#endif // SS_INSIDE_CAPTURE_H
