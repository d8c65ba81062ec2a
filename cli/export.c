// SPDX-License-Identifier: ISC
//
// smolscale export: a trace as JSON, in the format of Chrome's tracing, which Perfetto and
// chrome://tracing read.
//
// Written as it is made and not as a tree of cJSON: a trace has millions of events.

#include "cli.h"
#include "output.h"
#include "trace.h"

#include <argp.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kind_names[SLICE_KINDS] = {[SLICE_JOB] = "job",
                                                    [SLICE_BLOCKED] = "blocked",
                                                    [SLICE_NAP] = "nap",
                                                    [SLICE_PARKED] = "parked"};

static const char *const order_names[SS_ORDERS] = {
    [SS_ORDER_REQUESTED] = "a worker that was asked for",
    [SS_ORDER_COMPENSATES] = "workers in place of blocked ones",
    [SS_ORDER_UNSTALLS] = "workers for what stands still",
    [SS_ORDER_CREATES] = "workers to be created",
    [SS_ORDER_MOVES] = "tasks to another lane",
};

// An event up to its arguments; the first has no comma before it.
static void begin_event(FILE *out, const struct trace *trace, bool *first, const char *phase,
                        uint64_t tid)
{
    fprintf(out, "%s\n{\"ph\":\"%s\",\"pid\":%u,\"tid\":%" PRIu64, *first ? "" : ",", phase,
            trace->pid, tid);
    *first = false;
}

static void put_time(FILE *out, const char *name, uint64_t ns)
{
    fprintf(out, ",\"%s\":%" PRIu64 ".%03u", name, ns / 1000, (unsigned)(ns % 1000));
}

static void put_name(FILE *out, const char *name)
{
    fputs(",\"name\":", out);
    output_json_text(out, name);
}

static void put_names(FILE *out, const struct trace *trace, bool *first)
{
    begin_event(out, trace, first, "M", 0);
    put_name(out, "process_name");
    fputs(",\"args\":{\"name\":", out);
    output_json_text(out, trace->program);
    fputs("}}", out);
    for (size_t i = 0; i < trace->thread_count; i++) {
        char *name = trace_thread_name(trace, &trace->threads[i]);
        begin_event(out, trace, first, "M", trace->threads[i].tid);
        put_name(out, "thread_name");
        fputs(",\"args\":{\"name\":", out);
        output_json_text(out, name);
        fputs("}}", out);
        free(name);
    }
}

static void put_slice(FILE *out, const struct trace *trace, bool *first, uint32_t tid,
                      const struct slice *slice)
{
    const char *pool = trace->pools[slice->pool].name;
    begin_event(out, trace, first, "X", tid);
    put_name(out, slice->kind == SLICE_JOB ? pool : kind_names[slice->kind]);
    fprintf(out, ",\"cat\":\"%s\"", kind_names[slice->kind]);
    put_time(out, "ts", slice->start);
    put_time(out, "dur", slice->end - slice->start);
    fputs(",\"args\":{", out);
    if (slice->kind == SLICE_JOB && slice->waited != TRACE_UNKNOWN)
        fprintf(out, "\"time in queue (ns)\":%" PRIu64, slice->waited);
    if (slice->kind == SLICE_NAP || slice->kind == SLICE_BLOCKED) {
        fputs("\"pool\":", out);
        output_json_text(out, pool);
    }
    fputs("}}", out);
}

static void put_lengths(FILE *out, const struct trace *trace, const struct picture *picture,
                        bool *first)
{
    for (size_t i = 0; i < trace->pool_count; i++) {
        const struct length *length = &picture->lengths[i];
        char *name = must_format("waiting: %s", trace->pools[i].name);
        for (size_t k = 0; k < length->count; k++) {
            begin_event(out, trace, first, "C", 0);
            put_name(out, name);
            put_time(out, "ts", length->samples[k].time);
            fprintf(out, ",\"args\":{\"jobs\":%" PRIu64 "}}", length->samples[k].waiting);
        }
        free(name);
    }
}

static void put_orders(FILE *out, const struct trace *trace, const struct picture *picture,
                       bool *first)
{
    for (size_t i = 0; i < picture->order_count; i++) {
        const struct order *order = &picture->orders[i];
        begin_event(out, trace, first, "i", 0);
        put_name(out, order_names[order->what]);
        fputs(",\"cat\":\"balancer\",\"s\":\"p\"", out);
        put_time(out, "ts", order->time);
        fprintf(out, ",\"args\":{\"count\":%" PRIu64 "}}", order->count);
    }
}

static void export(FILE *out, const struct trace *trace)
{
    struct picture picture;
    bool first = true;
    picture_make(&picture, trace);
    fputs("{\"displayTimeUnit\":\"ns\",\"otherData\":{\"lost events\":", out);
    fprintf(out, "%" PRIu64 "},\"traceEvents\":[", trace->lost);
    put_names(out, trace, &first);
    for (size_t i = 0; i < trace->thread_count; i++)
        for (size_t k = 0; k < picture.rows[i].count; k++)
            put_slice(out, trace, &first, trace->threads[i].tid, &picture.rows[i].slices[k]);
    put_lengths(out, trace, &picture, &first);
    put_orders(out, trace, &picture, &first);
    fputs("\n]}\n", out);
    picture_finish(&picture, trace);
}

static const struct argp argp = {
    output_options,
    output_parse,
    "FILE",
    "Writes a trace as JSON for Perfetto (ui.perfetto.dev) and chrome://tracing: threads with their jobs, the number of jobs that "
    "wait, and what the balancer ordered.\v"
    "FILE is what smolscale run --trace left. If it does not exist, the only file FILE.PID is taken.",
    NULL,
    NULL,
    NULL,
};

int command_export(int argc, char **argv)
{
    struct output_arguments arguments = {.suffix = ".json"};
    if (argp_parse(&argp, argc, argv, 0, NULL, &arguments))
        return STATUS_FAILED;
    struct trace trace;
    arguments.file = trace_must_read(&trace, arguments.file);
    FILE *out = output_must_open(&arguments);
    export(out, &trace);
    output_must_close(&arguments, out);
    trace_finish(&trace);
    return 0;
}
