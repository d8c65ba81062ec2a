// SPDX-License-Identifier: ISC
//
// The compat layers as this installation has them: which there are, and where their preload
// libraries lie.

#ifndef SMOLSCALE_CLI_LAYERS_H
#define SMOLSCALE_CLI_LAYERS_H

#include <stdbool.h>

enum layer { LAYER_GLIB, LAYER_UV, LAYER_PTHREADPOOL, LAYER_COUNT };

// A set of layers has the bit 1 << layer of each.
enum { ALL_LAYERS = (1 << LAYER_COUNT) - 1 };

// The word for a layer on the command line.
const char *layer_name(enum layer layer);

// Parses "glib,uv". Returns -EINVAL and puts the word that is no layer into `bad` (to be freed by
// the caller).
int layers_parse(const char *list, unsigned *set, char **bad);

// The path of a layer's preload library; NULL where it was not built. It is looked for in the build
// folder that this command lies in, else in the library folder beside the command, else where the
// build was configured to install it. Owned by this file.
const char *layer_library(enum layer layer);

// Whether a path names a preload library of smolscale, of this installation or another.
bool is_layer_library(const char *path);

#endif // SMOLSCALE_CLI_LAYERS_H
