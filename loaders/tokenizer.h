/* tokenizer.h: texts into the ids of a BERT model: WordPiece behind BERT's normaliser.
 *
 * Ids and offsets are those of the `tokenizers` package for a tokenizer.json made of BertNormalizer, BertPreTokenizer,
 * WordPiece and a template of special tokens; the truncation and padding such a file asks for are ignored, the caller
 * says how long a text may be. Whatever else in the file would change ids is refused with the field's name. Offsets count
 * bytes of the input (the package counts characters). A tokenizer is immutable: any number of threads may encode with it,
 * each with a token_buffer of its own, which keeps its memory between texts and so stops allocating once it has seen the
 * largest. Time and memory grow linearly with the text, whatever is in it.
 */
#ifndef RECTO_LOADERS_TOKENIZER_H
#define RECTO_LOADERS_TOKENIZER_H

#include "runtime/pool.h"
#include "runtime/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

struct tokenizer_settings {
    bool clean_text;     /* drop control characters, treat every white space alike */
    bool split_chinese;  /* each Chinese character is a word */
    bool strip_accents;
    bool lower_case;
};

/* `name` stands for the text in sentences (a file's path); neither is needed after the call. */
MUST_CHECK status tokenizer_open_json(struct tokenizer **tokenizer, struct pool *pool, const char *text, size_t length,
                                      const char *name, struct error *error);

/* A vocab.txt (one piece a line, the id is the line's number from 0) with the flags of tokenizer_config.json. [CLS], [SEP]
 * and [UNK] must be there; they, [PAD] and [MASK] are recognised in texts. */
struct tokenizer_vocabulary_file {
    const char               *text;
    size_t                    length;
    const char               *name;
    struct tokenizer_settings settings;
};
MUST_CHECK status tokenizer_open_vocabulary(struct tokenizer **tokenizer, struct pool *pool,
                                            const struct tokenizer_vocabulary_file *file, struct error *error);
void tokenizer_close(struct tokenizer *tokenizer);  /* null is allowed */

/* What encoding leaves behind; zero but for `pool` before the first text. */
struct token_buffer {
    struct pool *pool;
    int32_t     *ids;           /* special tokens included */
    uint32_t    *starts, *ends; /* bytes of the input, 0 and 0 for the special tokens around the text; only if asked for */
    size_t       count;         /* ids that are here */
    size_t       full_count;    /* ids that the whole text has; greater than count: it was truncated */

    size_t       capacity, offset_capacity;  /* private from here on */
    void        *scratch, *marks;
    size_t       scratch_bytes, mark_capacity;
};
void token_buffer_release(struct token_buffer *buffer);

/* `limit`: the most ids wanted, special tokens included; 0: all. A longer text keeps its first tokens and its closing
 * special tokens. STATUS_INPUT with the byte position where the text is not UTF-8; the buffer then holds nothing. */
struct tokenizer_request {
    const char *text;
    size_t      length;
    size_t      limit;
    bool        with_offsets;
};
MUST_CHECK status tokenizer_encode(const struct tokenizer *tokenizer, const struct tokenizer_request *request,
                                   struct token_buffer *buffer, struct error *error);

/* Ids of the special tokens; -1 where the tokenizer has none. */
int32_t tokenizer_opening_id(const struct tokenizer *tokenizer);  /* [CLS] */
int32_t tokenizer_closing_id(const struct tokenizer *tokenizer);  /* [SEP] */
int32_t tokenizer_padding_id(const struct tokenizer *tokenizer);  /* [PAD] */
int32_t tokenizer_unknown_id(const struct tokenizer *tokenizer);  /* [UNK] */

bool tokenizer_lowers_case(const struct tokenizer *tokenizer);
/* How many special tokens every text gets. */
size_t tokenizer_special_count(const struct tokenizer *tokenizer);
/* One more than the highest id. */
size_t tokenizer_vocabulary_size(const struct tokenizer *tokenizer);
/* The text of a token ("##ing"), not terminated, or null where the id has none. */
const char *tokenizer_token(const struct tokenizer *tokenizer, int32_t id, size_t *length);

#endif
