/* command_plan.c: `recto plan`: what a forward pass will do, where in memory, and how long it takes. */
#include "host/command_plan_svg.h"
#include "host/command_profile.h"
#include "host/command_session.h"
#include "host/model.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
    "recto plan [OPTIONS]: the plan of a forward pass: operations, shapes, costs, and places in the arena\n"
    "\n"
    "  --tokens N            tokens of all texts together (default: 128); the plan is that of the next\n"
    "                        size up for which plans are kept\n"
    "  --sequences S         how many texts share them (default: 1)\n"
    "  --svg FILE            draw the arena: time across, address up, one box a buffer\n"
    "  --profile FILE        run it: what each kind of operation takes, and of the limit of the device;\n"
    "                        the file is a timeline for ui.perfetto.dev\n"
    SETTINGS_ENGINE_HELP
    "\n"
    "Examples\n"
    "  recto plan --tokens 256 --sequences 4\n"
    "  recto plan --model all-minilm-l6-v2 --precision int8 --svg arena.svg\n"
    "  recto plan --threads 1 --profile run.json\n";

static void write_shape(struct output *out, const struct plan *plan, int buffer)
{
    char                      shape[64] = "";
    const struct plan_buffer *b         = buffer == NO_BUFFER ? NULL : plan_buffer(plan, buffer);
    if (b)
        snprintf(shape, sizeof shape, "[%s, %d] %s", b->rows == ROWS_TOKENS ? "tokens" : "sequences", b->width,
                 b->row_scales ? "scale" : dtype_name(b->type));
    output_format(out, "%-24s", shape);
}

static void write_place(struct output *out, const struct plan *plan, int buffer)
{
    const struct plan_buffer *b = plan_buffer(plan, buffer);
    output_format(out, "%10zu %10zu  %3d-%-3d", b->offset, b->bytes, b->first, b->last);
}

static const char *act_name(enum linear_act act)
{
    static const char *const names[] = { [LINEAR_NONE] = "",     [LINEAR_GELU_ERF] = " gelu", [LINEAR_GELU_TANH] = " gelu-tanh",
                                         [LINEAR_RELU] = " relu", [LINEAR_SILU] = " silu",    [LINEAR_TANH] = " tanh",
                                         [LINEAR_SILU_GATE] = " silu-gate" };
    return names[act];
}

/* What is done within the node beside its operation. */
static void write_fusions(struct output *out, const struct plan_node *node)
{
    if (node->op == OP_LINEAR)
        output_format(out, "%s%s%s%s", node->linear->bias ? " bias" : "", act_name(node->act),
                      node->residual != NO_BUFFER ? " residual" : "", node->norm.kind != NORM_NONE ? " norm" : "");
    if (node->copy != NO_BUFFER && node->op != OP_QUANTIZE && node->op != OP_CONVERT)
        output_text(out, node->copy_for ? " quantise" : " convert");
}

static void write_copy(struct output *out, const struct plan *plan, int buffer, const char *what)
{
    if (buffer == NO_BUFFER)
        return;
    output_format(out, "%4s %-10s%-28s%-24s", "", "", what, "");
    write_shape(out, plan, buffer);
    output_format(out, "%10s %10s  ", "", "");
    write_place(out, plan, buffer);
    output_text(out, "\n");
}

static struct plan_cost write_node(struct output *out, const struct plan *plan, int index, const struct live *live, double pairs)
{
    const struct plan_node *node = plan_node(plan, index);
    const struct plan_cost  cost = plan_node_cost(plan, index, live, pairs);
    output_format(out, "%4d %-10s%-28s", index, op_name(node->op), node->label);
    write_shape(out, plan, node->x);
    write_shape(out, plan, node->y);
    output_format(out, "%10.2f %10.1f  ", cost.operations * 1e-6, cost.bytes / 1024.0);
    if (node->y != NO_BUFFER)
        write_place(out, plan, node->y);
    else
        output_format(out, "%10s %10s  %7s", "", "", "");
    write_fusions(out, node);
    output_text(out, "\n");
    write_copy(out, plan, node->copy, "  and the value again");
    write_copy(out, plan, node->copy_scales, "  and its scales");
    return cost;
}

static void write_totals(struct output *out, const struct plan *plan, struct plan_cost cost)
{
    const size_t live = plan_live_bytes(plan), layout = plan_layout_bytes(plan);
    output_format(out, "\noperations        %12.3f GFLOP, %.1f MiB moved at least\n", cost.operations * 1e-9,
                  cost.bytes / 1048576.0);
    output_format(out, "nodes, buffers    %12d, %d; the plan itself takes %zu bytes\n", plan_nodes(plan), plan_buffers(plan),
                  plan_own_bytes(plan));
    output_format(out, "arena             %12zu bytes: %zu of buffers, %d times %zu of scratch\n", plan_arena_bytes(plan), layout,
                  plan_limits(plan)->workers, plan_scratch_bytes(plan));
    output_format(out, "largest live set  %12zu bytes; the layout is %.4f of it\n", live,
                  live ? (double)layout / (double)live : 1.0);
}

static void write_plan(struct output *out, const struct session *session, const struct plan *plan, const struct live *live)
{
    const struct plan_caps *caps  = plan_limits(plan);
    const double            each  = (double)live->tokens / live->sequences, pairs = each * each * live->sequences;
    struct plan_cost        total = { 0, 0 };
    output_format(out, "plan of %s in %s for up to %d tokens of up to %d texts, costs for %d tokens of %d\n\n",
                  session->info.folder, session_precision(session), caps->tokens, caps->sequences, live->tokens, live->sequences);
    output_format(out, "%4s %-10s%-28s%-24s%-24s%10s %10s  %10s %10s  %-7s %s\n", "node", "op", "label", "reads", "writes", "MFLOP",
                  "KiB moved", "offset", "bytes", "nodes", "fused");
    for (int i = 0; i < PLAN_INPUTS; i++) {
        char name[128];
        plan_buffer_name(plan, i, name, sizeof name);
        output_format(out, "%4s %-10s%-28.*s%-24s", "", "input", (int)strcspn(name, " "), name, "");
        write_shape(out, plan, i);
        output_format(out, "%10s %10s  ", "", "");
        write_place(out, plan, i);
        output_text(out, "\n");
    }
    for (int i = 0; i < plan_nodes(plan); i++) {
        const struct plan_cost cost = write_node(out, plan, i, live, pairs);
        total.operations += cost.operations;
        total.bytes += cost.bytes;
    }
    write_totals(out, plan, total);
}

static status draw(struct output *out, const struct session *session, const struct plan *plan, const char *path,
                   struct error *error)
{
    char         title[512];
    const char  *slash  = strrchr(session->info.folder, '/');
    status       result = output_open(out, path, error);
    if (result != STATUS_OK)
        return result;
    snprintf(title, sizeof title, "%s, %s, up to %d tokens: arena of %.2f MiB, %.4f of the largest live set",
             slash ? slash + 1 : session->info.folder, session_precision(session), plan_limits(plan)->tokens,
             (double)plan_layout_bytes(plan) / 1048576.0, (double)plan_layout_bytes(plan) / (double)plan_live_bytes(plan));
    plan_svg_write(out, plan, title);
    return output_commit(out, error);
}

static status show(struct session *session, const struct live *live, const char *svg, const char *profile, struct error *error)
{
    static struct output out;
    const struct plan   *plan;
    int                  cap = model_token_cap(live->tokens);
    while (model_sequence_cap(session->engine, cap) < live->sequences && cap < 1 << 20)
        cap = model_token_cap(cap + 1);
    if (model_sequence_cap(session->engine, cap) < live->sequences)
        return error_set(error, STATUS_USAGE, "no plan takes %d texts at once, the most is %d", live->sequences,
                         model_sequence_cap(session->engine, cap));
    status result = model_take_plan(session->model, cap, &plan, error);
    if (result != STATUS_OK)
        return result;
    result = output_open(&out, NULL, error);
    if (result == STATUS_OK) {
        write_plan(&out, session, plan, live);
        if (profile)
            result = profile_plan(&out, session, plan, live, profile, error);
        if (result == STATUS_OK)
            result = output_commit(&out, error);
        else
            output_abandon(&out);
    }
    if (result == STATUS_OK && svg)
        result = draw(&out, session, plan, svg, error);
    model_release_plan(session->model, plan);
    return result;
}

static int run(int count, char **list)
{
    struct settings       settings = SETTINGS_DEFAULT;
    struct words          words    = { count, list };
    uint32_t              tokens = 128, sequences = 1;
    const char           *svg = NULL, *profile = NULL;
    const struct argument table[] = {
        SETTINGS_ENGINE_ARGUMENTS(settings),
        { .name = "tokens", .kind = ARGUMENT_COUNT, .value = &tokens, .most = 1u << 20 },
        { .name = "sequences", .kind = ARGUMENT_COUNT, .value = &sequences, .most = 1u << 16 },
        { .name = "svg", .kind = ARGUMENT_TEXT, .value = &svg },
        { .name = "profile", .kind = ARGUMENT_TEXT, .value = &profile },
        { .name = NULL },
    };
    int code = arguments_parse(&command_plan, table, &words, 0, 0);
    if (code != ARGUMENTS_GO_ON)
        return code;
    if (sequences > tokens)
        return command_refuse(COMMAND_USAGE, "--sequences is %u, more than the %u of --tokens", sequences, tokens);
    struct session session;
    code = session_open(&session, &settings);
    if (code == COMMAND_DONE) {
        struct error      error  = { 0 };
        const struct live live   = { (int)tokens, (int)sequences };
        const status      result = show(&session, &live, svg, profile, &error);
        code                     = result == STATUS_OK ? COMMAND_DONE : command_report(result, error.message);
    }
    session_close(&session);
    return code;
}

const struct command command_plan = { "plan", "what a forward pass does, and where in memory", help, run };
