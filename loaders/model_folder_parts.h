/* model_folder_parts.h: what the sources of model_folder share; private to them.
 *
 * One reading goes through the folder's files in a fixed order: the chain of modules first (it says in which subfolder
 * the network lies), then the network, the layers behind it, the text's side, the files of tensors.
 */
#ifndef RECTO_LOADERS_MODEL_FOLDER_PARTS_H
#define RECTO_LOADERS_MODEL_FOLDER_PARTS_H

#include "loaders/fields.h"
#include "loaders/model_folder.h"

enum { FOLDER_NAME_MAX = 256, FOLDER_PATH_MAX = 4096 };

struct folder_reading {
    struct model_folder              *folder;
    struct pool                      *pool;
    const struct model_folder_source *source;
    struct error                     *error;
    char subfolder[FOLDER_NAME_MAX];   /* where the network lies, "" for the folder itself */
    char pooling[FOLDER_NAME_MAX];     /* where the pooling's config.json lies; "" when there is no modules.json */
    char dense[MODEL_FOLDER_DENSE_MAX][FOLDER_NAME_MAX];
    char normalize[FOLDER_NAME_MAX];
    char path[FOLDER_PATH_MAX];        /* of the file that is being read, for sentences */
};

/* Memory, strings and sentences that live as long as the folder. */
status folder_allocate(struct folder_reading *reading, size_t bytes, void **block);
status folder_keep(struct folder_reading *reading, const char *text, const char **kept);
status folder_note(struct folder_reading *reading, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A file below the folder: `subfolder` may be "". */
status folder_has(struct folder_reading *reading, const char *subfolder, const char *name, bool *has);
status folder_keep_path(struct folder_reading *reading, const char *subfolder, const char *name, const char **kept);

/* Reads and parses it; *document is null after a failure. `fields` is begun on its root when not null. */
status folder_parse(struct folder_reading *reading, const char *subfolder, const char *name,
                    struct json_document **document, struct fields *fields);
/* The same for a file that may be absent: *document is null then, and the status is STATUS_OK. */
status folder_parse_optional(struct folder_reading *reading, const char *subfolder, const char *name,
                             struct json_document **document, struct fields *fields);

status model_folder_read_modules(struct folder_reading *reading);  /* model_folder_chain.c */
status model_folder_read_network(struct folder_reading *reading);  /* model_folder_network.c */
status model_folder_read_chain(struct folder_reading *reading);    /* model_folder_chain.c */
status model_folder_read_text(struct folder_reading *reading);     /* model_folder_text.c */

#endif
