// SPDX-License-Identifier: ISC
//
// What the core, built for the simulated machine, tells the machine of itself (../seam).

#ifndef SIM_SEAM_H
#define SIM_SEAM_H

// The core's thread-locals: one set, which is copied out and in when threads are switched.
char *sim_thread_local_begin(void);
char *sim_thread_local_end(void);

#endif // SIM_SEAM_H
