#include "kernels/linear/linear_choose.h"

static const struct {
    const char        *name;
    struct linear_tile tile;
} variants[LINEAR_CUDA_VARIANTS] = {
    [LINEAR_CUDA_FMA_32X64]     = { "fma_32x64", { 32, 64 } },
    [LINEAR_CUDA_FMA_128X128]   = { "fma_128x128", { 128, 128 } },
    [LINEAR_CUDA_MMA_64X64]     = { "mma_64x64", { 64, 64 } },
    [LINEAR_CUDA_MMA_128X128]   = { "mma_128x128", { 128, 128 } },
    [LINEAR_CUDA_WGMMA_64X64]   = { "wgmma_64x64", { 64, 64 } },
    [LINEAR_CUDA_WGMMA_128X128] = { "wgmma_128x128", { 128, 128 } },
    [LINEAR_CUDA_WGMMA_128X192] = { "wgmma_128x192", { 128, 192 } },
    [LINEAR_CUDA_WGMMA_128X256] = { "wgmma_128x256", { 128, 256 } },
};

struct linear_tile linear_cuda_tile(enum linear_cuda_variant variant) { return variants[variant].tile; }
const char        *linear_cuda_name(enum linear_cuda_variant variant) { return variants[variant].name; }

/* The activations that a tile is built with: large ones are for what models have many rows of. e4m3 needs two sums an output,
 * which leaves no registers for 256 columns. */
static bool built(enum linear_cuda_variant variant, enum dtype type, enum linear_act act)
{
    const bool gelu = act == LINEAR_GELU_ERF || act == LINEAR_GELU_TANH, narrow = type == DTYPE_F8_E4M3;
    switch (variant) {
    case LINEAR_CUDA_WGMMA_128X256: return !narrow && (act == LINEAR_NONE || gelu || act == LINEAR_SILU_GATE);
    case LINEAR_CUDA_WGMMA_128X192: return act == LINEAR_NONE || (narrow && gelu);
    case LINEAR_CUDA_WGMMA_64X64: return act == LINEAR_NONE || gelu;
    default: return true;
    }
}

bool linear_cuda_can(const struct cuda_facts *facts, enum linear_cuda_variant variant, const struct linear_weight *weight,
                     enum linear_act act)
{
    const bool hopper = variant >= LINEAR_CUDA_WGMMA_64X64;
    if (variant < LINEAR_CUDA_MMA_64X64)
        return weight->type == DTYPE_F32;
    if (!(weight->type == DTYPE_BF16 || (weight->type == DTYPE_F8_E4M3 && hopper)))
        return false;
    return built(variant, weight->type, act) && (!hopper || (facts->architecture == 90 && facts->encode_tensor_map));
}

static int divided_up(int a, int b) { return (a + b - 1) / b; }

/* The time of a variant in units of a 64 x 64 piece of tile: full rounds over the device's processors. A larger tile is
 * worth more than its share, since it reads less per product: by the fractions in `overhead`, of the time of its products. */
static double estimate(const struct cuda_facts *facts, enum linear_cuda_variant variant, int rows, int n)
{
    static const double overhead[LINEAR_CUDA_VARIANTS] = {
        [LINEAR_CUDA_FMA_32X64] = 1.0,      [LINEAR_CUDA_FMA_128X128] = 0.0,
        [LINEAR_CUDA_MMA_64X64] = 0.5,      [LINEAR_CUDA_MMA_128X128] = 0.1,   [LINEAR_CUDA_WGMMA_64X64] = 1.0,
        [LINEAR_CUDA_WGMMA_128X128] = 0.35, [LINEAR_CUDA_WGMMA_128X192] = 0.1, [LINEAR_CUDA_WGMMA_128X256] = 0.0,
    };
    const struct linear_tile tile   = variants[variant].tile;
    const int                rounds = divided_up(divided_up(rows, tile.rows) * divided_up(n, tile.columns), facts->processors);
    return rounds * (tile.rows * tile.columns / 4096.0) * (1.0 + overhead[variant]);
}

enum linear_cuda_variant linear_cuda_choose(const struct cuda_facts *facts, const struct linear_weight *weight,
                                            enum linear_act act, int rows)
{
    const bool               hopper = linear_cuda_can(facts, LINEAR_CUDA_WGMMA_128X128, weight, act);
    enum linear_cuda_variant first  = hopper ? LINEAR_CUDA_WGMMA_64X64 : LINEAR_CUDA_FMA_32X64;
    enum linear_cuda_variant best   = LINEAR_CUDA_VARIANTS;
    for (enum linear_cuda_variant v = first; v < LINEAR_CUDA_VARIANTS; v++)
        if (linear_cuda_can(facts, v, weight, act) &&
            (best == LINEAR_CUDA_VARIANTS || estimate(facts, v, rows, weight->n) <= estimate(facts, best, rows, weight->n)))
            best = v;
    return best;
}
