// SPDX-License-Identifier: ISC
//
// Channels: a ring of messages and one waitlist. Either receivers wait (nothing is there) or
// senders do (it is full), never both, so one list serves both. A message goes straight from the
// sender's storage to the receiver that has waited longest, if one waits; and a receive from a
// full channel lets the sender that has waited longest put its message in.
//
// Everything is guarded by the list's lock. Waking comes after the lock is dropped; from then on
// the channel may be gone.
//
// A ring only grows by itself, so a channel keeps at most twice what was once in it. Channels with
// a large ring are in a list, by which smolscale_trim() finds them. Order of locks: a channel's,
// then the list's.

#include "task/interrupt.h"

#include "base/room.h"
#include "os/lock.h"
#include "os/memory.h"
#include "sched/executor.h"
#include "task/waitlist.h"

#include <string.h>

#define FIRST_ROOM 16                // messages
#define LARGE      ((size_t)4 << 10) // bytes of a ring from which the channel is listed

// Letters: L the waitlist's lock; G the lock of the list of large channels; A atomic; C constant.

struct smolscale_channel {
    _Alignas(SS_CACHE_LINE) smolscale_waitlist waiters; // L
    bool senders_wait;                                  // L: if anybody waits, then senders
    bool closed;                                        // L
    unsigned size, capacity;                            // C
    unsigned count, head;  // L: messages in the ring, and where the first is
    unsigned room;         // L: of the ring, in messages; a power of two
    char *ring;            // L
    _Atomic unsigned refs; // A
    unsigned listed; // L: as a large one, by the executor of that generation, plus 1; 0: it is not
    smolscale_channel *next_large, **prev_link; // G
};

static struct {
    struct ss_lock lock;
    smolscale_channel *first;
} large;

// ---- the list of large channels

// In a child of fork() the list begins anew, and a channel of the parent's is in none.
static bool is_listed(const smolscale_channel *channel)
{
    return channel->listed == ss.generation + 1;
}

// Its lock held.
static void list(smolscale_channel *channel)
{
    channel->listed = ss.generation + 1;
    ss_lock(&large.lock);
    channel->next_large = large.first;
    channel->prev_link = &large.first;
    if (large.first)
        large.first->prev_link = &channel->next_large;
    large.first = channel;
    ss_unlock(&large.lock);
}

// There is no reference to it.
static void unlist(smolscale_channel *channel)
{
    ss_lock(&large.lock);
    *channel->prev_link = channel->next_large;
    if (channel->next_large)
        channel->next_large->prev_link = channel->prev_link;
    ss_unlock(&large.lock);
}

int smolscale_channel_new(smolscale_channel **out, size_t size, unsigned capacity)
{
    *out = NULL;
    if (size > INT32_MAX)
        return -EINVAL;
    smolscale_channel *channel = ss_allocate_aligned(SS_CACHE_LINE, sizeof *channel);
    if (!channel)
        return -ENOMEM;
    *channel = (smolscale_channel){.size = (unsigned)size, .capacity = capacity, .refs = 1};
    *out = channel;
    return 0;
}

smolscale_channel *smolscale_channel_ref(smolscale_channel *channel)
{
    if (channel)
        fetch_add_relaxed(&channel->refs, 1);
    return channel;
}

void smolscale_channel_unref(smolscale_channel *channel)
{
    if (!channel || fetch_sub_acq_rel(&channel->refs, 1) > 1)
        return;
    if (is_listed(channel))
        unlist(channel);
    ss_deallocate(channel->ring);
    ss_deallocate(channel);
}

// ---- the ring; the lock held

static void copy(const smolscale_channel *channel, void *to, const void *from)
{
    if (channel->size == sizeof(void *)) // most messages are a pointer
        memcpy(to, from, sizeof(void *));
    else if (channel->size)
        memcpy(to, from, channel->size);
}

static char *slot_at(const smolscale_channel *channel, unsigned i)
{
    return channel->ring + (size_t)((channel->head + i) & (channel->room - 1)) * channel->size;
}

static size_t ring_bytes(const smolscale_channel *channel, unsigned room)
{
    return (size_t)room * channel->size + 1;
}

// Moves all to a ring with another room, which is enough; NULL: to none, there is no message.
static void exchange_ring(smolscale_channel *channel, char *ring, unsigned room)
{
    if (channel->count && channel->size)
        for (unsigned i = 0; i < channel->count; i++)
            memcpy(ring + (size_t)i * channel->size, slot_at(channel, i), channel->size);
    ss_deallocate(channel->ring);
    channel->ring = ring;
    channel->room = room;
    channel->head = 0;
}

// Twice the room: up to the capacity, as far as it is used.
static int grow(smolscale_channel *channel)
{
    unsigned room = channel->room ? channel->room * 2 : FIRST_ROOM;
    while (!channel->room && room / 2 >= channel->capacity && room > 1)
        room /= 2;
    char *ring = room > channel->room && (size_t)room <= SIZE_MAX / (channel->size + 1)
                     ? ss_allocate(ring_bytes(channel, room))
                     : NULL;
    if (!ring)
        return -ENOMEM;
    exchange_ring(channel, ring, room);
    if (ring_bytes(channel, room) >= LARGE && !is_listed(channel))
        list(channel);
    return 0;
}

// As much room as the messages in it need. Returns how many bytes are given back.
static size_t shrink(smolscale_channel *channel)
{
    unsigned before = channel->room, room = channel->count ? FIRST_ROOM : 0;
    while (room < channel->count)
        room *= 2;
    char *ring = room && room < before ? ss_allocate(ring_bytes(channel, room)) : NULL;
    if (room >= before || (room && !ring))
        return 0;
    exchange_ring(channel, ring, room);
    return (size_t)(before - room) * channel->size;
}

static int append(smolscale_channel *channel, const void *message)
{
    if (channel->count == channel->room) {
        int err = grow(channel);
        if (err)
            return err;
    }
    copy(channel, slot_at(channel, channel->count), message);
    channel->count++;
    return 0;
}

static struct smolscale_task *first_waiting(smolscale_channel *channel, bool sender)
{
    return channel->waiters.first && channel->senders_wait == sender ? channel->waiters.first
                                                                     : NULL;
}

// ---- the two halves, with the lock held. -EAGAIN: must wait. *wake: to be scheduled with result 0
// after unlocking.

static int put(smolscale_channel *channel, const void *message, struct smolscale_task **wake)
{
    if (channel->closed)
        return -EPIPE;
    if (first_waiting(channel, false)) {
        *wake = ss_list_pop(&channel->waiters);
        copy(channel, (*wake)->slot, message);
        return 0;
    }
    return channel->count < channel->capacity ? append(channel, message) : -EAGAIN;
}

static int take(smolscale_channel *channel, void *message, struct smolscale_task **wake)
{
    bool sender_waits = first_waiting(channel, true) != NULL;
    if (channel->count > 0) {
        copy(channel, message, slot_at(channel, 0));
        channel->head++;
        channel->count--;
        if (sender_waits) {
            *wake = ss_list_pop(&channel->waiters);
            append(channel, (*wake)->slot); // there is room: a message has just left
        }
        return 0;
    }
    if (sender_waits) { // rendezvous
        *wake = ss_list_pop(&channel->waiters);
        copy(channel, message, (*wake)->slot);
        return 0;
    }
    return channel->closed ? -EPIPE : -EAGAIN;
}

// ---- the public functions

int smolscale_send(smolscale_cx *cx, smolscale_channel *channel, const void *message)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    struct smolscale_task *wake = NULL;
    ss_list_lock(&channel->waiters);
    int result = put(channel, message, &wake);
    if (result == -EAGAIN) {
        channel->senders_wait = true;
        return ss_wait(cx, &channel->waiters, (void *)(uintptr_t)message);
    }
    ss_list_unlock(&channel->waiters);
    if (wake)
        ss_wake_with(wake, 0);
    return ss_ready(cx, result);
}

int smolscale_recv(smolscale_cx *cx, smolscale_channel *channel, void *message)
{
    int interrupted = ss_interrupted(cx);
    if (interrupted)
        return interrupted;
    struct smolscale_task *wake = NULL;
    ss_list_lock(&channel->waiters);
    int result = take(channel, message, &wake);
    if (result == -EAGAIN) {
        channel->senders_wait = false;
        return ss_wait(cx, &channel->waiters, message);
    }
    ss_list_unlock(&channel->waiters);
    if (wake)
        ss_wake_with(wake, 0);
    return ss_ready(cx, result);
}

int smolscale_try_send(smolscale_channel *channel, const void *message)
{
    struct smolscale_task *wake = NULL;
    ss_list_lock(&channel->waiters);
    int result = put(channel, message, &wake);
    ss_list_unlock(&channel->waiters);
    if (wake)
        ss_wake_with(wake, 0);
    return result;
}

int smolscale_try_recv(smolscale_channel *channel, void *message)
{
    struct smolscale_task *wake = NULL;
    ss_list_lock(&channel->waiters);
    int result = take(channel, message, &wake);
    ss_list_unlock(&channel->waiters);
    if (wake)
        ss_wake_with(wake, 0);
    return result;
}

void smolscale_close(smolscale_channel *channel)
{
    struct smolscale_task *list = NULL, **tail = &list;
    ss_list_lock(&channel->waiters);
    channel->closed = true;
    for (struct smolscale_task *task; (task = ss_list_pop(&channel->waiters)); tail = &task->next) {
        task->result = -EPIPE;
        *tail = task;
    }
    *tail = NULL;
    ss_list_unlock(&channel->waiters);
    ss_schedule_list(list);
}

size_t smolscale_channel_count(smolscale_channel *channel)
{
    ss_list_lock(&channel->waiters);
    size_t count = channel->count;
    ss_list_unlock(&channel->waiters);
    return count;
}

// ---- memory given back

// The next large channel, with a reference; NULL: no more. One whose last reference has gone is
// about to leave the list, and is passed over.
static smolscale_channel *take_next_to_trim(smolscale_channel *after)
{
    ss_lock(&large.lock);
    smolscale_channel *channel = after ? after->next_large : large.first;
    while (channel) {
        unsigned refs = load_relaxed(&channel->refs);
        while (refs > 0 && !cas_weak_relaxed(&channel->refs, &refs, refs + 1))
            ;
        if (refs > 0)
            break;
        channel = channel->next_large;
    }
    ss_unlock(&large.lock);
    return channel;
}

// The channel that was shrunk last stays in the list for as long as there is a reference to it.
static size_t trim(void)
{
    size_t bytes = 0;
    for (smolscale_channel *channel = take_next_to_trim(NULL), *next; channel; channel = next) {
        ss_list_lock(&channel->waiters);
        bytes += shrink(channel);
        ss_list_unlock(&channel->waiters);
        next = take_next_to_trim(channel);
        smolscale_channel_unref(channel);
    }
    return bytes;
}

static void after_fork(void)
{
    ss_lock_reset(&large.lock);
    large.first = NULL;
}

SS_ROOM_WITH(sync_channel, NULL, after_fork, .trim = trim);
