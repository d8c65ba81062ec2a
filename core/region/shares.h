// SPDX-License-Identifier: ISC
//
// The shares of a call, and the theft between them: which thread may run item i.
//
// Each participant owns a share, the items [next, limit), and runs it from the front in pieces. It
// announces a piece before it starts it: next <= claimed, and never an item from `claimed` on. Of
// struct smolscale_share:
//   next     written by the owner alone, before it runs the item below it
//   claimed  written by the owner alone, before it runs any item of the piece that ends here
//   limit    written with the shares' lock held, except by the caller before its gate opens
//   taken    1 while a helper is this participant
//   owner    its thread (ss_this_thread()), written by itself; 0: none. Not of share 0
//   cpu      where the participant was last seen running; a hint
//
// The owner announces first and looks second; the thief, with the lock held, does the same from the
// other end. This is done on two levels: for a piece of some microseconds with a full fence, and
// for each item within it with none.
//
//       owner, for a piece                  thief, of what lies beyond the piece
//       claimed = end          (a)          limit = cut            (c)
//       full fence             (A)          full fence             (B)
//       end <= limit ? run it  (b)          claimed <= cut ? mine are [cut, old limit)   (d)
//                    : lock, look again                    : limit = old limit, try again
//
//       owner, for an item                  thief, of what lies within it
//       next = i + 1           (a)          limit = cut            (c)
//       compiler barrier       (A)          membarrier()           (B)
//       i < limit ? run i      (b)          next <= cut ? mine are [cut, old limit)      (d)
//                 : lock, look again                    : limit = old limit, try again
//
//   S1  If (d) reads a word from before (a) for something that reaches beyond the cut, then (b) for
//       that comes after (B) and reads the cut or less: the owner does not run it. So an item is
//       run by its owner or stolen, never both.
//   S2  An owner whose look failed decides again under the lock, where limit stands still. So no
//       item is given up by both.
//
// membarrier() acts as a full barrier on every CPU that runs an owner, so items cost their owner
// plain stores ("the thief pays": 10 ns items reach 80 to 95 % of a plain loop, an atomic claim
// each 60 %; bench/pthreadpool, rows *-items-10ns). It costs the thief and the owners some
// microseconds in a virtual machine, hence the pieces: only the rest of a piece that is being run
// is taken back that way, which happens when its owner stands still. Where membarrier is not
// registered (yet), or refused, the call is `fenced`: both are full fences for items as well.
//
// tests/model/ptp-steal.pml checks all this exhaustively.

#ifndef SS_REGION_SHARES_H
#define SS_REGION_SHARES_H

#include "os/lock.h"
#include "smolscale.h"

struct ss_shares {
    struct ss_lock lock;
    _Atomic uint32_t used;       // shares beyond this have been empty since the call began
    _Atomic uint64_t item_ticks; // recent cost of an item in 1/16 ticks; 0: unknown; a hint
    struct smolscale_share *of;  // the shares; constant
};

static inline size_t ss_items_left(const struct smolscale_share *share)
{
    size_t next = word_load_relaxed(&share->next), limit = word_load_relaxed(&share->limit);
    return next < limit ? limit - next : 0;
}

// Of all shares. Items on their way from one share to another are in neither.
size_t ss_shares_left(struct ss_shares *shares);

// The owner announces the piece that ends with `end` (a, A), and looks (b). False: it was late.
static inline bool ss_announce_piece(struct smolscale_share *mine, size_t end)
{
    word_store_relaxed(&mine->claimed, end);
    fence_seq_cst();
    return end <= word_load_relaxed(&mine->limit);
}

// S2: the owner could not go on with item `i`. False: nothing is left.
bool ss_look_again(struct ss_shares *shares, struct smolscale_share *mine, size_t i);

// Nobody runs the owner's piece any more: what is left of it can be taken without a membarrier.
void ss_leave_piece(struct ss_shares *shares, struct smolscale_share *mine);

// Moves the back half of what a share has left into `mine`, which is empty: of what is free, if
// there is any, else of a piece that is being run. False: there is nothing left.
bool ss_steal(struct ss_shares *shares, struct smolscale_share *mine, bool fenced);

#endif // SS_REGION_SHARES_H
