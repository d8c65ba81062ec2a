// SPDX-License-Identifier: ISC
//
// The one file in C++: Boost.Context's functions have C's calling convention, its header has not.

#include "context.h"

#include <boost/context/detail/fcontext.hpp>

namespace ctx = boost::context::detail;

// Where the coroutine that jumps is to be found afterwards: the coroutine that is jumped to writes it there.
static void **left;
static void (*entry_of_new)(void);

static void begin(ctx::transfer_t from)
{
    *left = from.fctx;
    entry_of_new();
}

extern "C" void *sim_context_new(void *top, size_t size, void (*entry)(void))
{
    entry_of_new = entry; // the same for all
    return ctx::make_fcontext(top, size, begin);
}

extern "C" void sim_context_switch(void **from, void *to)
{
    left = from;
    ctx::transfer_t back = ctx::jump_fcontext(to, nullptr);
    *left = back.fctx;
}
