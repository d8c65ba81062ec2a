// SPDX-License-Identifier: ISC
//
// Lanes, as the balancer sees them.

#ifndef SS_SPREAD_H
#define SS_SPREAD_H

// Has the balancer look at the lanes from now on.
void ss_lanes_be_watched(void);

#endif // SS_SPREAD_H
