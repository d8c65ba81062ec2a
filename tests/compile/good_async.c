// Every macro of smolscale_async.h, in the ways its header shows.
#include <smolscale_async.h>

struct inner {
    SMOLSCALE_FRAME;
    smolscale_channel *channel;
    int got;
    char message[100];
};
SMOLSCALE_ASYNC(inner, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_recv(cx, f->channel, f->message));
    SMOLSCALE_YIELD();
    SMOLSCALE_TIMEOUT(f->got, 1000, smolscale_send(cx, f->channel, f->message));
    if (f->got < 0)
        SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

struct empty {
    SMOLSCALE_FRAME;
};
SMOLSCALE_ASYNC(empty, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_END;
}

static int own(smolscale_cx *cx, unsigned *polls)
{
    smolscale_wake(smolscale_waker_new(cx));
    return ++*polls < 3 ? SMOLSCALE_PENDING : 0;
}

struct outer {
    SMOLSCALE_FRAME;
    struct inner callee;
    struct empty nothing;
    smolscale_channel *channel;
    unsigned polls, i;
    int got;
};
SMOLSCALE_ASYNC(outer, f)
{
    SMOLSCALE_BEGIN(f);
    for (f->i = 0; f->i < 3; f->i++) {
        switch (f->i) {
        case 0:
            SMOLSCALE_CALL(f->got, inner, f->callee, .channel = f->channel);
            break;
        case 1:
            SMOLSCALE_CALL_TIMEOUT(f->got, 1000, inner, f->callee, .channel = f->channel);
            break;
        default:
            if (f->got)
                SMOLSCALE_POLL(f->got, own(cx, &f->polls));
            else
                SMOLSCALE_AWAIT(f->got, smolscale_sleep(cx, 1000));
        }
    }
    f->got = SMOLSCALE_BLOCK(smolscale_send(cx, f->channel, "x"));
    SMOLSCALE_CALL(f->got, empty, f->nothing, 0);
    SMOLSCALE_RETURN(f->got);
    SMOLSCALE_END;
}

int main(void)
{
    smolscale_task *task;
    if (SMOLSCALE_SPAWN(&task, outer, .i = 0) < 0)
        return 1;
    int got = SMOLSCALE_BLOCK(smolscale_join(cx, task));
    smolscale_release(task);
    return got < 0 || SMOLSCALE_BLOCK_ON(outer, .i = 0) < 0;
}
