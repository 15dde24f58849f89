#include "host/command_folder.h"

#include "loaders/hub.h"

#include <stdio.h>

status folder_view_open(struct folder_view *view, const char *name, uint64_t memory, struct error *error)
{
    char models[HUB_PATH_MAX], path[HUB_PATH_MAX];
    *view         = (struct folder_view){ .pool = NULL };
    status result = options_read(&view->options, error);
    if (result != STATUS_OK)
        return result;
    snprintf(models, sizeof models, "%s/models", view->options.cache);
    const struct hub_roots roots = { models, *view->options.hub ? view->options.hub : NULL };
    result                       = pool_open(&view->pool, memory ? memory : view->options.memory, error);
    if (result == STATUS_OK)
        result = hub_find(&roots, name, path, error);
    return result == STATUS_OK ? model_folder_open(&view->folder, view->pool, path, error) : result;
}

void folder_view_close(struct folder_view *view)
{
    model_folder_close(view->folder);
    pool_close(view->pool);
    options_release(&view->options);
}
