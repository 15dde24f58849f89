#include "kernels/linear/linear_norm_choose.h"

/* `overhead`: as linear_choose.c has it, what a smaller tile reads more, in parts of the time of its products. */
static const struct {
    const char        *name;
    struct linear_tile tile;
    double             overhead;
} variants[LINEAR_NORM_VARIANTS] = {
    [LINEAR_NORM_64X64]   = { "norm_64x64", { 64, 64 }, 1.0 },     [LINEAR_NORM_64X128]  = { "norm_64x128", { 64, 128 }, 0.6 },
    [LINEAR_NORM_64X256]  = { "norm_64x256", { 64, 256 }, 0.35 },  [LINEAR_NORM_128X128] = { "norm_128x128", { 128, 128 }, 0.35 },
    [LINEAR_NORM_128X192] = { "norm_128x192", { 128, 192 }, 0.1 }, [LINEAR_NORM_128X256] = { "norm_128x256", { 128, 256 }, 0.0 },
};

struct linear_tile linear_norm_tile(enum linear_norm_variant variant) { return variants[variant].tile; }
const char        *linear_norm_name(enum linear_norm_variant variant) { return variants[variant].name; }

static int divided_up(int a, int b) { return (a + b - 1) / b; }

/* e4m3 needs two sums an output, which leaves no registers for 256 columns. */
static bool built(enum linear_norm_variant variant, enum dtype type)
{
    return type == DTYPE_BF16 || (type == DTYPE_F8_E4M3 && variants[variant].tile.columns < 256);
}

static enum linear_norm_variant widest(enum dtype type) { return type == DTYPE_BF16 ? LINEAR_NORM_128X256 : LINEAR_NORM_128X192; }

bool linear_norm_can(const struct cuda_facts *facts, enum linear_norm_variant variant, const struct linear_weight *weight)
{
    return facts->architecture == 90 && facts->encode_tensor_map && built(variant, weight->type) && weight->k % 8 == 0 &&
           weight->n % 8 == 0 &&  /* four neighbours leave together, and a group of eight columns lies within n or beyond it */
           divided_up(weight->n, variants[variant].tile.columns) <= LINEAR_NORM_CLUSTER;
}

bool linear_norm_fits(const struct cuda_facts *facts, const struct linear_weight *weight, enum linear_act act)
{
    return act == LINEAR_NONE && linear_norm_can(facts, widest(weight->type), weight);
}

/* A cluster lies within one of the device's groups of processors. Those of known devices have 16 or 18 that work; a cluster
 * more than run at once would have to wait until others have taken all their tiles. */
int linear_norm_clusters(const struct cuda_facts *facts, int blocks)
{
    enum { GROUP = 16 };
    const int clusters = facts->processors / GROUP * (GROUP / blocks);
    return clusters ? clusters : 1;
}

/* In units of a 64 x 64 piece of tile, as in linear_choose.c. */
static double estimate(const struct cuda_facts *facts, enum linear_norm_variant variant, int rows, int n)
{
    const struct linear_tile tile   = variants[variant].tile;
    const int                rounds = divided_up(divided_up(rows, tile.rows),
                                                 linear_norm_clusters(facts, divided_up(n, tile.columns)));
    return rounds * (tile.rows * tile.columns / 4096.0) * (1.0 + variants[variant].overhead);
}

enum linear_norm_variant linear_norm_choose(const struct cuda_facts *facts, const struct linear_weight *weight, int rows)
{
    enum linear_norm_variant best = widest(weight->type);  /* takes all that fits */
    for (int i = (int)best - 1; i >= 0; i--) {
        const enum linear_norm_variant v = (enum linear_norm_variant)i;
        if (linear_norm_can(facts, v, weight) && estimate(facts, v, rows, weight->n) < estimate(facts, best, rows, weight->n))
            best = v;
    }
    return best;
}
