// SPDX-License-Identifier: ISC
//
// Functions that the tests patch (victim.c).

#ifndef SS_TEST_VICTIM_H
#define SS_TEST_VICTIM_H

unsigned victim_one(unsigned n);
unsigned victim_two(unsigned n);
unsigned victim_bystander(unsigned n); // on the pages of the first two

#endif // SS_TEST_VICTIM_H
