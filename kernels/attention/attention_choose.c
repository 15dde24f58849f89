#include "kernels/attention/attention_choose.h"

/* Head sizes that kernels are built for; those between run in the next one, padded with zeros in shared memory. */
static int built_head(int head_size)
{
    static const int built[] = { 32, 64, 80, 96, 128 };
    for (size_t i = 0; i < sizeof built / sizeof *built; i++)
        if (head_size <= built[i])
            return built[i];
    return ATTENTION_MOST_HEAD;
}

struct attention_choice attention_cuda_choose(const struct cuda_facts *facts, const struct attention_args *args)
{
    if (args->type != DTYPE_BF16 && args->type != DTYPE_F16)  /* in pieces of 32 columns */
        return (struct attention_choice){ ATTENTION_CUDA_FMA, built_head((args->head_size + 31) / 32 * 32), 0 };
    struct attention_choice choice = { ATTENTION_CUDA_MMA, built_head(args->head_size), 0 };
    /* Up to 64 three warpgroups of 64 rows hide each other's softmax; beyond, the products take long enough for two, and three
     * do not find the registers. No size is left to mma.sync: even at 32, where special functions take twice as long as the
     * products, its loop would issue more than twice as many instructions. */
    if (facts->architecture == 90 && facts->encode_tensor_map) {
        choice.variant    = ATTENTION_CUDA_WGMMA;
        choice.large_rows = choice.head <= 64 ? 192 : 128;
    }
    return choice;
}
