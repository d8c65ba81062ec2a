// SPDX-License-Identifier: ISC
//
// Async functions in C: stackless, without allocation, by macros. See "Tasks" in smolscale.h.
//
// An async function NAME has a frame `struct NAME`, in which everything lives that is needed beyond
// an await: local variables do not survive one. The frame's first member is SMOLSCALE_FRAME. The
// function is
//
//     SMOLSCALE_ASYNC(NAME, f)        // static int NAME(smolscale_cx *cx, void *frame);
//     {                               // f is the frame: struct NAME *f
//         SMOLSCALE_BEGIN(f);         // nothing before it but declarations without a value
//         ...
//         SMOLSCALE_END;              // returns 0
//     }
//
// Between these two, where `result` is an lvalue in the frame (an int):
//
//   * SMOLSCALE_AWAIT(result, call) awaits an awaitable. `call` is evaluated once.
//   * SMOLSCALE_TRY(call) does the same, and ends the function with the result if that is negative.
//   * SMOLSCALE_TIMEOUT(result, ns, call) is AWAIT that gives -ETIMEDOUT after `ns`.
//   * SMOLSCALE_CALL(result, NAME, frame, .member = value, ...) awaits another async function,
//     whose frame lies in this one: sets `frame` to these initialisers and runs it to its end.
//   * SMOLSCALE_CALL_TIMEOUT(result, ns, NAME, frame, ...) is CALL in which every await gives
//     -ETIMEDOUT after `ns`.
//   * SMOLSCALE_POLL(result, call) awaits a function of your own that returns SMOLSCALE_PENDING
//     after it has taken a waker: `call` is evaluated again at each poll.
//   * SMOLSCALE_YIELD() lets others run. SMOLSCALE_TRY(smolscale_yield(cx)) does, too, and ends the
//     function if the task is cancelled or its time is up.
//   * SMOLSCALE_RETURN(value) ends the function; `value`, its result, is not SMOLSCALE_PENDING.
//
// Spawned by SMOLSCALE_SPAWN(&handle, NAME, .member = value, ...), into a nursery by
// SMOLSCALE_NURSERY_SPAWN(nursery, NAME, ...), as an immortal by
// SMOLSCALE_IMMORTAL(&immortal, respawn, delay, NAME, ...); run from a thread by
// SMOLSCALE_BLOCK_ON(NAME, .member = value, ...).
//
// Wrong use fails to compile: another frame type, a frame without SMOLSCALE_FRAME or one that wants
// more than 32 bytes of alignment, an await outside of BEGIN and END, a function that is not async.
// Needs GNU C (labels as values).

#ifndef SMOLSCALE_ASYNC_H
#define SMOLSCALE_ASYNC_H

#include <smolscale.h>

// Where a function goes on (NULL: at its beginning), and what its timeouts put aside. Private.
struct smolscale_frame {
    void *at;
    uint64_t outer_deadline;
};
#define SMOLSCALE_FRAME struct smolscale_frame smolscale_frame

// The body is a function of its own, never inlined: where it goes on is an address in its one copy.
// A frame is always continued through the call by which it was begun. A function that is only
// awaited by SMOLSCALE_CALL leaves the other one unused.
#define SMOLSCALE_ASYNC(name, f)                                                                 \
    static int name##_body_(smolscale_cx *cx, struct name *f);                                   \
    __attribute__((unused)) static int name(smolscale_cx *cx, void *frame)                       \
    {                                                                                            \
        _Static_assert(offsetof(struct name, smolscale_frame) == 0,                              \
                       "SMOLSCALE_FRAME must come first in the frame");                          \
        _Static_assert(_Alignof(struct name) <= 32, "a frame is aligned to 32 bytes, not more"); \
        return name##_body_(cx, (struct name *)frame);                                           \
    }                                                                                            \
    static __attribute__((noinline)) int name##_body_(smolscale_cx *cx, struct name *f)

// The address of a label, as a value that no compiler takes for that of a local variable.
#define SMOLSCALE_GO_ON_AT_(label)         \
    do {                                   \
        void *smolscale_at_ = &&label;     \
        __asm__("" : "+r"(smolscale_at_)); \
        smolscale_f_->at = smolscale_at_;  \
    } while (0)

#define SMOLSCALE_BEGIN(f)                                                                     \
    {                                                                                          \
        struct smolscale_frame *const smolscale_f_ = &(f)->smolscale_frame;                    \
        if (__builtin_expect(smolscale_f_->at != NULL, 1))                                     \
            goto * smolscale_f_->at;                                                           \
        (void)cx;                                                                              \
        (void)&&smolscale_begin_; /* Clang wants a label where there is a goto, await or no */ \
    smolscale_begin_:                                                                          \
        do {                                                                                   \
        } while (0)

#define SMOLSCALE_END        \
    smolscale_f_->at = NULL; \
    return 0;                \
    }

#define SMOLSCALE_RETURN(value)  \
    do {                         \
        smolscale_f_->at = NULL; \
        return (value);          \
    } while (0)

#define SMOLSCALE_AWAIT(lvalue_, call_)               \
    do {                                              \
        __label__ smolscale_resume_, smolscale_done_; \
        int smolscale_r_ = (call_);                   \
        if (smolscale_r_ != SMOLSCALE_PENDING) {      \
            (lvalue_) = smolscale_r_;                 \
            goto smolscale_done_;                     \
        }                                             \
        SMOLSCALE_GO_ON_AT_(smolscale_resume_);       \
        return SMOLSCALE_PENDING;                     \
    smolscale_resume_:                                \
        (lvalue_) = cx->result;                       \
    smolscale_done_:;                                 \
    } while (0)

#define SMOLSCALE_TRY(call_)                          \
    do {                                              \
        __label__ smolscale_resume_, smolscale_done_; \
        int smolscale_r_ = (call_);                   \
        if (smolscale_r_ != SMOLSCALE_PENDING)        \
            goto smolscale_done_;                     \
        SMOLSCALE_GO_ON_AT_(smolscale_resume_);       \
        return SMOLSCALE_PENDING;                     \
    smolscale_resume_:                                \
        smolscale_r_ = cx->result;                    \
    smolscale_done_:                                  \
        if (smolscale_r_ < 0)                         \
            SMOLSCALE_RETURN(smolscale_r_);           \
    } while (0)

#define SMOLSCALE_YIELD()                       \
    do {                                        \
        __label__ smolscale_resume_;            \
        SMOLSCALE_GO_ON_AT_(smolscale_resume_); \
        cx->suspend = 1;                        \
        return SMOLSCALE_PENDING;               \
    smolscale_resume_:;                         \
    } while (0)

#define SMOLSCALE_POLL(lvalue_, call_)            \
    do {                                          \
        __label__ smolscale_resume_;              \
        int smolscale_r_;                         \
        SMOLSCALE_GO_ON_AT_(smolscale_resume_);   \
    smolscale_resume_:                            \
        smolscale_r_ = smolscale_interrupted(cx); \
        if (smolscale_r_ == 0)                    \
            smolscale_r_ = (call_);               \
        if (smolscale_r_ == SMOLSCALE_PENDING)    \
            return SMOLSCALE_PENDING;             \
        (lvalue_) = smolscale_r_;                 \
    } while (0)

#define SMOLSCALE_TIMEOUT(lvalue_, ns_, call_)                             \
    do {                                                                   \
        smolscale_f_->outer_deadline = smolscale_begin_timeout(cx, (ns_)); \
        SMOLSCALE_AWAIT(lvalue_, call_);                                   \
        smolscale_deadline(cx, smolscale_f_->outer_deadline);              \
    } while (0)

#define SMOLSCALE_CALL(lvalue_, name, callee, ...)  \
    do {                                            \
        __label__ smolscale_resume_;                \
        int smolscale_r_;                           \
        (callee) = (struct name){__VA_ARGS__};      \
        SMOLSCALE_GO_ON_AT_(smolscale_resume_);     \
    smolscale_resume_:                              \
        smolscale_r_ = name##_body_(cx, &(callee)); \
        if (smolscale_r_ == SMOLSCALE_PENDING)      \
            return SMOLSCALE_PENDING;               \
        (lvalue_) = smolscale_r_;                   \
    } while (0)

#define SMOLSCALE_CALL_TIMEOUT(lvalue_, ns_, name, callee, ...)            \
    do {                                                                   \
        smolscale_f_->outer_deadline = smolscale_begin_timeout(cx, (ns_)); \
        SMOLSCALE_CALL(lvalue_, name, callee, __VA_ARGS__);                \
        smolscale_deadline(cx, smolscale_f_->outer_deadline);              \
    } while (0)

#define SMOLSCALE_SPAWN(out, name, ...)                                           \
    __extension__({                                                               \
        struct name smolscale_first_ = {__VA_ARGS__};                             \
        smolscale_spawn((out), name, &smolscale_first_, sizeof smolscale_first_); \
    })

#define SMOLSCALE_NURSERY_SPAWN(nursery, name, ...)                                           \
    __extension__({                                                                           \
        struct name smolscale_first_ = {__VA_ARGS__};                                         \
        _Static_assert(offsetof(struct name, smolscale_frame) == 0,                           \
                       "SMOLSCALE_FRAME must come first in the frame");                       \
        smolscale_nursery_spawn((nursery), name, &smolscale_first_, sizeof smolscale_first_); \
    })

#define SMOLSCALE_IMMORTAL(out, respawn, delay, name, ...)                                         \
    __extension__({                                                                                \
        struct name smolscale_first_ = {__VA_ARGS__};                                              \
        _Static_assert(offsetof(struct name, smolscale_frame) == 0,                                \
                       "SMOLSCALE_FRAME must come first in the frame");                            \
        smolscale_immortal_new((out), name, &smolscale_first_, sizeof smolscale_first_, (respawn), \
                               (delay));                                                           \
    })

#define SMOLSCALE_BLOCK_ON(name, ...)                 \
    __extension__({                                   \
        struct name smolscale_first_ = {__VA_ARGS__}; \
        smolscale_block_on(name, &smolscale_first_);  \
    })

#endif // SMOLSCALE_ASYNC_H
