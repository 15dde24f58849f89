/* command_batch.h: a stream of texts embedded block by block, in memory that does not grow with the stream.
 *
 * Two blocks are under way at once: while one is read or written the other is being computed, and when one ends its
 * threads go on with the next. Results come in the order of the texts, and as soon as they are there when input is slow.
 */
#ifndef RECTO_HOST_COMMAND_BATCH_H
#define RECTO_HOST_COMMAND_BATCH_H

#include "host/command_session.h"
#include "host/command_text.h"

struct batch {
    struct text_block  texts;
    float             *vectors;  /* [texts.count][dimensions] */
    recto_text_result *results;  /* [texts.count] */

    pthread_t           thread;  /* private from here on */
    bool                is_running;
    const struct stream *stream;
    recto_status        code;
    recto_error         error;
};

/* Called with each finished block; a failure ends the stream. */
typedef status stream_take(void *user, const struct batch *batch, struct error *error);

struct stream {
    struct session     *session;
    struct text_reader *reader;
    const char         *prompt;
    uint32_t            dimensions;  /* of the vectors; never 0 */
    bool                truncate;
    stream_take        *take;
    void               *user;
    uint64_t            texts, tokens, truncated;  /* so far */
};

/* Embeds all that the reader gives. */
MUST_CHECK status stream_run(struct stream *stream, struct error *error);

#endif
