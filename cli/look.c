// SPDX-License-Identifier: ISC

#include "look.h"

#include "cli.h"
#include "smolscale.h" // the core's

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const sort_words[SORTS + 1] = {"waiting", "rate", "mean", "number", NULL};

static const char *const doing_words[DOINGS] = {"starting", "looking", "running",
                                                "blocked",  "napping", "parked"};

// As smolscale.h names them.
static const char *const counter_words[SS_PAGE_COUNTERS] = {
    [SS_PAGE_JOBS] = "jobs",
    [SS_PAGE_WAKES] = "wakes",
    [SS_PAGE_WAKES_SAVED] = "wakes_saved",
    [SS_PAGE_NAPS] = "naps",
    [SS_PAGE_TICKS] = "ticks",
    [SS_PAGE_TAKEBACKS] = "takebacks",
    [SS_PAGE_COMPENSATIONS] = "compensations",
    [SS_PAGE_WORKERS_CREATED] = "workers_created",
    [SS_PAGE_WORKERS_RETIRED] = "workers_retired",
    [SS_PAGE_CREATE_FAILURES] = "create_failures",
    [SS_PAGE_WORKERS_PEAK] = "workers_peak",
};

// ---- what the kernel says

static ssize_t read_text(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t length = read(fd, text, size - 1);
    close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length;
}

static void make_printable(char *text)
{
    for (; *text; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

void look_command(pid_t pid, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
    ssize_t length = read_text(path, text, size);
    for (ssize_t i = 0; i + 1 < length; i++)
        if (text[i] == '\0')
            text[i] = ' ';
    make_printable(text);
}

// The thread's name, and whether it is asleep.
static bool ask_thread(pid_t pid, const struct ss_page_worker *worker, char name[16])
{
    char path[64], stat[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)worker->tid);
    name[0] = '\0';
    if (worker->tid == 0 || read_text(path, stat, sizeof stat) <= 0)
        return false;
    const char *begin = strchr(stat, '('), *end = strrchr(stat, ')');
    if (!begin || !end || end < begin || end[1] != ' ')
        return false;
    size_t length = (size_t)(end - begin - 1);
    length = length < 15 ? length : 15;
    memcpy(name, begin + 1, length);
    name[length] = '\0';
    make_printable(name);
    return strchr("SDTt", end[2]) != NULL;
}

// ---- one look

// In user code: what the balancer knows of it may be old, because it looks only while something
// depends on that. The kernel knows.
static enum doing doing_of(const struct ss_page_worker *worker, bool asleep)
{
    static const enum doing others[SS_PAGE_STATES] = {
        [SS_PAGE_STARTING] = STARTING, [SS_PAGE_LOOKING] = LOOKING, [SS_PAGE_IN_JOB] = RUNNING,
        [SS_PAGE_BLOCKED] = RUNNING,   [SS_PAGE_HOG] = RUNNING,     [SS_PAGE_NAPPING] = NAPPING,
        [SS_PAGE_PARKED] = PARKED,
    };
    enum doing doing = others[worker->state];
    return doing == RUNNING && asleep ? BLOCKED : doing;
}

static double rate(uint64_t now, uint64_t before, double interval)
{
    return interval > 0 && now >= before ? (double)(now - before) / interval : NO_RATE;
}

static void look_at_workers(struct look *look, const struct page *page, const struct look *before)
{
    for (uint32_t i = 0; i < look->body.worker_count; i++) {
        struct worker_look *seen = &look->worker[i];
        const struct ss_page_worker *worker = seen->worker = &look->body.worker[i];
        bool asleep = page->same_ids && ask_thread(page->pid, worker, seen->name);
        seen->doing =
            page->same_ids || worker->state != SS_PAGE_BLOCKED ? doing_of(worker, asleep) : BLOCKED;
        look->doing[seen->doing]++;
        seen->rate = NO_RATE;
        for (uint32_t k = 0; before && k < before->body.worker_count; k++)
            if (before->body.worker[k].tid == worker->tid)
                seen->rate = rate(worker->started, before->body.worker[k].started, look->interval);
    }
}

static const struct queue_look *find_queue(const struct look *look, uint64_t number)
{
    for (uint32_t i = 0; number && i < look->body.queue_count; i++)
        if (look->queue[i].queue->number == number)
            return &look->queue[i];
    return NULL;
}

// What the page does not know of the queue this time is as it was.
static void keep_unknown(struct ss_page_queue *queue, const struct ss_page_queue *before)
{
    queue->ended = before->ended;
    queue->mean = before->mean;
    queue->active = before->active;
    queue->blocked = before->blocked;
    queue->max_active = before->max_active;
}

void look_at_queues(struct look *look, const struct look *before)
{
    for (uint32_t i = 0; i < look->body.queue_count; i++) {
        struct queue_look *seen = &look->queue[i];
        struct ss_page_queue *queue = &look->body.queue[i];
        const struct queue_look *last = before ? find_queue(before, queue->number) : NULL;
        bool known = !(queue->flags & SS_PAGE_UNSEEN);
        seen->queue = queue;
        seen->time = known ? look->body.time : last ? last->time : 0;
        if (!known && last)
            keep_unknown(queue, last->queue);
        bool counted = last && last->time != 0;
        seen->rate = counted ? rate(queue->ended, last->queue->ended,
                                    (double)(seen->time - last->time) / 1e9)
                             : NO_RATE;
        for (uint32_t k = 0; k < look->body.worker_count; k++)
            seen->blocked +=
                look->worker[k].doing == BLOCKED && look->worker[k].worker->queue == queue->number;
    }
}

char *look_take(struct look *look, struct page *page, const struct look *before, double again,
                bool *ended)
{
    memset(look, 0, sizeof *look);
    look->pid = page->pid;
    char *fault = page_ask(page, again, &look->body, ended);
    if (fault)
        return fault;
    look_command(page->pid, look->command, sizeof look->command);
    if (before && look->body.time > before->body.time)
        look->interval = (double)(look->body.time - before->body.time) / 1e9;
    for (unsigned i = 0; i < SS_PAGE_COUNTERS; i++)
        look->rates[i] =
            before ? rate(look->body.counters[i], before->body.counters[i], look->interval)
                   : NO_RATE;
    look_at_workers(look, page, before);
    look_at_queues(look, before);
    return NULL;
}

// ---- order

static int descending(double a, double b)
{
    return (a < b) - (a > b);
}

static int by_number(const struct queue_look *a, const struct queue_look *b)
{
    return (a->queue->number > b->queue->number) - (a->queue->number < b->queue->number);
}

static int compare_by(const struct queue_look *a, const struct queue_look *b, enum sort sort)
{
    int order = sort == BY_WAITING
                    ? descending((double)a->queue->pending, (double)b->queue->pending)
                : sort == BY_RATE ? descending(a->rate, b->rate)
                : sort == BY_MEAN ? descending((double)a->queue->mean, (double)b->queue->mean)
                                  : 0;
    return order ? order : by_number(a, b);
}

static int compare_queues(const void *a, const void *b, void *sort)
{
    return compare_by(a, b, *(enum sort *)sort);
}

// What works comes first.
static int compare_workers(const void *a, const void *b)
{
    static const int rank[DOINGS] = {
        [RUNNING] = 0, [BLOCKED] = 1, [LOOKING] = 2, [NAPPING] = 3, [STARTING] = 4, [PARKED] = 5};
    const struct worker_look *one = a, *other = b;
    int order = rank[one->doing] - rank[other->doing];
    return order
               ? order
               : (one->worker->tid > other->worker->tid) - (one->worker->tid < other->worker->tid);
}

void look_sort(struct look *look, enum sort sort)
{
    qsort_r(look->queue, look->body.queue_count, sizeof *look->queue, compare_queues, &sort);
    qsort(look->worker, look->body.worker_count, sizeof *look->worker, compare_workers);
}

// ---- words

// Whose pool a queue is: the layer, or the program or library that made it.
static const char *pool_of(const struct ss_page_queue *queue)
{
    static const struct {
        const char *object, *title;
    } known[] = {
        {"libsmolscale-glib", "glib"},
        {"libsmolscale-uv", "libuv"},
        {"libsmolscale-pthreadpool", "pthreadpool"},
        {"libsmolscale", "smolscale"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(queue->object, known[i].object, strlen(known[i].object)) == 0)
            return known[i].title;
    return *queue->object ? queue->object : "?";
}

static const char *balancer_word(uint32_t balancer)
{
    static const char *const words[] = {"none", "parked", "parked", "dozing", "awake", "awake"};
    return balancer < sizeof words / sizeof *words ? words[balancer] : "?";
}

// Has any look found more of it than what waits?
static bool is_known(const struct queue_look *seen)
{
    return seen->time != 0;
}

// What a worker serves, in words.
static void serves_words(const struct look *look, const struct ss_page_worker *worker, char *text,
                         size_t size)
{
    const struct queue_look *queue = find_queue(look, worker->queue);
    if (queue)
        snprintf(text, size, "%s #%llu", pool_of(queue->queue), (unsigned long long)worker->queue);
    else
        snprintf(text, size, "%s",
                 worker->serves == SS_PAGE_QUEUE   ? "a queue not listed"
                 : worker->serves == SS_PAGE_TASKS ? "tasks"
                 : worker->serves == SS_PAGE_LOOP  ? "a parallel call"
                                                   : "-");
}

static void rate_words(double value, char *text, size_t size)
{
    if (value < 0)
        snprintf(text, size, "-");
    else
        snprintf(text, size, value < 10 ? "%.1f" : "%.0f", value);
}

static void time_words(uint64_t ns, char *text, size_t size)
{
    double value = (double)ns;
    if (value < 1e3)
        snprintf(text, size, "%.0f ns", value);
    else if (value < 1e6)
        snprintf(text, size, value < 1e4 ? "%.1f us" : "%.0f us", value / 1e3);
    else if (value < 1e9)
        snprintf(text, size, value < 1e7 ? "%.1f ms" : "%.0f ms", value / 1e6);
    else
        snprintf(text, size, value < 1e10 ? "%.1f s" : "%.0f s", value / 1e9);
}

// ---- as text

struct lines {
    void (*line)(void *to, bool heading, const char *text);
    void *to;
    struct room room;
};

__attribute__((format(printf, 3, 4))) static void put(const struct lines *lines, bool heading,
                                                      const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (size_t length = strlen(text); length && text[length - 1] == ' '; length--)
        text[length - 1] = '\0';
    lines->line(lines->to, heading, text);
}

enum { INDENT = 9 }; // of what follows the first word of a line

// How much of a text fits: up to a mark behind which a line may end, or else up to a blank. All of
// it, if it has neither that soon.
static size_t fitting(const char *text, size_t width)
{
    size_t length = strlen(text), at_mark = 0, at_blank = 0;
    for (size_t i = 1; length > width && i <= width; i++) {
        if (text[i] != ' ')
            continue;
        at_blank = i;
        if (strchr(",;:", text[i - 1]))
            at_mark = i;
    }
    return at_mark ? at_mark : at_blank ? at_blank : length;
}

// A list in words, on as many lines as it takes, or as much of it as fits on one.
__attribute__((format(printf, 2, 3))) static void put_list(const struct lines *lines,
                                                           const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    size_t width = lines->room.width ? lines->room.width : sizeof text, fits = fitting(text, width);
    put(lines, false, "%.*s", (int)fits, text);
    for (const char *rest = text + fits; !lines->room.low && *rest; rest += fits) {
        rest++; // the blank
        fits = fitting(rest, width > INDENT ? width - INDENT : 1);
        put(lines, false, "%*s%.*s", INDENT, "", (int)fits, rest);
    }
}

// A table's columns, from the left. In a narrow place those with the highest rank are left out:
// half a number says something else than the whole.
struct column {
    const char *title;
    int width; // less than 0: the text begins at the left
    unsigned rank;
};

enum { COLUMNS_MAX = 12, CELL_SIZE = 32 };

static unsigned width_of(const struct column *columns, unsigned count, unsigned rank)
{
    unsigned width = 0;
    for (unsigned i = 0; i < count; i++)
        if (columns[i].rank <= rank)
            width += (unsigned)abs(columns[i].width) + 1;
    return width - 1; // no blank behind the last
}

// The highest rank that there is room for.
static unsigned rank_fitting(const struct column *columns, unsigned count, unsigned width)
{
    unsigned rank = COLUMNS_MAX;
    while (width && rank > 0 && width_of(columns, count, rank) > width)
        rank--;
    return rank;
}

static void put_row(const struct lines *lines, const struct column *columns, unsigned count,
                    char (*cells)[CELL_SIZE])
{
    unsigned rank = rank_fitting(columns, count, lines->room.width);
    char text[512];
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < count; i++)
        if (columns[i].rank <= rank)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%*.*s",
                                       length ? " " : "", columns[i].width, CELL_SIZE - 1,
                                       cells ? cells[i] : columns[i].title);
    put(lines, !cells, "%s", text);
}

static void write_rates(const struct look *look, const struct lines *lines)
{
    char text[SS_PAGE_COUNTERS][32];
    for (unsigned i = 0; i < SS_PAGE_COUNTERS; i++)
        rate_words(look->rates[i], text[i], sizeof text[i]);
    const uint64_t *counters = look->body.counters;
    put_list(lines, "jobs     %llu, %s/s; wake-ups %llu, %s/s; saved %llu, %s/s; naps %llu, %s/s",
             (unsigned long long)counters[SS_PAGE_JOBS], text[SS_PAGE_JOBS],
             (unsigned long long)counters[SS_PAGE_WAKES], text[SS_PAGE_WAKES],
             (unsigned long long)counters[SS_PAGE_WAKES_SAVED], text[SS_PAGE_WAKES_SAVED],
             (unsigned long long)counters[SS_PAGE_NAPS], text[SS_PAGE_NAPS]);
    put_list(
        lines,
        "balancer %s, %s looks/s; took back %llu; added for blocked %llu, %s/s; threads begun %llu, ended %llu, "
        "failed %llu",
        balancer_word(look->body.balancer), text[SS_PAGE_TICKS],
        (unsigned long long)counters[SS_PAGE_TAKEBACKS],
        (unsigned long long)counters[SS_PAGE_COMPENSATIONS], text[SS_PAGE_COMPENSATIONS],
        (unsigned long long)counters[SS_PAGE_WORKERS_CREATED],
        (unsigned long long)counters[SS_PAGE_WORKERS_RETIRED],
        (unsigned long long)counters[SS_PAGE_CREATE_FAILURES]);
}

static void write_head(const struct look *look, const struct lines *lines)
{
    const struct ss_page_body *body = &look->body;
    put(lines, false, "process  %d  %s", (int)look->pid, look->command);
    put_list(lines,
             "workers  %u on %u CPUs (at most %llu so far): %u running, %u blocked, %u looking, "
             "%u napping, %u parked",
             body->workers, body->cpus, (unsigned long long)body->counters[SS_PAGE_WORKERS_PEAK],
             look->doing[RUNNING], look->doing[BLOCKED],
             look->doing[LOOKING] + look->doing[STARTING], look->doing[NAPPING], body->parked);
    write_rates(look, lines);
}

// In 80 columns: without the threads' name, which is the pool's, the limit and the maximum.
static const struct column queue_columns[] = {
    {"QUEUE", 6, 0}, {"POOL", -12, 4},   {"THREADS", -15, 8}, {"WAITING", 8, 0},
    {"BUSY", 5, 2},  {"BLOCKED", 7, 5},  {"LIMIT", 6, 6},     {"JOBS/s", 9, 1},
    {"MEAN", 8, 3},  {"IN Q p50", 8, 4}, {"p99", 8, 1},       {"max", 8, 7},
};
enum { QUEUE_COLUMNS = sizeof queue_columns / sizeof *queue_columns };

static void write_queue(const struct queue_look *seen, const struct lines *lines)
{
    const struct ss_page_queue *queue = seen->queue;
    char cells[QUEUE_COLUMNS][CELL_SIZE];
    unsigned cell = 0;
#define CELL(...) snprintf(cells[cell++], CELL_SIZE, __VA_ARGS__)
    CELL("%llu", (unsigned long long)queue->number);
    CELL("%.12s", pool_of(queue));
    CELL("%.15s", queue->name);
    CELL("%llu", (unsigned long long)queue->pending);
    if (is_known(seen))
        CELL("%u", queue->active);
    else
        CELL("-");
    CELL("%u", seen->blocked);
    if (is_known(seen) && queue->max_active != SMOLSCALE_UNLIMITED)
        CELL("%u", queue->max_active);
    else
        CELL("-");
    rate_words(seen->rate, cells[cell++], CELL_SIZE);
    const struct {
        bool known;
        uint64_t ns;
    } times[] = {{is_known(seen) && queue->mean, queue->mean},
                 {queue->waits, queue->wait_p50},
                 {queue->waits, queue->wait_p99},
                 {queue->waits, queue->wait_max}};
    for (unsigned i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].known)
            time_words(times[i].ns, cells[cell++], CELL_SIZE);
        else
            CELL("-");
#undef CELL
    put_row(lines, queue_columns, QUEUE_COLUMNS, cells);
}

static void write_queues(const struct look *look, const struct lines *lines)
{
    const struct ss_page_body *body = &look->body;
    put(lines, false, "%s", "");
    put_row(lines, queue_columns, QUEUE_COLUMNS, NULL);
    for (uint32_t i = 0; i < body->queue_count; i++)
        write_queue(&look->queue[i], lines);
    if (body->queues > body->queue_count)
        put(lines, false, "       ... and %llu more",
            (unsigned long long)(body->queues - body->queue_count));
}

static const struct column worker_columns[] = {
    {"THREAD", 8, 0}, {"NAME", -15, 2}, {"DOES", -9, 0}, {"SERVES", -20, 0}, {"BEGUN/s", 9, 1}};
enum { WORKER_COLUMNS = sizeof worker_columns / sizeof *worker_columns };

static void write_workers(const struct look *look, const struct lines *lines)
{
    const struct ss_page_body *body = &look->body;
    put(lines, false, "%s", "");
    put_row(lines, worker_columns, WORKER_COLUMNS, NULL);
    for (uint32_t i = 0; i < body->worker_count; i++) {
        const struct worker_look *seen = &look->worker[i];
        char cells[WORKER_COLUMNS][CELL_SIZE], serves[64];
        serves_words(look, seen->worker, serves, sizeof serves);
        snprintf(cells[0], CELL_SIZE, "%d", (int)seen->worker->tid);
        snprintf(cells[1], CELL_SIZE, "%.15s", seen->name);
        snprintf(cells[2], CELL_SIZE, "%s", doing_words[seen->doing]);
        snprintf(cells[3], CELL_SIZE, "%.20s", serves);
        rate_words(seen->rate, cells[4], CELL_SIZE);
        put_row(lines, worker_columns, WORKER_COLUMNS, cells);
    }
    if (body->workers > body->worker_count)
        put(lines, false, "         ... and %u more", body->workers - body->worker_count);
}

void look_write(const struct look *look, struct room room,
                void (*line)(void *to, bool heading, const char *text), void *to)
{
    const struct lines lines = {line, to, room};
    write_head(look, &lines);
    if (look->interval <= 0)
        put(&lines, false, "         one look: rates and times in queue are not known yet");
    write_queues(look, &lines);
    write_workers(look, &lines);
}

// ---- as JSON. A number that is not known is null.

static void add_number(cJSON *object, const char *name, double value)
{
    if (value < 0)
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddNumberToObject(object, name, value);
}

static void add_workers(cJSON *top, const struct look *look)
{
    const struct ss_page_body *body = &look->body;
    cJSON *counts = cJSON_AddObjectToObject(top, "workers");
    cJSON_AddNumberToObject(counts, "all", body->workers);
    for (unsigned i = 0; i < DOINGS; i++)
        cJSON_AddNumberToObject(counts, doing_words[i],
                                i == PARKED ? body->parked : look->doing[i]);
    cJSON_AddNumberToObject(counts, "noted_blocked", body->blocked);
    cJSON *list = cJSON_AddArrayToObject(top, "worker_list");
    for (uint32_t i = 0; i < body->worker_count; i++) {
        const struct worker_look *seen = &look->worker[i];
        cJSON *object = cJSON_CreateObject();
        static const char *const kinds[SS_PAGE_KINDS] = {"nothing", "queue", "tasks", "loop"};
        cJSON_AddNumberToObject(object, "thread", seen->worker->tid);
        cJSON_AddStringToObject(object, "name", seen->name);
        cJSON_AddStringToObject(object, "does", doing_words[seen->doing]);
        cJSON_AddStringToObject(object, "serves", kinds[seen->worker->serves]);
        add_number(object, "queue", seen->worker->queue ? (double)seen->worker->queue : -1);
        cJSON_AddNumberToObject(object, "begun", (double)seen->worker->started);
        add_number(object, "begun_per_second", seen->rate);
        cJSON_AddItemToArray(list, object);
    }
}

static void add_time_in_queue(cJSON *object, const struct ss_page_queue *queue)
{
    if (!queue->waits) {
        cJSON_AddNullToObject(object, "time_in_queue_ns");
        return;
    }
    cJSON *times = cJSON_AddObjectToObject(object, "time_in_queue_ns");
    cJSON_AddNumberToObject(times, "jobs", (double)queue->waits);
    cJSON_AddNumberToObject(times, "p50", (double)queue->wait_p50);
    cJSON_AddNumberToObject(times, "p99", (double)queue->wait_p99);
    cJSON_AddNumberToObject(times, "max", (double)queue->wait_max);
}

static void add_queues(cJSON *top, const struct look *look)
{
    cJSON_AddNumberToObject(top, "queues", (double)look->body.queues);
    cJSON *list = cJSON_AddArrayToObject(top, "queue_list");
    for (uint32_t i = 0; i < look->body.queue_count; i++) {
        const struct queue_look *seen = &look->queue[i];
        const struct ss_page_queue *queue = seen->queue;
        bool known = is_known(seen), limited = queue->max_active != SMOLSCALE_UNLIMITED;
        cJSON *object = cJSON_CreateObject();
        cJSON_AddNumberToObject(object, "number", (double)queue->number);
        add_number(object, "parent", queue->parent ? (double)queue->parent : -1);
        cJSON_AddStringToObject(object, "pool", pool_of(queue));
        cJSON_AddStringToObject(object, "threads", queue->name);
        cJSON_AddNumberToObject(object, "waiting", (double)queue->pending);
        add_number(object, "busy", known ? queue->active : -1.0);
        cJSON_AddNumberToObject(object, "blocked", seen->blocked);
        add_number(object, "noted_blocked", known ? queue->blocked : -1.0);
        add_number(object, "limit", known && limited ? queue->max_active : -1.0);
        cJSON_AddBoolToObject(object, "dedicated", (queue->flags & SMOLSCALE_QUEUE_DEDICATED) != 0);
        add_number(object, "jobs", known ? (double)queue->ended : -1);
        add_number(object, "jobs_per_second", seen->rate);
        add_number(object, "mean_ns", known && queue->mean ? (double)queue->mean : -1);
        add_time_in_queue(object, queue);
        cJSON_AddItemToArray(list, object);
    }
}

static void add_counters(cJSON *top, const struct look *look)
{
    cJSON *counters = cJSON_AddObjectToObject(top, "counters");
    cJSON *rates = cJSON_AddObjectToObject(top, "per_second");
    for (unsigned i = 0; i < SS_PAGE_COUNTERS; i++) {
        cJSON_AddNumberToObject(counters, counter_words[i], (double)look->body.counters[i]);
        if (i != SS_PAGE_WORKERS_PEAK)
            add_number(rates, counter_words[i], look->rates[i]);
    }
}

void look_write_json(const struct look *look, FILE *file)
{
    cJSON *top = cJSON_CreateObject();
    cJSON_AddNumberToObject(top, "process", look->pid);
    cJSON_AddStringToObject(top, "command", look->command);
    cJSON_AddNumberToObject(top, "cpus", look->body.cpus);
    cJSON_AddStringToObject(top, "policy", look->body.elastic ? "elastic" : "strict");
    cJSON_AddStringToObject(top, "balancer", balancer_word(look->body.balancer));
    add_number(top, "interval_s", look->interval > 0 ? look->interval : -1);
    add_workers(top, look);
    add_queues(top, look);
    add_counters(top, look);
    char *text = cJSON_Print(top);
    if (!text)
        fail(STATUS_FAILED, "no memory");
    fprintf(file, "%s\n", text);
    cJSON_free(text);
    cJSON_Delete(top);
}
