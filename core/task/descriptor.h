// SPDX-License-Identifier: ISC
//
// Awaiting descriptors.

#ifndef SS_TASK_DESCRIPTOR_H
#define SS_TASK_DESCRIPTOR_H

struct smolscale_task;

// The task ends where it stands, and waits for no descriptor any more.
void ss_descriptor_abandon(struct smolscale_task *task);

#endif // SS_TASK_DESCRIPTOR_H
