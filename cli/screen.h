// SPDX-License-Identifier: ISC
//
// The terminal of `smolscale top` while it is live. Where the command was built without ncurses,
// there is none.

#ifndef SMOLSCALE_CLI_SCREEN_H
#define SMOLSCALE_CLI_SCREEN_H

#include "look.h"

enum screen_key { SCREEN_NO_KEY, SCREEN_QUIT, SCREEN_RESIZED, SCREEN_LETTER };

#ifndef CLI_NCURSES
#define SCREEN_LEFT_OUT "built without ncurses and has no live screen"
#endif

// NULL; or, where that is so, a sentence that says it and what to do.
const char *screen_left_out(void);

// NULL; or why there is no screen, as a sentence. screen_close() follows a NULL.
const char *screen_open(void);
void screen_close(void);

struct room screen_room(void);

// One picture: begin, lines from the top, end. What does not fit is left out; `to` is not used.
void screen_begin(void);
void screen_line(void *to, bool heading, const char *text);
void screen_end(const char *last_line);

// Waits for a key for so many ms at most. SCREEN_LETTER: *letter is it.
enum screen_key screen_wait(int ms, char *letter);

#endif // SMOLSCALE_CLI_SCREEN_H
