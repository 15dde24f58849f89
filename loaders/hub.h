/* hub.h: from what a person calls a model to the folder that holds it, without network and without writing.
 *
 * A name is, in this order: the path of a folder that exists; the short name of a model below the caller's own folder of
 * models (where weights/fetch puts them); `organisation/name`, or `organisation/name@revision`, in a Hugging Face cache,
 * where a revision is a branch, a tag or a commit and "main" when absent. Links are followed wherever they lead, as the
 * cache uses them. A name with a slash in front, or with "." or ".." between its slashes, can only be a path.
 */
#ifndef RECTO_LOADERS_HUB_H
#define RECTO_LOADERS_HUB_H

#include "runtime/status.h"

#include <stddef.h>

enum { HUB_PATH_MAX = 4096 };

struct hub_roots {
    const char *models;     /* recto's own folder of models; null: none */
    const char *hub_cache;  /* the "hub" folder of the Hugging Face cache; null: none */
};

/* Writes the folder's path. STATUS_USAGE for a name that cannot be one, STATUS_MODEL for a model that is not here: the
 * sentence says where it was looked for and, for a model of the hub, the command that gets it. */
MUST_CHECK status hub_find(const struct hub_roots *roots, const char *name, char folder[HUB_PATH_MAX],
                           struct error *error);

#endif
