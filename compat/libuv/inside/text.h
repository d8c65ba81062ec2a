// SPDX-License-Identifier: ISC
//
// Changes code of this process: the entries of functions become jumps.
//
// The pages concerned are copied into fresh memory, changed there, made executable, and moved over
// the originals by one mremap(): for every thread that runs on these pages the change happens at
// once, entirely or not at all. A system that allows no new executable memory (PR_SET_MDWE,
// SELinux) or no change of this text (mseal) refuses the second or the third step, and nothing has
// happened. That is accepted, never circumvented.
//
// Other threads may run on these pages meanwhile, but no thread may be inside of the first
// ss_jump_size() bytes of a function concerned: at its very begin it may be.

#ifndef SS_INSIDE_TEXT_H
#define SS_INSIDE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SS_TEXT_SITES     4
#define SS_TEXT_PAGES_MAX 4   // the functions lie on so many pages that follow each other, or fewer
#define SS_JUMP_MAX       20u // bytes

struct ss_text_site {
    uint8_t *at;                   // a function's first byte
    const void *target;            // where it shall jump to
    uint8_t original[SS_JUMP_MAX]; // set by ss_text_patch()
};

struct ss_text {
    struct ss_text_site site[SS_TEXT_SITES];
    unsigned count;
};

// The bytes that a jump at this entry takes: it goes behind the landing pad (endbr64, bti c), if
// there is one. 0: this machine is not known.
size_t ss_jump_size(const uint8_t *entry);

// Do all sites lie on few enough pages?
bool ss_text_is_near(const struct ss_text *text);

// Makes all entries jumps, or none: 0 or a negative errno value.
int ss_text_patch(struct ss_text *text);

// Puts the original bytes of sites [first, first + count) back, of all or of none.
int ss_text_restore(struct ss_text *text, unsigned first, unsigned count);

// Are the jumps in place?
bool ss_text_is_patched(const struct ss_text *text);

#endif // SS_INSIDE_TEXT_H
