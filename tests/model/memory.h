/* SPDX-License-Identifier: ISC
 *
 * Memory as x86 has it (TSO), for the models beside this file. A store first enters the writer's buffer, from
 * which it reaches memory later and in order; a load sees the own buffer, then memory. A fence, and every
 * read-modify-write, waits until the own buffer is empty. Weaker machines reorder more; what the code
 * asks of them beyond this are acquire and release, which these models take as given.
 *
 * The futex is the kernel's: comparing the word and going to sleep is one step, and both calls are fences.
 * membarrier (heavy_fence) executes a fence in each process, at moments of its own between begin and end.
 *
 * To be defined before: PROCESSES (each knows its number as `me`), WORDS.
 */
#define DEPTH 2

typedef store_buffer {
    byte count;
    byte word[DEPTH];
    byte value[DEPTH]
};
store_buffer buffer[PROCESSES];
byte memory[WORDS];
bool asleep[PROCESSES];
byte sleeps_on[PROCESSES];

inline store(w, v)
{
    atomic {
        buffer[me].count < DEPTH ->
        buffer[me].word[buffer[me].count] = w;
        buffer[me].value[buffer[me].count] = v;
        buffer[me].count++
    }
}

inline load(w, result)
{
    atomic {
        if
        :: buffer[me].count == 2 && buffer[me].word[1] == w -> result = buffer[me].value[1]
        :: else ->
            if
            :: buffer[me].count >= 1 && buffer[me].word[0] == w -> result = buffer[me].value[0]
            :: else -> result = memory[w]
            fi
        fi
    }
}

inline fence()
{
    buffer[me].count == 0
}

inline exchange(w, v, old)
{
    atomic {
        buffer[me].count == 0 ->
        old = memory[w];
        memory[w] = v
    }
}

inline fetch_add(w, n, old)
{
    atomic {
        buffer[me].count == 0 ->
        old = memory[w];
        memory[w] = old + n
    }
}

inline fetch_sub(w, n, old)
{
    atomic {
        buffer[me].count == 0 ->
        old = memory[w];
        memory[w] = old - n
    }
}

inline fetch_or(w, bits, old)
{
    atomic {
        buffer[me].count == 0 ->
        old = memory[w];
        memory[w] = old | bits
    }
}

/* Clears these bits. */
inline fetch_clear(w, bits, old)
{
    atomic {
        buffer[me].count == 0 ->
        old = memory[w];
        memory[w] = old - (old & bits)
    }
}

inline heavy_fence()
{
    buffer[me].count == 0;
    buffer[0].count == 0;
#if PROCESSES > 1
    buffer[1].count == 0;
#endif
#if PROCESSES > 2
    buffer[2].count == 0;
#endif
#if PROCESSES > 3
    buffer[3].count == 0;
#endif
#if PROCESSES > 4
    buffer[4].count == 0
#endif
}

inline compare_and_swap(w, expected, v, done)
{
    atomic {
        buffer[me].count == 0 ->
        if
        :: memory[w] == expected -> memory[w] = v; done = true
        :: else -> done = false
        fi
    }
}

inline futex_wait(w, expected)
{
    atomic {
        buffer[me].count == 0 ->
#ifdef FUTEX_DOES_NOT_COMPARE
        asleep[me] = true; sleeps_on[me] = w
#else
        if
        :: memory[w] == expected -> asleep[me] = true; sleeps_on[me] = w
        :: else -> skip
        fi
#endif
    }
    !asleep[me]
}

inline futex_wake_all(w)
{
    d_step {
        buffer[me].count == 0 ->
        i = 0;
        do
        :: i < PROCESSES ->
            if
            :: asleep[i] && sleeps_on[i] == w -> asleep[i] = false; sleeps_on[i] = 0
            :: else -> skip
            fi;
            i++
        :: else -> break
        od;
        i = 0
    }
}

/* Any one of the sleepers. */
inline futex_wake_one(w)
{
    atomic {
        buffer[me].count == 0 ->
        if
        :: asleep[0] && sleeps_on[0] == w -> asleep[0] = false; sleeps_on[0] = 0
#if PROCESSES > 1
        :: asleep[1] && sleeps_on[1] == w -> asleep[1] = false; sleeps_on[1] = 0
#endif
#if PROCESSES > 2
        :: asleep[2] && sleeps_on[2] == w -> asleep[2] = false; sleeps_on[2] = 0
#endif
#if PROCESSES > 3
        :: asleep[3] && sleeps_on[3] == w -> asleep[3] = false; sleeps_on[3] = 0
#endif
#if PROCESSES > 4
        :: asleep[4] && sleeps_on[4] == w -> asleep[4] = false; sleeps_on[4] = 0
#endif
        :: else -> skip
        fi
    }
}

inline goto_memory(p)
{
    memory[buffer[p].word[0]] = buffer[p].value[0];
    buffer[p].word[0] = buffer[p].word[1];
    buffer[p].value[0] = buffer[p].value[1];
    buffer[p].word[1] = 0;
    buffer[p].value[1] = 0;
    buffer[p].count--;
    p = 0
}

/* The store buffers reach memory whenever they like. */
active proctype memory_bus()
{
    byte p;
end_idle:
    do
    :: d_step { buffer[0].count > 0 -> p = 0; goto_memory(p) }
#if PROCESSES > 1
    :: d_step { buffer[1].count > 0 -> p = 1; goto_memory(p) }
#endif
#if PROCESSES > 2
    :: d_step { buffer[2].count > 0 -> p = 2; goto_memory(p) }
#endif
#if PROCESSES > 3
    :: d_step { buffer[3].count > 0 -> p = 3; goto_memory(p) }
#endif
#if PROCESSES > 4
    :: d_step { buffer[4].count > 0 -> p = 4; goto_memory(p) }
#endif
    od
}
