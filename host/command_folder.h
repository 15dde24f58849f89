/* command_folder.h: a model's folder looked at without an engine, for the commands that need no weights.
 */
#ifndef RECTO_HOST_COMMAND_FOLDER_H
#define RECTO_HOST_COMMAND_FOLDER_H

#include "loaders/model_folder.h"
#include "runtime/options.h"

struct folder_view {
    struct options       options;
    struct pool         *pool;
    struct model_folder *folder;
};

/* Finds a model by name, as an engine would, and reads what its folder says. `memory` 0: RECTO_MEMORY, else no ceiling.
 * folder_view_close is due either way. */
MUST_CHECK status folder_view_open(struct folder_view *view, const char *name, uint64_t memory, struct error *error);
void folder_view_close(struct folder_view *view);

#endif
