// SPDX-License-Identifier: ISC
//
// A choice between two ways of doing the same, of which one costs less here and now. Both are
// *tried* some times in turn; then the cheaper is *kept* for many occasions before both are tried
// again. The trial repeats the less often the more often it has had the same outcome.
//
// Occasions are counted, not time: the same costs give the same choices. Several threads may use
// one: an occasion that is lost between them makes a trial or a stay somewhat longer.

#ifndef SS_CHOICE_H
#define SS_CHOICE_H

#include "base/atomic.h"

#include <stdbool.h>
#include <stdint.h>

#define SS_CHOICE_TURN      8u  // occasions of one way in a row, in a trial
#define SS_CHOICE_TRIAL     32u // of a trial
#define SS_CHOICE_STAY_MIN  256u
#define SS_CHOICE_STAY_MAX  65536u
#define SS_CHOICE_ADVANTAGE 8u // the other way must be cheaper by such a part of its cost

struct ss_choice {
    _Atomic uint32_t cost[2]; // what each way has cost in this trial; 0: not known
    _Atomic uint32_t tried;   // occasions of this trial; SS_CHOICE_TRIAL: it is over
    _Atomic uint32_t kept;    // the way that is kept
    _Atomic uint32_t stay;    // for how many occasions; 0: there was no trial yet
    _Atomic uint32_t left;    // of these
};

// Is a way kept, and which?
static inline bool ss_choice_keeps(const struct ss_choice *choice, unsigned way)
{
    return load_relaxed(&choice->tried) >= SS_CHOICE_TRIAL && load_relaxed(&choice->kept) == way;
}

// The way to go now.
static inline unsigned ss_choice_way(const struct ss_choice *choice)
{
    uint32_t tried = load_relaxed(&choice->tried);
    return tried < SS_CHOICE_TRIAL ? tried / SS_CHOICE_TURN % 2 : load_relaxed(&choice->kept);
}

// An occasion on which the kept way was gone.
static inline void ss_choice_count(struct ss_choice *choice)
{
    uint32_t left = load_relaxed(&choice->left);
    if (left > 0) {
        store_relaxed(&choice->left, left - 1);
        return;
    }
    store_relaxed(&choice->cost[0], 0);
    store_relaxed(&choice->cost[1], 0);
    store_relaxed(&choice->tried, 0);
}

// The trial is over.
static inline void ss_choice_settle(struct ss_choice *choice)
{
    uint32_t first = load_relaxed(&choice->cost[0]), second = load_relaxed(&choice->cost[1]);
    uint32_t stay = load_relaxed(&choice->stay), before = load_relaxed(&choice->kept);
    uint32_t kept = before ? first >= second - second / SS_CHOICE_ADVANTAGE
                           : second < first - first / SS_CHOICE_ADVANTAGE;
    if (stay == 0 || kept != before)
        stay = SS_CHOICE_STAY_MIN;
    else if (stay < SS_CHOICE_STAY_MAX)
        stay *= 2;
    store_relaxed(&choice->kept, kept);
    store_relaxed(&choice->stay, stay);
    store_relaxed(&choice->left, stay);
}

// An occasion on which `way` was gone has cost so much. What others have disturbed weighs little: a
// cost is followed down at once, and up slowly.
static inline void ss_choice_note(struct ss_choice *choice, unsigned way, uint64_t cost)
{
    uint32_t tried = load_relaxed(&choice->tried);
    if (tried >= SS_CHOICE_TRIAL) {
        ss_choice_count(choice);
        return;
    }
    uint64_t mean = load_relaxed(&choice->cost[way]);
    if (mean == 0 || cost < mean)
        mean = mean ? (mean + cost) / 2 : cost;
    else
        mean += ((cost < 2 * mean ? cost : 2 * mean) - mean) / 8;
    store_relaxed(&choice->cost[way], mean < UINT32_MAX / 4 ? (uint32_t)mean + 1 : UINT32_MAX / 4);
    store_relaxed(&choice->tried, tried + 1);
    if (tried + 1 == SS_CHOICE_TRIAL)
        ss_choice_settle(choice);
}

#endif // SS_CHOICE_H
