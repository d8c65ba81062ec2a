// SPDX-License-Identifier: ISC

#include "screen.h"

#ifndef CLI_NCURSES

const char *screen_left_out(void)
{
    return "this command was " SCREEN_LEFT_OUT "; use --once";
}

const char *screen_open(void)
{
    return screen_left_out();
}

void screen_close(void)
{
}

struct room screen_room(void)
{
    return (struct room){0};
}

void screen_begin(void)
{
}

void screen_line(void *to, bool heading, const char *text)
{
    (void)to, (void)heading, (void)text;
}

void screen_end(const char *last_line)
{
    (void)last_line;
}

enum screen_key screen_wait(int ms, char *letter)
{
    (void)ms, (void)letter;
    return SCREEN_QUIT;
}

#else

#include <curses.h>
#include <poll.h>
#include <stdio.h>
#include <term.h>
#include <unistd.h>

static SCREEN *screen;
static int next_line;

const char *screen_left_out(void)
{
    return NULL;
}

const char *screen_open(void)
{
    if (!isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        return "input or output is no terminal; use --once";
    int found;
    if (setupterm(NULL, STDOUT_FILENO, &found) != OK)
        return "the terminal's type is not known (TERM); use --once";
    bool places = tigetstr("cup"); // it can put its cursor anywhere
    del_curterm(cur_term);
    if (!places)
        return "the terminal (TERM) can only write line after line; use --once";
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return "the terminal cannot be used; use --once";
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    curs_set(0);
    return NULL;
}

void screen_close(void)
{
    if (!screen)
        return;
    // Where the picture stays, what is written next begins on a line of its own.
    move(LINES - 1, 0);
    clrtoeol();
    refresh();
    endwin();
    delscreen(screen);
    screen = NULL;
}

struct room screen_room(void)
{
    return (struct room){.width = (unsigned)COLS, .low = LINES < 20};
}

void screen_begin(void)
{
    erase();
    next_line = 0;
}

void screen_line(void *to, bool heading, const char *text)
{
    (void)to;
    if (next_line >= LINES - 1) // the last one is for screen_end()
        return;
    if (heading)
        attron(A_REVERSE);
    mvaddnstr(next_line++, 0, text, COLS);
    for (int at = getcurx(stdscr); heading && at < COLS && getcury(stdscr) == next_line - 1; at++)
        addch(' ');
    if (heading)
        attroff(A_REVERSE);
}

void screen_end(const char *last_line)
{
    attron(A_DIM);
    mvaddnstr(LINES - 1, 0, last_line, COLS - 1);
    attroff(A_DIM);
    refresh();
}

// Where the terminal has gone, getch() waits for nothing.
static bool is_gone(void)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&input, 1, 0) > 0 && input.revents & (POLLHUP | POLLERR | POLLNVAL);
}

enum screen_key screen_wait(int ms, char *letter)
{
    timeout(ms);
    int key = getch();
    switch (key) {
    case ERR:
        return is_gone() ? SCREEN_QUIT : SCREEN_NO_KEY;
    case 'q':
    case 'Q':
        return SCREEN_QUIT;
    case KEY_RESIZE:
        return SCREEN_RESIZED;
    default:
        *letter = key > 0 && key < 128 ? (char)key : '\0';
        return SCREEN_LETTER;
    }
}

#endif
