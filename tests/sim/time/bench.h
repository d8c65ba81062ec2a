// SPDX-License-Identifier: ISC
//
// The command "sim bench".

#ifndef SIM_BENCH_H
#define SIM_BENCH_H

int sim_bench(int argc, char **argv);

#endif // SIM_BENCH_H
