// SPDX-License-Identifier: ISC
//
// A ring of samples; see samples.h.

#include "queue/samples.h"

#include "sched/costs.h"
#include "trace/points.h"

#define SHIFT_MAX SS_STAMP_SHIFT_MAX

static struct ss_sample *at(struct ss_samples *samples, unsigned index)
{
    return &samples->sample[(samples->first + index) % SS_SAMPLES_MAX];
}

static void drop_last(struct ss_samples *samples)
{
    samples->count--;
}

static void drop_first(struct ss_samples *samples)
{
    samples->first = (samples->first + 1) % SS_SAMPLES_MAX;
    samples->count--;
}

void ss_samples_keep(struct ss_samples *samples, uint64_t begin, uint64_t end)
{
    while (samples->count > 0 && at(samples, 0)->place < begin)
        drop_first(samples);
    while (samples->count > 0 && at(samples, samples->count - 1)->place >= end)
        drop_last(samples);
}

static unsigned not_above(unsigned shift)
{
    return shift < SHIFT_MAX ? shift : SHIFT_MAX;
}

// Of two that follow each other the second stays, and counts for both.
static void thin_out(struct ss_samples *samples)
{
    unsigned kept = samples->count / 2;
    for (unsigned i = 0; i < kept; i++) {
        struct ss_sample *sample = at(samples, 2 * i + 1);
        unsigned shift = not_above(ss_stamp_shift(sample->stamp) + 1);
        *at(samples, i) = (struct ss_sample){
            .place = sample->place, .stamp = ss_stamp(ss_stamp_time(sample->stamp), shift)};
    }
    samples->count = kept;
    samples->shift = not_above(samples->shift + 1);
}

// The exponent of the largest power of 2 in it; not 0.
static unsigned exponent(unsigned number)
{
    return 31 - (unsigned)__builtin_clz(number);
}

// Becomes coarser after some samples only: a burst has so many of each distance, and what is pushed
// behind its last sample, and so is not seen, is a small part of it.
static void adapt(struct ss_samples *samples, uint64_t gap)
{
    bool soon = gap < SS_SAMPLE_GAP_NS;
    samples->in_row = soon ? samples->in_row + 1 : 0;
    if (gap > SS_SAMPLE_LATE_NS && samples->shift > 0 && samples->count < SS_SAMPLES_MAX / 4)
        samples->shift--; // else it is what waits that makes them so few
    if (samples->in_row < SS_SAMPLES_IN_ROW || samples->shift >= SS_SAMPLE_SHIFT_MAX)
        return;
    samples->in_row = 0;
    samples->shift++;
}

uint64_t ss_samples_stamp(struct ss_samples *samples, unsigned count, uint64_t now)
{
    unsigned at_once = exponent(count);
    unsigned stands_for = not_above(samples->shift > at_once ? samples->shift : at_once);
    adapt(samples, now - samples->pushed_at);
    samples->pushed_at = now;
    return ss_stamp(now, stands_for);
}

void ss_samples_add(struct ss_samples *samples, uint64_t place, uint64_t stamp)
{
    ss_samples_keep(samples, 0, place);
    if (samples->count == SS_SAMPLES_MAX)
        thin_out(samples);
    samples->count++;
    *at(samples, samples->count - 1) = (struct ss_sample){.place = place, .stamp = stamp};
}

// What was passed over since the last sample is of another time: it counts nowhere. `now` may be
// before the last sample: a worker read its clock before it had the queue's lock.
bool ss_samples_are_late(struct ss_samples *samples, uint64_t now)
{
    if (samples->shift == 0 || now <= samples->pushed_at + SS_SAMPLE_LATE_NS)
        return false;
    samples->shift = samples->in_row = 0;
    return true;
}

// Where items were taken back there are fewer of them than places.
void ss_samples_take(struct ss_samples *samples, uint64_t end, uint64_t *stamps, unsigned count)
{
    for (; ss_samples_are_due(samples, end); drop_first(samples)) {
        uint64_t from_end = end - at(samples, 0)->place;
        stamps[from_end < count ? count - from_end : 0] = at(samples, 0)->stamp;
    }
}

void ss_samples_put_back(struct ss_samples *samples, uint64_t place, uint64_t stamp)
{
    if (samples->count == SS_SAMPLES_MAX)
        return;
    samples->first = (samples->first + SS_SAMPLES_MAX - 1) % SS_SAMPLES_MAX;
    samples->count++;
    *at(samples, 0) = (struct ss_sample){.place = place, .stamp = stamp};
}
