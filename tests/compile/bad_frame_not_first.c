// error: /SMOLSCALE_FRAME must come first/
// Something comes before SMOLSCALE_FRAME.
#include <smolscale_async.h>

struct right {
    SMOLSCALE_FRAME;
    int got;
};

struct late {
#ifdef WRONG
    int got;
    SMOLSCALE_FRAME;
#else
    SMOLSCALE_FRAME;
    int got;
#endif
};
SMOLSCALE_ASYNC(late, f)
{
    SMOLSCALE_BEGIN(f);
    SMOLSCALE_END;
}

int main(void)
{
    struct right unused = {.got = 0};
    return SMOLSCALE_BLOCK_ON(late, .got = unused.got);
}
