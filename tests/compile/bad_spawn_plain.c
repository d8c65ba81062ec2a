// error: /plain/
// A function that is not async is spawned.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

static int plain(void)
{
    return 0;
}
SMOLSCALE_ASYNC(right, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_END;
}

int main(void)
{
#ifdef WRONG
    SMOLSCALE_SPAWN(NULL, plain, 0);
#endif
    SMOLSCALE_SPAWN(NULL, right, .got = plain());
    return 0;
}
