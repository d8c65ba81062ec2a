// SPDX-License-Identifier: ISC
//
// smolscale top: what a process on smolscale does now. It asks the process through its page
// (page.h). The process does nothing for it before that, and nothing any more some seconds later.

#include "cli.h"
#include "look.h"
#include "page.h"
#include "screen.h"

#include <argp.h>
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct arguments {
    pid_t pid; // 0: none is given
    bool once, json;
    double delay; // s; 0: not given
    enum sort sort;
};

static const struct argp_option options[] = {
    {"delay", 'd', "SECONDS", 0, "look again after so long, from 0.1 to 3600; default: 1", 0},
    {"once", '1', NULL, 0,
     "print one look and end; with -d two are taken, so far apart, and rates are known", 0},
    {"json", 'j', NULL, 0, "the same as JSON", 0},
    {"sort", 's', "KEY", 0, "order of the queues: waiting (default), rate, mean or number", 0},
    {0},
};

static double parse_delay(struct argp_state *state, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !isfinite(seconds) || seconds < 0.1 || seconds > 3600)
        argp_error(state, "--delay: '%s' is not a number from 0.1 to 3600", text);
    return seconds;
}

static pid_t parse_pid(struct argp_state *state, const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || end == text || *end || number < 1 || number > 1 << 30)
        argp_error(state, "'%s' is no process id", text);
    return (pid_t)number;
}

static enum sort parse_sort(struct argp_state *state, const char *text)
{
    for (unsigned i = 0; sort_words[i]; i++)
        if (strcmp(sort_words[i], text) == 0)
            return (enum sort)i;
    argp_error(state, "--sort: '%s' is none of waiting, rate, mean and number", text);
    return BY_WAITING;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'd':
        arguments->delay = parse_delay(state, argument);
        return 0;
    case '1':
        arguments->once = true;
        return 0;
    case 'j':
        arguments->once = arguments->json = true;
        return 0;
    case 's':
        arguments->sort = parse_sort(state, argument);
        return 0;
    case ARGP_KEY_ARG:
        if (arguments->pid)
            argp_error(state, "only one process can be looked at");
        arguments->pid = parse_pid(state, argument);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#ifdef SCREEN_LEFT_OUT
#define NOTE "This command was " SCREEN_LEFT_OUT ": use --once or --json. "
#else
#define NOTE ""
#endif

static const struct argp argp = {
    options,
    parse,
    "[PID]",
    "Shows what a process on smolscale does: its queues, its workers, and what the balancer did. Without PID it takes the "
    "one process that can be looked at, or lists them if there are several.\v" NOTE
    "A process can be looked at if it was started by 'smolscale run', or with SMOLSCALE_TOP=1. Keys: w, r, m and n order the "
    "queues by what waits, rate, mean and number; q ends.",
    NULL,
    NULL,
    NULL,
};

// ---- which process

static void print_processes(const pid_t *pids, size_t count, bool json)
{
    cJSON *top = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(top, "processes");
    for (size_t i = 0; i < count; i++) {
        char command[256];
        look_command(pids[i], command, sizeof command);
        if (!json)
            printf("%8d  %s\n", (int)pids[i], command);
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "process", pids[i]);
        cJSON_AddStringToObject(object, "command", command);
        cJSON_AddItemToArray(list, object);
    }
    char *text = json ? cJSON_Print(top) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    cJSON_Delete(top);
}

// The only process there is; 0: there are several, and they are listed.
static pid_t pick_process(bool json)
{
    size_t count;
    pid_t *pids = page_processes(&count), only = count == 1 ? pids[0] : 0;
    if (count == 0)
        fail(STATUS_FAILED, "no process of yours can be looked at: start one with 'smolscale run', "
                            "or with SMOLSCALE_TOP=1");
    if (count > 1)
        print_processes(pids, count, json);
    free(pids);
    return only;
}

// ---- once

static void print_line(void *to, bool heading, const char *text)
{
    (void)heading;
    fprintf(to, "%s\n", text);
}

static void must_take(struct look *look, struct page *page, const struct look *before, double again)
{
    bool ended;
    char *why = look_take(look, page, before, again, &ended);
    if (why)
        fail(STATUS_FAILED, "process %d: %s", (int)page->pid, why);
}

static void pause_for(double seconds)
{
    struct timespec left = {.tv_sec = (time_t)seconds,
                            .tv_nsec = (long)((seconds - floor(seconds)) * 1e9)};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static void show_once(struct page *page, const struct arguments *arguments)
{
    static struct look first, second;
    struct look *look = &first;
    must_take(&first, page, NULL, arguments->delay);
    if (arguments->delay > 0) {
        pause_for(arguments->delay);
        must_take(&second, page, &first, 0);
        look = &second;
    }
    look_sort(look, arguments->sort);
    if (arguments->json)
        look_write_json(look, stdout);
    else
        look_write(look, (struct room){0}, print_line, stdout);
}

// ---- live

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void draw(struct look *look, enum sort sort)
{
    char help[128];
    snprintf(help, sizeof help, "q quit   order (now: %s): w waiting  r rate  m mean  n number",
             sort_words[sort]);
    look_sort(look, sort);
    screen_begin();
    look_write(look, screen_room(), screen_line, NULL);
    screen_end(help);
}

// Answers keys for so long. False: the user wants no more.
static bool serve_keys(struct look *look, double delay, enum sort *sort)
{
    static const char letters[SORTS + 1] = "wrmn";
    uint64_t end = now_ms() + (uint64_t)(delay * 1e3);
    for (uint64_t now; !interrupted && (now = now_ms()) < end;) {
        char letter = '\0';
        enum screen_key key = screen_wait((int)(end - now), &letter);
        const char *at = letter ? strchr(letters, letter) : NULL;
        if (key == SCREEN_QUIT)
            return false;
        if (key == SCREEN_LETTER && at)
            *sort = (enum sort)(at - letters);
        if (key == SCREEN_RESIZED || (key == SCREEN_LETTER && at))
            draw(look, *sort);
    }
    return !interrupted;
}

// Shows one look after the other until the user or the process ends it. NULL, or why not on.
static char *show_live(struct page *page, const struct arguments *arguments, bool *ended)
{
    static struct look looks[2];
    double delay = arguments->delay > 0 ? arguments->delay : 1;
    enum sort sort = arguments->sort;
    char *why = NULL;
    *ended = false;
    for (unsigned i = 0;; i++) {
        struct look *look = &looks[i % 2];
        why = look_take(look, page, i > 0 ? &looks[(i + 1) % 2] : NULL, delay, ended);
        if (why)
            return why;
        draw(look, sort);
        if (!serve_keys(look, delay, &sort))
            return NULL;
    }
}

static int show_screen(struct page *page, const struct arguments *arguments)
{
    struct sigaction action = {.sa_handler = on_signal}; // no SA_RESTART: the wait for keys ends
    const char *refused = screen_open();
    if (refused)
        fail(STATUS_FAILED, "%s", refused);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    bool ended;
    char *why = show_live(page, arguments, &ended);
    screen_close();
    if (why && !ended)
        fail(STATUS_FAILED, "process %d: %s", (int)page->pid, why);
    if (why)
        printf("process %d: %s\n", (int)page->pid, why);
    free(why);
    return 0;
}

int command_top(int argc, char **argv)
{
    struct arguments arguments = {.sort = BY_WAITING};
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments))
        return STATUS_FAILED;
    const char *left_out = arguments.once ? NULL : screen_left_out();
    if (left_out)
        fail(STATUS_FAILED, "%s", left_out);
    pid_t pid = arguments.pid ? arguments.pid : pick_process(arguments.json);
    if (!pid)
        return 0;
    struct page page;
    char *why = page_open(&page, pid);
    if (why)
        fail(STATUS_FAILED, "process %d: %s", (int)pid, why);
    int status = 0;
    if (arguments.once)
        show_once(&page, &arguments);
    else
        status = show_screen(&page, &arguments);
    page_close(&page);
    return status;
}
