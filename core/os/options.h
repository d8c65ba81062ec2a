// SPDX-License-Identifier: ISC
//
// The SMOLSCALE_* variables: one table in options.c from which the parser and `--help` texts
// follow.

#ifndef SS_OPTIONS_H
#define SS_OPTIONS_H

#include <stdbool.h>

enum ss_option_id {
    SS_OPTION_DISABLE,
    SS_OPTION_POLICY,
    SS_OPTION_WORKERS,
    SS_OPTION_MAX_THREADS,
    SS_OPTION_SINGLE,
    SS_OPTION_QUIET,
    SS_OPTION_COSTS,
    SS_OPTION_STATS,
    SS_OPTION_TIMES,
    SS_OPTION_TRACE,
    SS_OPTION_TRACE_MEMORY,
    SS_OPTION_VERBOSE,
    SS_OPTION_TOP,
    SS_OPTION_INSIDE,
    SS_OPTION_COUNT,
};

enum ss_policy { SS_POLICY_STRICT, SS_POLICY_ELASTIC };

// The value of a numeric, boolean or choice option. Read from the environment at first use; later
// changes of the environment have no effect. In setuid programs every option has its default.
long ss_option(enum ss_option_id id);

// The same by its name, "SMOLSCALE_..."; -1: no such option, or a text.
long ss_option_by_name(const char *name);

// The value of a text option; NULL when it is not set. Owned by the environment.
const char *ss_option_text(enum ss_option_id id);

struct ss_option_help {
    const char *name, *values, *fallback, *meaning;
};

// Row `i` of the table, for help texts; NULL past the end. The pointer holds until the next call.
const struct ss_option_help *ss_option_help(unsigned i);

#endif // SS_OPTIONS_H
