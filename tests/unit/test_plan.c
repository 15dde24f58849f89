/* A traced plan: positions turn queries and keys where they lie, in the type that the plan's precision gave them; norms write the
 * e4m3 that linears read, and what has no whole rows is quantised by a node of its own. */
#include "runtime/plan.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { WIDTH = 32, HEAD = 16 };

static const struct plan_node *only_node(const struct plan *plan, enum op op)
{
    const struct plan_node *found = NULL;
    for (int i = 0; i < plan_nodes(plan); i++)
        if (plan_node(plan, i)->op == op) {
            assert_null(found);
            found = plan_node(plan, i);
        }
    assert_non_null(found);
    return found;
}

/* Embedding, queries and keys and values, turned, attended to, added, pooled. */
static struct plan *trace(struct pool *pool, enum dtype precision)
{
    static const float           numbers[3 * WIDTH * WIDTH];
    const struct linear_weight   qkv   = { .n = 3 * WIDTH, .k = WIDTH, .type = precision, .panels = numbers };
    const struct linear_weight   out   = { .n = WIDTH, .k = WIDTH, .type = precision, .panels = numbers };
    const struct embed_weight    embed = { .width = WIDTH, .type = DTYPE_F32, .words = numbers };
    const struct rotary_weight   turn  = { numbers, numbers };
    const struct attention_shape shape = { .heads = WIDTH / HEAD, .kv_heads = WIDTH / HEAD, .head_size = HEAD };
    const struct plan_caps       caps  = { .tokens = 64, .sequences = 4, .longest = 64, .workers = 1 };
    struct plan                 *plan;
    assert_int_equal(plan_begin(&plan, pool, &caps, precision, NULL), STATUS_OK);
    plan_value x = op_embed(plan, &embed);
    plan_value y = op_attention(plan, op_rotary(plan, op_linear(plan, x, &qkv, LINEAR_NONE), &turn, &shape), &shape);
    y            = op_pool(plan, op_linear_add(plan, y, &out, x), POOL_MEAN);
    assert_int_equal(plan_finish(plan, y, NULL), STATUS_OK);
    return plan;
}

static void rotary_stays_in_its_type(void **state)
{
    static const enum dtype precisions[] = { DTYPE_F32, DTYPE_BF16 };
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pool *pool;
        assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
        struct plan            *plan   = trace(pool, precisions[i]);
        const struct plan_node *rotary = only_node(plan, OP_ROTARY), *attention = only_node(plan, OP_ATTENTION);
        assert_int_equal(rotary->x, rotary->y);
        assert_int_equal(rotary->y, attention->x);
        assert_int_equal(plan_buffer(plan, rotary->x)->type, precisions[i]);
        plan_close(plan);
        pool_close(pool);
    }
}

static int count_of(const struct plan *plan, enum op op)
{
    int count = 0;
    for (int i = 0; i < plan_nodes(plan); i++)
        count += plan_node(plan, i)->op == op;
    return count;
}

/* A norm that two linears read, attention, a linear with a norm, and one more. */
static void norms_write_e4m3(void **state)
{
    static const float           numbers[3 * WIDTH * WIDTH];
    const struct linear_weight   qkv   = { .n = 3 * WIDTH, .k = WIDTH, .type = DTYPE_F8_E4M3, .panels = numbers };
    const struct linear_weight   out   = { .n = WIDTH, .k = WIDTH, .type = DTYPE_F8_E4M3, .panels = numbers };
    const struct norm_weight     scale = { NORM_LAYER, WIDTH, 1e-6f, numbers, numbers };
    const struct embed_weight    embed = { .width = WIDTH, .type = DTYPE_F32, .words = numbers };
    const struct attention_shape shape = { .heads = WIDTH / HEAD, .kv_heads = WIDTH / HEAD, .head_size = HEAD };
    const struct plan_caps       caps  = { .tokens = 64, .sequences = 4, .longest = 64, .workers = 1 };
    struct plan                 *plan;
    struct pool                 *pool;
    (void)state;
    assert_int_equal(pool_open(&pool, 0, NULL), STATUS_OK);
    assert_int_equal(plan_begin(&plan, pool, &caps, DTYPE_F8_E4M3, NULL), STATUS_OK);
    plan_value x   = op_norm(plan, op_embed(plan, &embed), &scale);
    plan_value one = op_linear(plan, x, &qkv, LINEAR_NONE), two = op_linear(plan, x, &qkv, LINEAR_RELU);
    plan_value y   = op_linear_add_norm(plan, op_attention(plan, one, &shape), &out, x, &scale);
    plan_value z   = op_linear_add(plan, y, &out, y);
    assert_int_equal(plan_finish(plan, op_pool(plan, z, POOL_MEAN), NULL), STATUS_OK);
    const struct plan_node *norm = only_node(plan, OP_NORM), *made = plan_node(plan, y.node), *last = plan_node(plan, z.node);
    assert_int_equal(plan_buffer(plan, norm->copy)->type, DTYPE_F8_E4M3);
    for (int i = 0; i < 2; i++) {
        const struct plan_node *reader = plan_node(plan, i ? two.node : one.node);
        assert_true(reader->x == norm->copy && reader->x_scales == norm->copy_scales);
    }
    assert_true(last->x == made->copy && last->x_scales == made->copy_scales && last->residual == made->y);
    assert_int_equal(count_of(plan, OP_QUANTIZE), 1);  /* what attention makes */
    plan_close(plan);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rotary_stays_in_its_type), cmocka_unit_test(norms_write_e4m3) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
