// SPDX-License-Identifier: ISC
//
// Awaiting functions that block.

#ifndef SS_UNBLOCK_H
#define SS_UNBLOCK_H

#include <stdbool.h>

struct smolscale_task;

// The runner's: pushes the suspended task to the queue. True: it is not suspended, and is to run
// again.
bool ss_unblock_start(struct smolscale_task *task, void *queue);

#endif // SS_UNBLOCK_H
