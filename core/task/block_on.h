// SPDX-License-Identifier: ISC
//
// smolscale_block_on().

#ifndef SS_BLOCK_ON_H
#define SS_BLOCK_ON_H

void ss_block_on_after_fork(void);

#endif // SS_BLOCK_ON_H
