#include "host/command_plan_svg.h"

#include <stdio.h>
#include <string.h>

enum { COLUMN = 34, HEIGHT = 640, LEFT = 96, TOP = 48, BOTTOM = 190, RIGHT = 24, LETTER = 7, TICKS = 8 };

void plan_buffer_name(const struct plan *plan, int buffer, char *name, size_t room)
{
    static const char *const inputs[PLAN_INPUTS] = {
        [PLAN_IDS] = "ids", [PLAN_POSITIONS] = "positions", [PLAN_STARTS] = "starts",
    };
    const struct plan_buffer *b    = plan_buffer(plan, buffer);
    const struct plan_node   *node = plan_node(plan, b->first);
    const char *label = buffer < PLAN_INPUTS ? inputs[buffer] : node->label;
    const char *part  = buffer < PLAN_INPUTS || buffer == node->y ? "" : b->row_scales ? ": scales" : ": copy";
    snprintf(name, room, "%s%s [%s, %d] %s", label, part, b->rows == ROWS_TOKENS ? "tokens" : "sequences", b->width,
             b->row_scales ? "scale" : dtype_name(b->type));
}

/* Labels are ours, but a picture must stay well-formed whatever they become. */
static void write_escaped(struct output *out, const char *text, size_t most)
{
    for (size_t i = 0; text[i] && i < most; i++)
        switch (text[i]) {
        case '<': output_text(out, "&lt;"); break;
        case '>': output_text(out, "&gt;"); break;
        case '&': output_text(out, "&amp;"); break;
        case '"': output_text(out, "&quot;"); break;
        default: output_write(out, text + i, 1);
        }
}

static const char *colour_of(const struct plan *plan, int buffer)
{
    static const char *const colours[OPS] = {
        [OP_EMBED] = "#8dd3c7",   [OP_NORM] = "#bebada",   [OP_LINEAR] = "#80b1d3",    [OP_QUANTIZE] = "#fdb462",
        [OP_CONVERT] = "#fdb462", [OP_ROTARY] = "#b3de69", [OP_ATTENTION] = "#fb8072", [OP_POOL] = "#b3de69",
        [OP_NORMALIZE] = "#fccde5",
    };
    const struct plan_buffer *b = plan_buffer(plan, buffer);
    if (buffer < PLAN_INPUTS)
        return "#d9d9d9";
    if (b->row_scales || b->type == DTYPE_U8)
        return "#fdb462";
    return colours[plan_node(plan, b->first)->op];
}

static void write_box(struct output *out, const struct plan *plan, int buffer, double scale)
{
    char                      name[128];
    const struct plan_buffer *b      = plan_buffer(plan, buffer);
    const int                 x      = LEFT + b->first * COLUMN, width = (b->last - b->first + 1) * COLUMN;
    const double              height = (double)b->bytes * scale, y = TOP + HEIGHT - (double)b->offset * scale - height;
    plan_buffer_name(plan, buffer, name, sizeof name);
    output_format(out, "<g><title>");
    write_escaped(out, name, sizeof name);
    output_format(out, "\n%zu bytes at %zu, nodes %d to %d</title>", b->bytes, b->offset, b->first, b->last);
    output_format(out, "<rect x=\"%d\" y=\"%.2f\" width=\"%d\" height=\"%.2f\" fill=\"%s\" stroke=\"#333\" "
                       "stroke-width=\"0.5\"/>", x, y, width, height > 0.5 ? height : 0.5, colour_of(plan, buffer));
    if (height >= 12 && width >= 4 * LETTER) {
        output_format(out, "<text x=\"%d\" y=\"%.2f\">", x + 3, y + height / 2 + 4);
        write_escaped(out, name, (size_t)(width - 6) / LETTER);
        output_text(out, "</text>");
    }
    output_text(out, "</g>\n");
}

static void write_axes(struct output *out, const struct plan *plan, double scale)
{
    const size_t bytes = plan_layout_bytes(plan);
    const int    right = LEFT + plan_nodes(plan) * COLUMN, floor = TOP + HEIGHT;
    for (int i = 0; i <= TICKS; i++) {
        const double at = (double)bytes * i / TICKS, y = floor - at * scale;
        output_format(out, "<line x1=\"%d\" y1=\"%.2f\" x2=\"%d\" y2=\"%.2f\" stroke=\"#ddd\"/>", LEFT, y, right, y);
        output_format(out, "<text x=\"%d\" y=\"%.2f\" text-anchor=\"end\">%.2f MiB</text>\n", LEFT - 6, y + 4, at / 1048576.0);
    }
    for (int i = 0; i < plan_nodes(plan); i++) {
        const int x = LEFT + i * COLUMN + COLUMN / 2;
        output_format(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" transform=\"rotate(-60 %d %d)\">%d ", x, floor + 14, x,
                      floor + 14, i);
        write_escaped(out, plan_node(plan, i)->label, sizeof plan_node(plan, i)->label);
        output_text(out, "</text>\n");
    }
}

void plan_svg_write(struct output *out, const struct plan *plan, const char *title)
{
    const size_t bytes  = plan_layout_bytes(plan);
    const double scale  = bytes ? (double)HEIGHT / (double)bytes : 0;
    const int    width  = LEFT + plan_nodes(plan) * COLUMN + RIGHT, height = TOP + HEIGHT + BOTTOM;
    output_format(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
                       "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
                  width, height, width, height, width, height);
    output_format(out, "<text x=\"%d\" y=\"24\" font-size=\"16\">", LEFT);
    write_escaped(out, title, 400);
    output_text(out, "</text>\n");
    write_axes(out, plan, scale);
    for (int i = 0; i < plan_buffers(plan); i++)
        write_box(out, plan, i, scale);
    output_text(out, "</svg>\n");
}
