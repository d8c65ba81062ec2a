// error: /aligned to 32 bytes/
// A member of the frame wants more alignment than a task's frame has.
#include <smolscale_async.h>

struct wide {
    SMOLSCALE_FRAME;
#ifdef WRONG
    float sums[16] __attribute__((aligned(64)));
#else
    float sums[8] __attribute__((aligned(32)));
#endif
};
SMOLSCALE_ASYNC(wide, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_TRY(smolscale_sleep(cx, 1));
    SMOLSCALE_RETURN((int)f->sums[3]);
    SMOLSCALE_END;
}

int main(void)
{
    return SMOLSCALE_SPAWN(NULL, wide, .sums = {0});
}
