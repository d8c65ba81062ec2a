// SPDX-License-Identifier: ISC
//
// When some of the items of a work queue were pushed, where somebody looks how long jobs wait and
// not each of them has to be known (trace/points.h).
//
// A sample knows its item by its place in the ring of items.h, not by its pointer: many programs
// push the same pointer again and again. Each sample stands for itself and for those that were
// pushed since the one before and not sampled. The faster pushes come, the more of them are passed
// over: a sample is taken every SS_SAMPLE_GAP_NS or so. Few samples wait at once. Where there would
// be more, every second is dropped, and the others count twice: so they stay spread over all that
// waits.
//
// A sample of an item that is taken back is dropped with it, if it was the first or the last; if it
// was another, it goes to the item behind. Plain data: the queue's lock guards it.

#ifndef SS_SAMPLES_H
#define SS_SAMPLES_H

#include <stdbool.h>
#include <stdint.h>

#define SS_SAMPLES_MAX 32u // that wait

struct ss_sample {
    uint64_t place; // of the item, in items.h
    uint64_t stamp; // SS_STAMP (trace/points.h)
};

struct ss_samples {
    uint64_t pushed_at;    // the last, ns; 0: there was none
    unsigned shift;        // one of 1 << shift pushes is sampled
    unsigned in_row;       // samples that came soon after each other
    unsigned first, count; // of those that wait: a ring, by rising place
    struct ss_sample sample[SS_SAMPLES_MAX];
};

// A sample is taken of `count` items that were pushed at once. Returns its stamp.
uint64_t ss_samples_stamp(struct ss_samples *samples, unsigned count, uint64_t now);

// Its item is at that place, before which all others are.
void ss_samples_add(struct ss_samples *samples, uint64_t place, uint64_t stamp);

// How many pushes to pass over until the next.
static inline unsigned ss_samples_pause(const struct ss_samples *samples)
{
    return (1u << samples->shift) - 1;
}

// Is one of them before that place?
static inline bool ss_samples_are_due(const struct ss_samples *samples, uint64_t end)
{
    return samples->count > 0 && samples->sample[samples->first].place < end;
}

// `count` items were taken, the last of them from the place before `end`. Sets the stamps of those
// that are samples, and drops these.
void ss_samples_take(struct ss_samples *samples, uint64_t end, uint64_t *stamps, unsigned count);

// One of those is at that place now, before all others.
void ss_samples_put_back(struct ss_samples *samples, uint64_t place, uint64_t stamp);

// Drops those that are not in [begin, end).
void ss_samples_keep(struct ss_samples *samples, uint64_t begin, uint64_t end);

// Do pushes come so much more slowly than they did that the next is to be sampled?
bool ss_samples_are_late(struct ss_samples *samples, uint64_t now);

#endif // SS_SAMPLES_H
