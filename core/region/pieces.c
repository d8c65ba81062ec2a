// SPDX-License-Identifier: ISC
//
// Running a share in pieces: how long they are, and what a participant learns from each.

#include "os/ticks.h"
#include "region/region.h"

static size_t next_piece(const struct smolscale_loop *loop, const struct ss_pace *pace, size_t left)
{
    size_t part = left / SS_PIECES_OF_SHARE;
    size_t least = pace->item ? ss_ticks_of_ns(ss_policy(piece_ns)) * 16 / pace->item : 0;
    size_t most = pace->item ? ss_ticks_of_ns(ss_policy(long_piece_ns)) * 16 / pace->item : 0;
    size_t piece = part < least ? least : part > most ? most : part;
    if (piece > pace->most)
        piece = pace->most;
    if (loop->guide && piece < left / loop->guide)
        piece = left / loop->guide;
    return piece ? piece : 1;
}

// Opens the gate and asks for help if what is left is worth it.
static void look_for_help(smolscale_team *team, const struct smolscale_share *mine, uint64_t item)
{
    size_t left = ss_items_left(mine);
    if (left <= ss_ticks_of_ns(ss_policy(help_ns)) * 16 / item)
        return;
    if (!(load_relaxed(&team->gate.word) & SS_GATE_OPEN))
        ss_gate_open(&team->gate);
    ss_team_ask_for_free_cpus(team, left);
}

// Draws the conclusions from a piece of `done` items that ended now.
static void after_piece(smolscale_team *team, const struct smolscale_share *mine,
                        struct ss_pace *pace, size_t done, uint64_t spent, uint64_t now)
{
    pace->item = spent * 16 / done + 1;
    pace->most = done * 4; // one lucky item says little about the others
    uint64_t known = load_relaxed(&team->shares.item_ticks);
    if (pace->item - known + known / 4 > known / 2) // unsigned: off by more than a quarter
        store_relaxed(&team->shares.item_ticks, pace->item);
    if (now >= pace->look) {
        look_for_help(team, mine, pace->item);
        pace->look = ss_ticks() + ss_ticks_of_ns(ss_policy(look_later_ns));
    }
}

void ss_run_pieces(smolscale_team *team, struct smolscale_share *mine, size_t i, size_t thread,
                   struct ss_pace *pace)
{
    const struct smolscale_loop *loop = &team->call.loop;
    uint64_t start = ss_ticks();
    for (;;) {
        size_t limit = word_load_relaxed(&mine->limit);
        if (i < limit) {
            size_t piece = next_piece(loop, pace, limit - i);
            size_t from = i;
            size_t end = piece < limit - i ? i + piece : limit;
            if (ss_announce_piece(mine, end))
                i = loop->run(loop, mine, i, end, thread);
            if (i == end) {
                uint64_t now = ss_ticks();
                after_piece(team, mine, pace, end - from, now - start, now);
                start = now;
                continue;
            }
        }
        if (!ss_look_again(&team->shares, mine, i))
            return;
        start = ss_ticks();
    }
}

void ss_run_stolen(smolscale_team *team, struct smolscale_share *mine, size_t thread,
                   struct ss_pace *pace)
{
    while (ss_steal(&team->shares, mine, team->call.loop.fenced))
        ss_run_pieces(team, mine, word_load_relaxed(&mine->next), thread, pace);
}

void ss_run_serially(const struct smolscale_loop *loop, size_t thread)
{
    struct smolscale_share all = {.limit = loop->items};
    ss_fpu fpu = ss_fpu_enter(loop->flags);
    loop->run(loop, &all, 0, loop->items, thread);
    ss_fpu_leave(loop->flags, fpu);
}
