// SPDX-License-Identifier: ISC
//
// A histogram of times in ns, in fixed buckets: 16 for each power of two, so that a time is known
// to a sixteenth. Any thread adds to it at any time, by one atomic addition.

#ifndef SS_HISTOGRAM_H
#define SS_HISTOGRAM_H

#include "base/atomic.h"

#include <stdint.h>

#define SS_BUCKET_BITS   4  // 16 buckets for a power of two
#define SS_BUCKETS_LIMIT 44 // of what is longer than 2^44 ns, five hours, the last bucket counts
#define SS_BUCKETS       ((SS_BUCKETS_LIMIT - SS_BUCKET_BITS + 1) << SS_BUCKET_BITS)

struct ss_histogram {
    _Atomic uint64_t bucket[SS_BUCKETS];
    _Atomic uint64_t max; // ns
};

// Below 16 a bucket has one value. From there on the position is the exponent, and then the four
// bits that follow the highest.
static inline unsigned ss_bucket_of(uint64_t ns)
{
    if (ns < 1u << SS_BUCKET_BITS)
        return (unsigned)ns;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(ns);
    if (exponent >= SS_BUCKETS_LIMIT)
        return SS_BUCKETS - 1;
    unsigned shift = exponent - SS_BUCKET_BITS;
    return ((shift + 1) << SS_BUCKET_BITS) + (unsigned)(ns >> shift) - (1u << SS_BUCKET_BITS);
}

// The longest time that the bucket counts.
static inline uint64_t ss_bucket_end(unsigned bucket)
{
    if (bucket < 1u << SS_BUCKET_BITS)
        return bucket;
    unsigned shift = (bucket >> SS_BUCKET_BITS) - 1;
    uint64_t mantissa = (bucket & ((1u << SS_BUCKET_BITS) - 1)) + (1u << SS_BUCKET_BITS);
    return ((mantissa + 1) << shift) - 1;
}

static inline void ss_histogram_add_many(struct ss_histogram *histogram, uint64_t ns,
                                         uint64_t count)
{
    fetch_add_relaxed(&histogram->bucket[ss_bucket_of(ns)], count);
    uint64_t max = load_relaxed(&histogram->max);
    while (ns > max && !cas_weak_relaxed(&histogram->max, &max, ns))
        ;
}

static inline void ss_histogram_add(struct ss_histogram *histogram, uint64_t ns)
{
    ss_histogram_add_many(histogram, ns, 1);
}

static inline uint64_t ss_histogram_count(const struct ss_histogram *histogram)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < SS_BUCKETS; i++)
        count += load_relaxed(&histogram->bucket[i]);
    return count;
}

// The time that `permille` of a thousand do not exceed, at most a sixteenth too long; 0: there are
// none. Those that come meanwhile may be missed.
static inline uint64_t ss_histogram_quantile(const struct ss_histogram *histogram,
                                             unsigned permille)
{
    uint64_t count = ss_histogram_count(histogram), seen = 0;
    uint64_t max = load_relaxed(&histogram->max);
    uint64_t wanted = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
    for (unsigned i = 0; count > 0 && i < SS_BUCKETS; i++) {
        seen += load_relaxed(&histogram->bucket[i]);
        if (seen >= wanted)
            return ss_bucket_end(i) < max ? ss_bucket_end(i) : max;
    }
    return count > 0 ? max : 0;
}

#endif // SS_HISTOGRAM_H
