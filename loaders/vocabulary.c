#include "loaders/vocabulary.h"

static unsigned bits_for(size_t count)
{
    unsigned bits = 6;
    while (((size_t)1 << bits) < count)
        bits++;
    return bits;
}

/* A piece that continues words is in the table twice: a word may also begin with the prefix itself. */
status vocabulary_open(struct vocabulary *vocabulary, struct pool *pool, struct vocabulary_size size,
                       const char *prefix, struct error *error)
{
    const size_t prefix_length = strlen(prefix), pieces = size.count + size.continuing;
    const unsigned slot_bits = bits_for(pieces * 7 / 4), filter_bits = bits_for(pieces * 6);

    if (prefix_length >= sizeof vocabulary->prefix || size.count > VOCABULARY_ID_MAX || size.id_count > VOCABULARY_ID_MAX ||
        size.bytes > UINT32_MAX)
        return error_set(error, STATUS_MODEL, "a vocabulary of %zu pieces, %zu bytes, %zu ids and prefix '%.40s' is beyond "
                         "what is supported", size.count, size.bytes, size.id_count, prefix);
    const size_t filter_bytes = (size_t)1 << (filter_bits - 3), slot_bytes = sizeof(struct vocabulary_slot) << slot_bits;
    const size_t piece_bytes = pieces * sizeof(struct vocabulary_piece), id_bytes = size.id_count * sizeof(int32_t);
    void *block = NULL;
    status result = pool_alloc(pool, MEMORY_TOKENIZER, filter_bytes + slot_bytes + piece_bytes + id_bytes + size.bytes,
                               "a vocabulary", &block, error);
    if (result != STATUS_OK)
        return result;
    vocabulary->pool = pool;
    vocabulary->filter = block;
    vocabulary->slots = (struct vocabulary_slot *)((char *)block + filter_bytes);
    vocabulary->pieces = (struct vocabulary_piece *)((char *)vocabulary->slots + slot_bytes);
    vocabulary->piece_of_id = (int32_t *)((char *)vocabulary->pieces + piece_bytes);
    vocabulary->text = (char *)vocabulary->piece_of_id + id_bytes;
    memset(block, 0, filter_bytes + slot_bytes);
    memset(vocabulary->piece_of_id, 0xFF, id_bytes);
    memcpy(vocabulary->prefix, prefix, prefix_length);
    vocabulary->prefix_length = (uint32_t)prefix_length;
    vocabulary->slot_shift = 64 - slot_bits;
    vocabulary->filter_shift = 64 - filter_bits;
    vocabulary->id_count = (uint32_t)size.id_count;
    return STATUS_OK;
}

void vocabulary_close(struct vocabulary *vocabulary)
{
    if (vocabulary->pool)
        pool_free(vocabulary->pool, vocabulary->filter);
    memset(vocabulary, 0, sizeof *vocabulary);
}

static uint64_t hash_of(const uint8_t *bytes, size_t length, uint32_t continues)
{
    uint64_t hash = continues ? VOCABULARY_CONTINUES : VOCABULARY_BEGINS;
    for (size_t i = 0; i < length; i++)
        hash = vocabulary_hash(hash, bytes[i]);
    return hash;
}

/* Returns the index of the piece. */
static uint32_t insert(struct vocabulary *vocabulary, uint32_t start, uint32_t length, int32_t id, uint32_t continues)
{
    const uint8_t *bytes = (const uint8_t *)vocabulary->text + start;
    const uint64_t hash = hash_of(bytes, length, continues);
    const uint32_t mask = (uint32_t)(UINT64_MAX >> vocabulary->slot_shift);
    const struct vocabulary_piece *known = vocabulary_find(vocabulary, hash, bytes, length, continues);
    uint32_t at = (uint32_t)(hash >> vocabulary->slot_shift);

    if (known) {
        vocabulary->pieces[known - vocabulary->pieces].id = id;
        return (uint32_t)(known - vocabulary->pieces);
    }
    while (vocabulary->slots[at].piece != 0)
        at = (at + 1) & mask;
    vocabulary->pieces[vocabulary->piece_count] = (struct vocabulary_piece){start, length, id, continues};
    vocabulary->slots[at] = (struct vocabulary_slot){(uint32_t)(hash >> 12), ++vocabulary->piece_count};
    vocabulary->filter[hash >> vocabulary->filter_shift >> 6] |= UINT64_C(1) << (hash >> vocabulary->filter_shift & 63);
    if (length > vocabulary->longest[continues])
        vocabulary->longest[continues] = length;
    return vocabulary->piece_count - 1;
}

static uint32_t append(struct vocabulary *vocabulary, const char *text, size_t length)
{
    const size_t start = vocabulary->text_length;
    memcpy(vocabulary->text + start, text, length);
    vocabulary->text_length += length;
    return (uint32_t)start;
}

bool vocabulary_add(struct vocabulary *vocabulary, const char *text, size_t length, int32_t id)
{
    const uint32_t start = append(vocabulary, text, length), prefix = vocabulary->prefix_length;
    const uint32_t count = vocabulary->piece_count;

    vocabulary->piece_of_id[id] = (int32_t)insert(vocabulary, start, (uint32_t)length, id, 0);
    const bool is_new = vocabulary->piece_count > count;
    if (length > prefix && memcmp(text, vocabulary->prefix, prefix) == 0)
        insert(vocabulary, start + prefix, (uint32_t)length - prefix, id, 1);
    return is_new;
}

void vocabulary_add_text(struct vocabulary *vocabulary, const char *text, size_t length, int32_t id)
{
    const uint32_t start = append(vocabulary, text, length);

    vocabulary->piece_of_id[id] = (int32_t)vocabulary->piece_count;
    vocabulary->pieces[vocabulary->piece_count++] = (struct vocabulary_piece){start, (uint32_t)length, id, 0};
}

int32_t vocabulary_id(const struct vocabulary *vocabulary, const char *text, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)text;
    const struct vocabulary_piece *piece = vocabulary_find(vocabulary, hash_of(bytes, length, 0), bytes, length, 0);
    return piece ? piece->id : -1;
}

const char *vocabulary_text(const struct vocabulary *vocabulary, int32_t id, size_t *length)
{
    const int32_t index = id >= 0 && (uint32_t)id < vocabulary->id_count ? vocabulary->piece_of_id[id] : -1;

    if (index < 0)
        return NULL;
    *length = vocabulary->pieces[index].length;
    return vocabulary->text + vocabulary->pieces[index].start;
}
