/* command_plan_svg.h: a plan's arena as a picture: time across, address up, one box a buffer.
 */
#ifndef RECTO_HOST_COMMAND_PLAN_SVG_H
#define RECTO_HOST_COMMAND_PLAN_SVG_H

#include "host/command_output.h"
#include "runtime/plan.h"

void plan_svg_write(struct output *out, const struct plan *plan, const char *title);

/* Name and shape of a buffer, such as "layer 0 [tokens, 384] F32"; the node that writes it first names it. */
void plan_buffer_name(const struct plan *plan, int buffer, char *name, size_t room);

#endif
