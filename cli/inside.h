// SPDX-License-Identifier: ISC
//
// The libuv layer's own checks of a libuv inside of an object, as far as they can be made of a
// file.

#ifndef SMOLSCALE_CLI_INSIDE_H
#define SMOLSCALE_CLI_INSIDE_H

// Why the layer would leave the libuv in this file alone; to be freed. NULL: these checks have no
// objection.
char *inside_refusal(const char *path);

#endif // SMOLSCALE_CLI_INSIDE_H
