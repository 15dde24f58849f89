/* tokenizer_folder.h: the tokenizer that a model folder describes, from its tokenizer.json or its vocab.txt.
 *
 * The flags of tokenizer_config.json apply to vocab.txt; a tokenizer.json carries its own, and where they contradict each
 * other that is STATUS_MODEL, as are more ids than the network has word vectors for.
 */
#ifndef RECTO_LOADERS_TOKENIZER_FOLDER_H
#define RECTO_LOADERS_TOKENIZER_FOLDER_H

#include "loaders/model_folder.h"
#include "loaders/tokenizer.h"

MUST_CHECK status tokenizer_folder_open(struct tokenizer **tokenizer, struct pool *pool, const struct model_folder *folder,
                                        struct error *error);

#endif
