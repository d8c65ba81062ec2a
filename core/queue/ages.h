// SPDX-License-Identifier: ISC
//
// When the items that wait in a work queue were pushed. There only while somebody asks how long
// jobs wait (trace/points.h); without, a queue has none of this.
//
// It stands beside the list of items and not in it, so that the list stays an array of pointers. An
// item is found by its pointer. Equal pointers cannot be told apart: the one that has waited
// longest is taken first. A flood of them in a row is found at once, as is any item unless many
// different ones share a chain by accident.
//
// Plain data: the queue's lock guards it. Without memory a time is not known, and nothing else
// happens.

#ifndef SS_AGES_H
#define SS_AGES_H

#include <stdbool.h>
#include <stdint.h>

struct ss_ages;

// NULL: no memory.
struct ss_ages *ss_ages_new(void);
void ss_ages_free(struct ss_ages *ages); // NULL is allowed

// `count` items with this pointer were pushed at `time`, in ns or a stamp (trace/points.h), not 0;
// or one is put back that was. False: there is no memory.
bool ss_ages_push(struct ss_ages *ages, const void *item, unsigned count, uint64_t time);
void ss_ages_put_back(struct ss_ages *ages, const void *item, uint64_t time);

// Is there none?
bool ss_ages_are_empty(const struct ss_ages *ages);

// The item leaves the queue. Returns when it was pushed; 0: that is not known.
uint64_t ss_ages_take(struct ss_ages *ages, const void *item);

#endif // SS_AGES_H
