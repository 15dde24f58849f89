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
    struct attention_choice choice = { ATTENTION_CUDA_ROWS, args->head_size, 0 };
    if (args->type != DTYPE_BF16 && args->type != DTYPE_F16)
        return choice;
    choice.variant = ATTENTION_CUDA_MMA;
    choice.head    = built_head(args->head_size);
    /* TMA brings whole heads, so wgmma's are not padded. 64: three warpgroups hide each other's softmax; 128: the products
     * take long enough for two, and three do not find the registers. */
    if (facts->architecture == 90 && facts->encode_tensor_map && (args->head_size == 64 || args->head_size == 128)) {
        choice.variant    = ATTENTION_CUDA_WGMMA;
        choice.large_rows = args->head_size == 64 ? 192 : 128;
    }
    return choice;
}
