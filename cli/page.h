// SPDX-License-Identifier: ISC
//
// The pages of processes on smolscale, as their reader sees them: where they lie, whether one is
// sound, and asking the process for what it is to show. The layout and the protocol are the core's,
// process/page.h.
//
// A page is another process' file. It may be cut short, changed at any moment, or anything else:
// it is read by pread() into memory of the reader's own, and each field is checked there before it
// is used.

#ifndef SMOLSCALE_CLI_PAGE_H
#define SMOLSCALE_CLI_PAGE_H

#include "process/page.h" // the core's

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// ---- which there are

// The processes of this user that have a page and live, by rising id. Pages that ended processes
// have left are removed. To be freed.
pid_t *page_processes(size_t *count);

// ---- one of them

struct page {
    pid_t pid; // as the caller knows the process
    int file;
    void *words;              // the page's first bytes, for the futex calls alone
    bool same_ids;            // the page's ids mean the same here: both are of one pid namespace
    struct ss_page_head head; // as it was last read
};

// NULL; or why there is nothing to be seen, as the end of a sentence, to be freed. page_close()
// follows a NULL.
char *page_open(struct page *page, pid_t pid);
void page_close(struct page *page);

// Has the process write what it shows now, and reads that. `again`: s until the next time, for
// which the process is to measure how long jobs wait; 0: there is none. NULL; or why not, as above;
// `*ended` is whether the process has ended, or runs another program.
char *page_ask(struct page *page, double again, struct ss_page_body *body, bool *ended);

// ---- what is believed

// NULL; or what is wrong with a page of a process whose own id for itself is `pid`, as the end of a
// sentence. `length`: bytes that the file has. To be freed.
char *page_head_fault(const struct ss_page_head *head, size_t length, pid_t pid);

// NULL, or what is wrong. Texts in a sound body are cut to what can be printed.
const char *page_body_fault(struct ss_page_body *body);

#endif // SMOLSCALE_CLI_PAGE_H
