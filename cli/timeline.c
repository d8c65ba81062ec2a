// SPDX-License-Identifier: ISC
//
// smolscale report: a trace as one page of HTML that needs nothing else. The page is timeline.html,
// which draws; this file puts a title, numbers and data into it.

#include "timeline.h" // made of timeline.html: timeline_html
#include "cli.h"
#include "output.h"
#include "trace.h"

#include <argp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// So many slices a browser handles without a pause. Of longer traces neighbours are merged.
#define SLICES_MAX 150000

static const char *const order_names[SS_ORDERS] = {
    [SS_ORDER_REQUESTED] = "a worker that was asked for",
    [SS_ORDER_COMPENSATES] = "workers in place of blocked ones",
    [SS_ORDER_UNSTALLS] = "workers for what stands still",
    [SS_ORDER_CREATES] = "workers to be created",
    [SS_ORDER_MOVES] = "tasks to move to another lane",
};

// What is counted before slices are merged.
struct sums {
    uint64_t *jobs, *busy, *longest; // of each pool: jobs; ns in them; ns in the longest
    bool *used;
    uint64_t all_jobs, all_blocked, all_naps, workers;
};

static void sum_up(struct sums *sums, const struct trace *trace, const struct picture *picture)
{
    size_t pools = trace->pool_count;
    *sums = (struct sums){must_alloc(pools * sizeof(uint64_t)),
                          must_alloc(pools * sizeof(uint64_t)),
                          must_alloc(pools * sizeof(uint64_t)),
                          must_alloc(pools * sizeof(bool)),
                          0,
                          0,
                          0,
                          0};
    for (size_t i = 0; i < trace->thread_count; i++) {
        sums->workers += trace->threads[i].role == SS_ROLE_WORKER;
        for (size_t k = 0; k < picture->rows[i].count; k++) {
            const struct slice *slice = &picture->rows[i].slices[k];
            uint64_t length = slice->end - slice->start;
            sums->all_blocked += slice->kind == SLICE_BLOCKED;
            sums->all_naps += slice->kind == SLICE_NAP;
            if (slice->kind != SLICE_JOB)
                continue;
            sums->all_jobs++;
            sums->jobs[slice->pool]++;
            sums->busy[slice->pool] += length;
            if (length > sums->longest[slice->pool])
                sums->longest[slice->pool] = length;
        }
    }
    for (size_t i = 0; i < pools; i++)
        sums->used[i] = sums->jobs[i] || trace->pools[i].count || picture->lengths[i].count;
}

static void sums_finish(struct sums *sums)
{
    free(sums->jobs);
    free(sums->busy);
    free(sums->longest);
    free(sums->used);
}

// ---- texts ----

static void put_time(FILE *out, uint64_t ns)
{
    static const struct {
        double size;
        const char *name;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "&micro;s"}, {1, "ns"}};
    size_t i = 0;
    while (i < 3 && (double)ns < units[i].size)
        i++;
    fprintf(out, "%.4g %s", (double)ns / units[i].size, units[i].name);
}

static void put_title(FILE *out, const struct trace *trace)
{
    output_html_text(out, trace->program);
    fprintf(out, " (%u): trace of smolscale", trace->pid);
}

static void put_head(FILE *out, const struct trace *trace, const struct sums *sums,
                     uint64_t resolution)
{
    fputs("<h1>", out);
    output_html_text(out, trace->program);
    fprintf(out,
            " <span class=\"dim\">process %u</span></h1>\n<p>%" PRIu64 " jobs on %" PRIu64
            " workers in ",
            trace->pid, sums->all_jobs, sums->workers);
    put_time(out, trace->length);
    fprintf(out,
            ". Workers were found blocked %" PRIu64 " times, and napped %" PRIu64 " times.</p>\n",
            sums->all_blocked, sums->all_naps);
    if (trace->lost > 0)
        fprintf(out,
                "<p class=\"warn\">The memory for the trace was full: the oldest %" PRIu64
                " events are lost. Times in queue count all jobs, the rest only what is left "
                "(SMOLSCALE_TRACE_MEMORY).</p>\n",
                trace->lost);
    if (resolution > 0) {
        fputs("<p class=\"dim\">Neighbours shorter than ", out);
        put_time(out, resolution);
        fputs(" are drawn as one. The numbers count each.</p>\n", out);
    }
}

static void put_cell(FILE *out, bool known, uint64_t ns)
{
    fputs("<td>", out);
    if (known)
        put_time(out, ns);
    else
        fputs("&ndash;", out);
    fputs("</td>", out);
}

static void put_pools(FILE *out, const struct trace *trace, const struct picture *picture,
                      const struct sums *sums)
{
    fputs(
        "<h2>Pools</h2>\n<div class=\"scroll\"><table id=\"pools\">\n<tr><th>pool</th><th>jobs</th>"
        "<th>time in jobs</th><th>mean job</th><th>longest job</th><th>in queue: p50</th><th>p99</th>"
        "<th>longest</th><th>most waiting</th></tr>\n",
        out);
    for (size_t i = 0; i < trace->pool_count; i++) {
        const struct trace_pool *pool = &trace->pools[i];
        if (!sums->used[i])
            continue;
        fputs("<tr><td><code>", out);
        output_html_text(out, pool->name);
        fprintf(out, "</code></td><td>%" PRIu64 "</td>", sums->jobs[i]);
        put_cell(out, sums->jobs[i], sums->busy[i]);
        put_cell(out, sums->jobs[i], sums->jobs[i] ? sums->busy[i] / sums->jobs[i] : 0);
        put_cell(out, sums->jobs[i], sums->longest[i]);
        put_cell(out, pool->count, trace_quantile(pool, 500));
        put_cell(out, pool->count, trace_quantile(pool, 990));
        put_cell(out, pool->count, pool->max);
        fprintf(out, "<td>%" PRIu64 "</td></tr>\n", picture->lengths[i].most);
    }
    fputs("</table></div>\n", out);
}

static void put_threads(FILE *out, const struct trace *trace, const struct picture *picture)
{
    fputs(
        "<h2>Threads</h2>\n<div class=\"scroll\"><table id=\"threads\">\n<tr><th>thread</th><th>jobs</th>"
        "<th>in jobs</th><th>of these, blocked</th><th>naps</th><th>parked</th><th>lost events</th></tr>\n",
        out);
    for (size_t i = 0; i < trace->thread_count; i++) {
        const struct row *row = &picture->rows[i];
        uint64_t time[SLICE_KINDS] = {0}, jobs = 0;
        for (size_t k = 0; k < row->count; k++) {
            const struct slice *slice = &row->slices[k];
            bool inner = slice->kind == SLICE_JOB && slice->depth > 0; // the outer one has its time
            jobs += slice->kind == SLICE_JOB;
            time[slice->kind] += inner ? 0 : slice->end - slice->start;
        }
        char *name = trace_thread_name(trace, &trace->threads[i]);
        fprintf(out, "<tr><td>%s</td><td>%" PRIu64 "</td>", name, jobs);
        for (unsigned kind = 0; kind < SLICE_KINDS; kind++)
            put_cell(out, time[kind], time[kind]);
        fprintf(out, "<td>%" PRIu64 "</td></tr>\n", trace->threads[i].lost);
        free(name);
    }
    fputs("</table></div>\n", out);
}

// ---- data for the script: whole numbers, in ns ----

static void put_slices(FILE *out, const struct row *row)
{
    fputs("\"slices\":[", out);
    for (size_t i = 0; i < row->count; i++) {
        const struct slice *s = &row->slices[i];
        fprintf(out, "%s%" PRIu64 ",%" PRIu64 ",%u,%u,%u,", i ? "," : "", s->start,
                s->end - s->start, s->kind, s->pool, s->jobs);
        if (s->waited == TRACE_UNKNOWN)
            fputs("-1", out);
        else
            fprintf(out, "%" PRIu64, s->waited);
        fprintf(out, ",%u,%d", s->depth, s->open);
    }
    fputs("]}", out);
}

static void put_pool_data(FILE *out, const struct trace_pool *pool, const struct length *length,
                          bool used)
{
    fputs("{\"name\":", out);
    output_json_text(out, pool->name);
    fprintf(
        out, ",\"used\":%s,\"p50\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 ",\"times\":[",
        used ? "true" : "false", trace_quantile(pool, 500), trace_quantile(pool, 990), pool->max);
    for (size_t i = 0; i < pool->bucket_count; i++)
        fprintf(out, "%s%" PRIu64 ",%" PRIu64, i ? "," : "", pool->buckets[i].last,
                pool->buckets[i].count);
    fputs("],\"waiting\":[", out);
    for (size_t i = 0; i < length->count; i++)
        fprintf(out, "%s%" PRIu64 ",%" PRIu64, i ? "," : "", length->samples[i].time,
                length->samples[i].waiting);
    fputs("]}", out);
}

static void put_data(FILE *out, const struct trace *trace, const struct picture *picture,
                     const struct sums *sums)
{
    fprintf(out, "{\"length\":%" PRIu64 ",\"pools\":[", trace->length);
    for (size_t i = 0; i < trace->pool_count; i++) {
        fputs(i ? ",\n" : "\n", out);
        put_pool_data(out, &trace->pools[i], &picture->lengths[i], sums->used[i]);
    }
    fputs("],\"threads\":[", out);
    for (size_t i = 0; i < trace->thread_count; i++) {
        char *name = trace_thread_name(trace, &trace->threads[i]);
        fprintf(out, "%s{\"name\":\"%s\",", i ? ",\n" : "\n", name);
        put_slices(out, &picture->rows[i]);
        free(name);
    }
    fputs("],\"orders\":[", out);
    for (size_t i = 0; i < picture->order_count; i++)
        fprintf(out, "%s%" PRIu64 ",%u,%" PRIu64, i ? "," : "", picture->orders[i].time,
                picture->orders[i].what, picture->orders[i].count);
    fputs("],\"orderNames\":[", out);
    for (unsigned i = 0; i < SS_ORDERS; i++) {
        fputs(i ? "," : "", out);
        output_json_text(out, order_names[i]);
    }
    fputs("]}", out);
}

// ---- the page ----

// Writes the page up to the mark, which stands once in it. Returns what is behind it.
static const char *put_until(FILE *out, const char *page, const char *mark)
{
    const char *at = strstr(page, mark);
    fwrite(page, 1, (size_t)(at - page), out);
    return at + strlen(mark);
}

static void write_page(FILE *out, const struct trace *trace)
{
    struct picture picture;
    struct sums sums;
    char *numbers = NULL;
    size_t size;
    picture_make(&picture, trace);
    sum_up(&sums, trace, &picture);
    // The tables count what is merged afterwards.
    FILE *tables = open_memstream(&numbers, &size);
    if (!tables)
        fail(STATUS_FAILED, "no memory");
    put_pools(tables, trace, &picture, &sums);
    put_threads(tables, trace, &picture);
    if (fclose(tables))
        fail(STATUS_FAILED, "no memory");
    uint64_t resolution = picture_merge(&picture, trace, SLICES_MAX);

    const char *page = put_until(out, timeline_html, "<!--title-->");
    put_title(out, trace);
    page = put_until(out, page, "<!--head-->");
    put_head(out, trace, &sums, resolution);
    page = put_until(out, page, "<!--numbers-->");
    fputs(numbers, out);
    page = put_until(out, page, "/*data*/null");
    put_data(out, trace, &picture, &sums);
    fputs(page, out);
    free(numbers);
    sums_finish(&sums);
    picture_finish(&picture, trace);
}

static const struct argp argp = {
    output_options,
    output_parse,
    "FILE",
    "Writes a trace as a page of HTML that needs nothing else: what each thread did and when, how many jobs waited, and for how "
    "long.\v"
    "FILE is what smolscale run --trace left. If it does not exist, the only file FILE.PID is taken.",
    NULL,
    NULL,
    NULL,
};

int command_report(int argc, char **argv)
{
    struct output_arguments arguments = {.suffix = ".html"};
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments))
        return STATUS_FAILED;
    struct trace trace;
    arguments.file = trace_must_read(&trace, arguments.file);
    FILE *out = output_must_open(&arguments);
    write_page(out, &trace);
    output_must_close(&arguments, out);
    trace_finish(&trace);
    return 0;
}
