/* A traced plan: positions turn queries and keys where they lie, in the type that the plan's precision gave them. */
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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rotary_stays_in_its_type) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
